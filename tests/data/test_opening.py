"""Which source a path is of, and what it says to options that are for another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flambeau.core.errors import UsageError
from flambeau.data.dataset import Dataset
from flambeau.data.sources.base import SOURCES
from flambeau.data.sources.opening import from_path, source_of

CSV = "x,label\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(20))


@pytest.mark.parametrize(
    ("path", "options", "source"),
    [
        ("rows.csv.gz", {}, "table"), ("rows.csv", {"time": "day"}, "series"), ("x.npz", {}, "arrays"),
        ("x.TS", {}, "ts"), ("photos.tar.gz", {}, "archive"), ("photos", {}, "folder"), ("x.conll", {}, "folder"),
        ("there/x.conll", {}, "tagged"), ("there", {}, "table"), ("there", {"pattern": "{class}.png"}, "folder"),
    ],
)  # fmt: skip
def test_the_surest_source_is_taken(path: str, options: dict[str, Any], source: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "x.conll").write_text("a X\n")
    (tmp_path / "there" / "deep").mkdir()
    (tmp_path / "there" / "rows.csv").write_text(CSV)
    assert source_of(tmp_path / path, options) is SOURCES[source]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"horizon": 3}, r"horizon is for series; give it with the column that holds the time"),
        ({"pattern": "{class}"}, r"pattern is for folders, pairs of pictures; give it with a folder"),
        ({"tagret": "label"}, r"no data has an option 'tagret'; did you mean 'target'"),
        ({"time": "x"}, r"series need a target; give target= \(--target\)"),
    ],
)
def test_an_option_of_another_source_is_refused(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(CSV)
    with pytest.raises(UsageError, match=message):
        from_path(tmp_path / "rows.csv", **options)


def test_a_recipe_of_a_source_that_is_not_there_names_it() -> None:
    with pytest.raises(UsageError, match="no source is called 'tabel'; did you mean 'table'"):
        Dataset.from_source({"kind": "tabel", "path": "rows.csv"})


def test_a_folder_of_parts_is_read_for_predictions_too(tmp_path: Path) -> None:
    from flambeau.data.reading import read_rows

    for part in ("train-0", "train-1"):
        pl.DataFrame({"x": [1, 2], "label": ["a", "b"]}).write_parquet(tmp_path / f"{part}.parquet")
    read = read_rows(tmp_path, {}, known=["x"])
    assert list(read.columns.values["x"]) == [1, 2, 1, 2] and "label" in read.left_out
