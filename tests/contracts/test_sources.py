"""Each of our own sources holds what every source promises; and a source that does not is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flambeau.data.dataset import Dataset
from flambeau.data.sources.base import SOURCES, Source
from flambeau.testing import check_source


def test_a_table_a_folder_and_arrays(tmp_path: Path, digits_folder: Path) -> None:
    (tmp_path / "rows.csv").write_text("x,y\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(40)))
    np.savez(tmp_path / "rows.npz", x=np.random.default_rng(0).normal(size=(40, 3)), y=np.arange(40) % 2)
    rows = [f"{10 * i},s{i % 9},{i * i % 7},{'ab'[i % 9 % 2]}\n" for i in range(90)]
    (tmp_path / "long.csv").write_text("t,who,x,kind\n" + "".join(rows))
    check_source("long-series", tmp_path / "long.csv", time="t", id="who", inputs=["x"], labels=False)
    check_source("table", tmp_path / "rows.csv", target="y")
    check_source("arrays", tmp_path / "rows.npz", target="y")
    check_source("folder", digits_folder)


def test_one_that_claims_what_it_cannot_read_is_told(tmp_path: Path) -> None:
    @SOURCES.register("greedy")
    class Greedy(Source):
        of = sign = "anything"

        @staticmethod
        def claims(path: Path, options: Any) -> float:
            return 1.0

        @staticmethod
        def read(path: Any) -> Dataset:
            return Dataset({"x": [1.0, 2.0, 3.0, 4.0]})

    try:
        with pytest.raises(AssertionError, match="it claims"):
            check_source("greedy", tmp_path)
    finally:
        del SOURCES._parts["greedy"]
