"""Ways to part the rows of a dataset, to see where a model fails: by a column, by how long or large a value is, by the
folder that a file lies in."""

from __future__ import annotations

import itertools
import math
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from flambeau.core.arrays import missing
from flambeau.core.errors import DataError, nearest
from flambeau.data.dataset import Dataset
from flambeau.data.grouping import PRESENT
from flambeau.data.split import NAMES
from flambeau.fields import Field, Rows, Views

FOLDER, SERIES = "folder", "series"
BINS = 5  # of numbers, equally many rows in each
MOST_VALUES = 20  # that are told apart; the others are one part
MOST_COLUMNS = 20  # that are looked at where nobody said which
LEAST_ROWS = 20  # that a column must have where nobody said which
REPEATED = 0.5
"""Where nobody said which column: at most this share of its rows has a value of its own."""


class Slicing(NamedTuple):
    """What rows are parted by: names of the parts, and the part of each row, int32 (N), -1 for none."""

    name: str
    values: list[str]
    codes: np.ndarray


def slicings(dataset: Dataset, rows: np.ndarray, asked: Sequence[str] | None = None) -> list[Slicing]:
    """How the rows of a dataset can be parted.

    Args:
        rows: those that are measured, int64; bins are of these.
        asked: names of columns, `length` of texts and sounds, `size` of pictures, `folder` of files, `series`; of
            several texts or pictures `title length`. All that suits if not given.

    Raises:
        DataError: there is nothing of such a name; or its rows all have the same.
    """
    ways = _ways(dataset)
    found = []
    for name in asked if asked is not None else ways:
        if name not in ways:
            raise DataError(f"there is nothing called '{name}' to slice by", fix=nearest(name, ways))
        values = ways[name](rows) if callable(ways[name]) else _taken(ways[name], rows)
        unit = ways[name].unit if isinstance(ways[name], _Extents) else ""
        slicing = _parted(name, values, rows, len(dataset), unit, strict=asked is None and not unit)
        if slicing is not None:
            found.append(slicing)
        elif asked is not None:
            raise DataError(f"there is nothing to compare by '{name}'", expected="two different values at least")
    return found if asked is not None else found[:MOST_COLUMNS]


def _ways(dataset: Dataset) -> dict[str, Any]:
    """By name: a column of raw values, or a function of row numbers to values."""
    ways: dict[str, Any] = {}
    sized = {n: of for n in dataset.inputs if n in dataset.fields and (of := dataset.fields[n].extent_of) is not None}
    for name, column in dataset.columns.items():
        if name in sized:
            extent, unit = sized[name]
            alone = len(sized) == 1 and extent not in dataset.columns
            ways[extent if alone else f"{name} {extent}"] = _Extents(dataset.fields[name], column, unit)
        elif isinstance(column, Views) and name == dataset.target and len(column.names) > 1:
            ways[SERIES] = lambda rows, of=column: [of.names[code] for code in of.segments[of.starts[rows]].tolist()]
        elif name not in (dataset.target, PRESENT) and not isinstance(column, (Rows, Views)) and not _is_split(column):
            ways[name] = column
    if dataset.keys is not None and any(os.sep in key for key in dataset.keys[:1000]):
        ways[FOLDER] = lambda rows: [_folder(dataset, row) for row in rows.tolist()]
    return ways


class _Extents:
    """How long or large some raw values of a field are; None where one is missing or cannot be read."""

    def __init__(self, field: Field, column: Sequence[Any], unit: str):
        self.field, self.column, self.unit = field, column, f" {unit}"

    def __call__(self, rows: np.ndarray) -> list[float | None]:
        return [self._of(self.column[row]) for row in rows.tolist()]

    def _of(self, value: Any) -> float | None:
        try:
            return None if missing(value) else self.field.extent(value)
        except (DataError, OSError):
            return None


def _folder(dataset: Dataset, row: int) -> str:
    """The folder of a file, without those that say its class or its split."""
    assert dataset.keys is not None
    label = str(dataset.columns[dataset.target][row]) if dataset.target else ""
    parts = dataset.keys[row].split(os.sep)[:-1]
    return "/".join(part for part in parts if part != label and part not in NAMES) or "."


def _is_split(column: Any) -> bool:
    return isinstance(column, Sequence) and {*map(str, column[:50])} <= {*NAMES}


def _taken(column: Any, rows: np.ndarray) -> Any:
    return column[rows] if isinstance(column, np.ndarray) else [column[row] for row in rows.tolist()]


def _parted(name: str, values: Any, rows: np.ndarray, total: int, unit: str, *, strict: bool) -> Slicing | None:
    """Numbers in bins of equally many rows, anything else by value; None where there is one part only, or, `strict`,
    where it tells rows apart and not groups of them."""
    if isinstance(values, np.ndarray) and values.ndim > 1:
        return None
    known = [
        None if missing(value) else value for value in (values.tolist() if isinstance(values, np.ndarray) else values)
    ]
    there = [value for value in known if value is not None]
    if (
        not there
        or (strict and len(there) < LEAST_ROWS)
        or not all(isinstance(v, str | int | float | bool) for v in there)
    ):
        return None
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in there)
    if numbers and len(distinct := {*there}) > BINS:
        if strict and len(there) == len(distinct) and all(float(value).is_integer() for value in there):
            return None  # numbers of the rows themselves
        names, codes = _bins([math.nan if value is None else float(value) for value in known], unit)
    else:
        counts = Counter("" if value is None else _written(value) for value in known)
        if strict and len(counts) > max(2, REPEATED * len(known)):
            return None
        most = [value for value, _ in counts.most_common(MOST_VALUES)]
        rest = len(counts) - len(most)
        names = [value or "(missing)" for value in most] + [f"({rest:,} others)"] * (rest > 0)
        place = {value: i for i, value in enumerate(most)}
        codes = [place.get("" if value is None else _written(value), len(most)) for value in known]
    if len({code for code in codes if code >= 0}) < 2:
        return None
    every = np.full(total, -1, np.int32)
    every[rows] = codes
    return Slicing(name, names, every)


def _bins(values: list[float], unit: str) -> tuple[list[str], list[int]]:
    """Names of bins, and the bin of each number; the last is that of missing ones."""
    array = np.asarray(values)
    known = array[np.isfinite(array)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)))
    names = [f"{low:,.4g} to {high:,.4g}{unit}" for low, high in itertools.pairwise(edges)]
    codes = np.searchsorted(edges[1:-1], array, side="right")
    codes[~np.isfinite(array)] = len(names)
    return [*names, "(missing)"], codes.tolist()


def _written(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
