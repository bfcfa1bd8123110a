"""Whole series as sources, each with a class or a number: `.ts` files, as the UCR and UEA archives have them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flambeau.core.errors import DataError
from flambeau.core.findings import Finding, Severity
from flambeau.data.dataset import Dataset
from flambeau.data.sources.base import SOURCES, Source, described
from flambeau.data.split import TEST, TRAIN, Split, with_validation
from flambeau.fields import Field, Series
from flambeau.fields.time.ts import TS_SUFFIX, read_ts

FEW = 100  # training series below which none is held out where the file gives no validation


def from_ts(
    path: str | Path, *, split: Split | str = "auto", fields: Mapping[str, Field] | None = None, labels: bool = True
) -> Dataset:
    """Whole series with a class or a number each, as the UCR and UEA archives have them: a `.ts` file, or a folder with
    `NAME_TRAIN.ts` and `NAME_TEST.ts`. Given the first of these, the second is the test where it lies beside it, which
    a Finding says; of any other file, and with `split="none"`, nothing is read but what is named.

    Args:
        labels: whether there is a target; if not, classes that the file has are left out.

    Of 100 training series or more a part validates; of fewer none does, and the last epoch's weights are kept.

    Raises:
        DataError: a line cannot be read; it names which.
    """
    root = Path(path)
    how = Split.of(split)
    files = _ts_files(root, beside=how.keeps_given)
    if not root.exists():
        raise DataError("there is no such file", where=path, code="not-found")
    if not files:
        raise DataError("the folder holds no .ts files", where=path)
    values: list[np.ndarray] = []
    targets: list[Any] = []
    sides: list[int] = []
    places: list[str] = []
    numeric = False
    for file in files:
        rows, classes, numeric = read_ts(file, labels)
        values += rows
        targets += classes
        sides += [TEST if file.stem.upper().endswith("_TEST") else TRAIN] * len(rows)
        places += [f"{file.name}, series {i + 1}" for i in range(len(rows))]
    given: Any = how
    if TEST in sides and TRAIN in sides and how.keeps_given:
        few = how.valid is None and sides.count(TRAIN) < FEW
        given = sides if few else with_validation(sides, None if numeric or not labels else targets, places, how)
    findings = [
        Finding("read-beside", Severity.NOTE, f"the series of {file.name}, which lies beside, are the test",
                places=[str(file)]) for file in files if root.is_file() and file.name != root.name
    ]  # fmt: skip
    source = described("ts", root, split=how, fields=fields, labels=labels)
    columns: dict[str, Any] = {"series": values, **({"label": targets} if labels else {})}
    return Dataset(columns, target="label" if labels else None, inputs=["series"],
                   fields={"series": Series(), **(fields or {})}, split=given, source=source, keys=places,
                   places=places.__getitem__, findings=findings)  # fmt: skip


def _ts_files(path: Path, beside: bool) -> list[Path]:
    """The files that a path stands for: TRAIN before TEST."""
    if path.is_dir():
        return sorted(path.glob(f"*{TS_SUFFIX}"), key=lambda f: (not f.stem.upper().endswith("_TRAIN"), f.name))
    match = re.fullmatch(r"(.*)_(TRAIN)", path.stem, re.IGNORECASE)
    tests = [path.with_name(f"{match[1]}_TEST{path.suffix}")] if match and beside else []
    return [file for file in (path, *tests) if file.exists()] if path.exists() else []


@SOURCES.register("ts")
class WholeSeriesSource(Source):
    """A .ts file of series, or a folder of such."""

    of, sign = "whole series", "a .ts file"
    read = staticmethod(from_ts)

    @staticmethod
    def claims(path: Path, options: Mapping[str, Any]) -> float:
        inside = path.is_dir() and any(path.glob(f"*_TRAIN{TS_SUFFIX}"))
        return 0.6 * (inside or path.suffix.lower() == TS_SUFFIX)
