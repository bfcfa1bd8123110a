"""Rows that were made of others, as `flambeau augment` writes them, beside those of a Dataset: they train where what
they were made of trains, and are in no other part of the split."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from flambeau.core.arrays import missing
from flambeau.core.errors import DataError, shown
from flambeau.core.findings import Finding, Findings, Severity
from flambeau.data.reading import read_rows
from flambeau.data.split import KEPT, TRAIN, UNUSED, Split
from flambeau.fields import Field

if TYPE_CHECKING:
    from flambeau.data.dataset import Dataset

BY, FROM, ORIGINAL = "made_by", "made_from", "made_of"
"""Columns of such a table: by what a row was made, the number of the row that it was made of, from 1 (nothing where it
was made of none), and what that held."""


class Made(NamedTuple):
    """The Dataset without the made rows, and of each of these the row of it that it was made of, int64 (M): -1 where
    it was made of none."""

    of: Dataset
    sources: np.ndarray

    def divide(self, data: Dataset, how: Split, fields: Mapping[str, Field]) -> np.ndarray:
        """The split of a Dataset that has made rows, whose others are split as they are without these."""
        rows = copy.copy(self.of)
        drawn = rows._split(how, fields)
        kept = [finding for finding in rows.findings if finding.check == KEPT]
        data.findings = Findings([f for f in data.findings if f.check != KEPT] + kept)
        data.together, data.made = rows.together, self._replace(of=rows)
        return self.split(drawn)

    def split(self, split: np.ndarray) -> np.ndarray:
        """A split (N) of the rows, int8 (N + M), with that of the made ones behind: those whose row trains do."""
        trains = (self.sources < 0) | (split[self.sources] == TRAIN)
        return np.concatenate([split, np.where(trains, TRAIN, UNUSED).astype(np.int8)])


def with_made(data: Dataset, path: str | Path) -> Dataset:
    """A Dataset with the rows of a table behind its own, which are split as they are without it.

    Args:
        path: a table with the columns of the data and `made_from`, as `flambeau augment` writes it.

    Raises:
        DataError: there is no such table, a column is missing, or a row was made of another than the data has there.
    """
    names = [*data.inputs, *([data.target] if data.target else [])]
    table = read_rows(path, {n: f for n, f in data.fields.items() if n in names}, known=names, plain=names)
    frame = table.frame
    if FROM not in frame.columns:
        raise DataError(f"the table has no column '{FROM}'", where=path, expected="a table of flambeau augment")
    originals = frame[ORIGINAL].to_list() if ORIGINAL in frame.columns else [None] * len(frame)
    texts = {str(value) for name in data.inputs for value in data.columns[name]} if any(originals) else set()
    sources = []
    for number, (source, original) in enumerate(zip(frame[FROM].to_list(), originals, strict=True), 1):
        row = -1 if missing(source) or not str(source).strip() else _row(source, len(data), f"{path}, row {number}")
        if original and (original not in texts or (row >= 0 and not _holds(data, row, original))):
            raise DataError(
                f"row {row + 1} of the data is not what row {number} was made of", where=path,
                expected=shown(original), fix="give the data that it was made of, or make it anew",
            )  # fmt: skip
        sources.append(row)
    out = copy.copy(data)
    for stale in ("firsts", "firsts_alike"):
        vars(out).pop(stale, None)
    more = table.columns.values
    own = {
        n: more[n] if n in more else [data.take(n, [s])[0] if s >= 0 else None for s in sources] for n in data.columns
    }
    out.columns = {name: _joined(values, own[name]) for name, values in data.columns.items()}
    out.made = Made(data, np.asarray(sources, np.int64))
    out.split = out.made.split(data.split)
    out.keys = None if data.keys is None else [*data.keys, *(f"made {number}" for number in range(len(sources)))]
    name, known = Path(path).name, len(data)
    out._places = lambda row: data.place(row) if row < known else f"{name}, row {row - known + 1}"
    unused = int((out.split[known:] == UNUSED).sum())
    said = f"{len(sources) - unused:,} rows of {name}, made of others or by a model, train beside these"
    said += f"; {unused:,} do not, for what they were made of is held out" if unused else ""
    made = Finding("made-rows", Severity.NOTE, said, count=len(sources))
    out.findings = Findings([*data.findings, *table.findings, made])
    out.source = {**data.source, "also": str(Path(path).resolve())}
    return out


def _row(source: Any, count: int, where: str) -> int:
    try:
        row = int(source) - 1
    except ValueError:
        row = -1
    if not 0 <= row < count:
        raise DataError(f"{source} is no row of the data", where=where, expected=f"{FROM}, from 1 to {count:,}")
    return row


def _holds(data: Dataset, row: int, original: str) -> bool:
    return any(str(data.take(name, [row])[0]) == original for name in data.inputs)


def _joined(values: Any, more: Any) -> Any:
    if isinstance(values, np.ndarray) and isinstance(more, np.ndarray):
        return np.concatenate([values, more])
    return [*values, *more]
