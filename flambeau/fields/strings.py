"""Columns of texts and names that take a few bytes a row, and make a Python string when it is asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np

PART = 8192  # strings made at a time


class Strings(Sequence[str | None]):
    """What both kinds have in common: they are equal to any sequence of the same strings."""

    @abstractmethod
    def take(self, rows: np.ndarray) -> Strings:
        """Some of them, by their numbers, int64 (n)."""

    @abstractmethod
    def _listed(self, start: int, end: int) -> list[str | None]: ...

    @abstractmethod
    def _part(self, rows: slice) -> Strings: ...

    @overload
    def __getitem__(self, row: int) -> str | None: ...
    @overload
    def __getitem__(self, row: slice) -> Strings: ...
    def __getitem__(self, row: int | slice) -> str | Strings | None:
        if isinstance(row, slice):
            return self._part(row)
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        row = int(row) % len(self)
        return self._listed(row, row + 1)[0]

    def __iter__(self) -> Iterator[str | None]:
        for start in range(0, len(self), PART):
            yield from self._listed(start, min(start + PART, len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        some = ", ".join(repr(text) for text in self[:3])
        return f"{type(self).__name__}({len(self)}: {some}{', …' if len(self) > 3 else ''})"


class Texts(Strings):
    """Texts few of which are equal, as a polars series keeps them.

    Args:
        series: of strings.
        rows: int64 (N), those of the series that are meant; all of them, in order, if not given.

    >>> import polars as pl
    >>> Texts(pl.Series(["one", None, "three"]))[1:]
    Texts(2: None, 'three')
    """

    def __init__(self, series: Any, rows: np.ndarray | None = None):
        self.series, self.rows = series, rows

    def __len__(self) -> int:
        return len(self.series) if self.rows is None else len(self.rows)

    def _listed(self, start: int, end: int) -> list[str | None]:
        part = self.series[start:end] if self.rows is None else self.series.gather(self.rows[start:end])
        return part.to_list()

    def _part(self, rows: slice) -> Texts:
        return Texts(self.series[rows]) if self.rows is None else Texts(self.series, self.rows[rows])

    def take(self, rows: np.ndarray) -> Texts:
        return Texts(self.series, rows if self.rows is None else self.rows[rows])


class Names(Strings):
    """Names that repeat: which of them each row has.

    Args:
        codes: int32 (N), places in `names`.
        names: each once; None for a missing one.

    >>> Names(np.array([1, 0, 1], np.int32), ["no", "yes"])
    Names(3: 'yes', 'no', 'yes')
    """

    def __init__(self, codes: np.ndarray, names: Sequence[str | None]):
        self.codes, self.names = codes, list(names)

    def __len__(self) -> int:
        return len(self.codes)

    def _listed(self, start: int, end: int) -> list[str | None]:
        return [self.names[code] for code in self.codes[start:end].tolist()]

    def _part(self, rows: slice) -> Names:
        return Names(self.codes[rows], self.names)

    def take(self, rows: np.ndarray) -> Names:
        return Names(self.codes[rows], self.names)

    def counted(self) -> list[tuple[str | None, int]]:
        """The names that are there, and how often."""
        counts = np.bincount(self.codes, minlength=len(self.names)).tolist()
        return [(name, count) for name, count in zip(self.names, counts, strict=True) if count]


def counts_of(values: Sequence[Any]) -> list[tuple[Any, int]]:
    """Distinct values and how often each comes."""
    if isinstance(values, Names):
        return values.counted()
    if isinstance(values, np.ndarray) and values.dtype != object:
        distinct, counts = np.unique(values, return_counts=True)
        return list(zip(distinct.tolist(), counts.tolist(), strict=True))
    found: dict[Any, int] = {}
    for value in values:
        try:
            found[value] = found.get(value, 0) + 1
        except TypeError:
            continue
    return list(found.items())
