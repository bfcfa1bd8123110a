"""Columns: raw values kept in a few bytes each, and made when asked for. `taken`, `counts_of` and `mapped` take them,
lists and arrays alike."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar, overload

import numpy as np

PART = 8192  # values made at a time
T = TypeVar("T")


class Column(Sequence[T]):
    """What all of them promise: a part of a column is one of the same kind, and copies no values."""

    @abstractmethod
    def take(self, rows: np.ndarray) -> Self:
        """Some of them, by their numbers, int64 (n)."""

    @abstractmethod
    def made(self, start: int, end: int) -> list[T]:
        """The values of some rows."""

    @overload
    def __getitem__(self, row: int) -> T: ...
    @overload
    def __getitem__(self, row: slice) -> Self: ...
    def __getitem__(self, row: int | slice) -> T | Self:
        if isinstance(row, slice):
            return self.take(np.arange(*row.indices(len(self))))
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        row = int(row) % len(self)
        return self.made(row, row + 1)[0]

    def __iter__(self) -> Iterator[T]:
        for start in range(0, len(self), PART):
            yield from self.made(start, min(start + PART, len(self)))

    def __repr__(self) -> str:
        some = ", ".join(map(repr, self[:3]))
        return f"{type(self).__name__}({len(self)}: {some}{', …' if len(self) > 3 else ''})"

    @property
    def distinct(self) -> bool:
        """Whether no value comes twice."""
        return len(counts_of(self)) == len(self)


class Strings(Column[str | None]):
    """Texts or names, equal to any sequence of the same strings."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


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

    def take(self, rows: np.ndarray) -> Texts:
        return Texts(self.series, rows if self.rows is None else self.rows[rows])

    def made(self, start: int, end: int) -> list[str | None]:
        part = self.series[start:end] if self.rows is None else self.series.gather(self.rows[start:end])
        return part.to_list()

    @property
    def distinct(self) -> bool:
        series = self.series if self.rows is None else self.series.gather(self.rows)
        return series.n_unique() == len(series)


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

    def take(self, rows: np.ndarray) -> Names:
        return Names(self.codes[rows], self.names)

    def made(self, start: int, end: int) -> list[str | None]:
        return [self.names[code] for code in self.codes[start:end].tolist()]


class Views(Column[np.ndarray]):
    """Windows of one array, each from a start on and all of one length.

    Args:
        flat: (T, …), what all of them lie in.
        starts: int64 (N), where each begins.
        length: steps of each.
        segments: int64 (T), which series each step belongs to; one series if not given.
        names: of the series, where they have some.

    >>> views = Views(np.arange(6), np.array([0, 1, 3]), 3)
    >>> views[2], len(views[1:])
    (array([3, 4, 5]), 2)
    """

    def __init__(
        self, flat: np.ndarray, starts: np.ndarray, length: int, segments: np.ndarray | None = None,
        names: Sequence[str | None] = (),
    ):  # fmt: skip
        self.flat, self.starts, self.length = flat, np.asarray(starts, np.int64), length
        self.segments = np.zeros(len(flat), np.int64) if segments is None else segments
        self.names = names

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, rows: np.ndarray) -> Views:
        return self.of(self.starts[rows])

    def made(self, start: int, end: int) -> list[np.ndarray]:
        return [self.flat[begin : begin + self.length] for begin in self.starts[start:end].tolist()]

    def of(self, starts: np.ndarray) -> Views:
        """Windows of the same array from other starts on."""
        return Views(self.flat, starts, self.length, self.segments, self.names)

    def covered(self, first: int = 0) -> np.ndarray:
        """Which steps of the array lie in any window, bool (T); of each window those from `first` on."""
        edges = np.zeros(len(self.flat) + 1, np.int64)
        np.add.at(edges, self.starts + first, 1)
        np.add.at(edges, self.starts + self.length, -1)
        return edges[:-1].cumsum() > 0


class Rows(Column[dict[str, Any]]):
    """The rows of some columns as mappings; the columns stay as they are.

    >>> rows = Rows({"a": [1, 2, 3], "b": ["x", "y", "z"]})
    >>> rows[1], len(rows[1:])
    ({'a': 2, 'b': 'y'}, 2)
    """

    def __init__(self, columns: Mapping[str, Sequence[Any]]):
        self.columns = dict(columns)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def take(self, rows: np.ndarray) -> Rows:
        return Rows({name: taken(values, rows) for name, values in self.columns.items()})

    def made(self, start: int, end: int) -> list[dict[str, Any]]:
        parts = (values[start:end] for values in self.columns.values())
        return [dict(zip(self.columns, row, strict=True)) for row in zip(*parts, strict=True)]


def taken(values: Sequence[Any], rows: Sequence[int] | np.ndarray) -> Sequence[Any]:
    """Some values of a column, by their numbers, as one of the same storage."""
    rows = np.asarray(rows, np.int64)
    if isinstance(values, np.ndarray):
        return values[rows]
    return values.take(rows) if isinstance(values, Column) else [values[row] for row in rows.tolist()]


def counts_of(values: Sequence[Any]) -> list[tuple[Any, int]]:
    """Distinct values and how often each comes; what cannot be counted, such as a list, is passed over."""
    if isinstance(values, Names):
        counts = np.bincount(values.codes, minlength=len(values.names)).tolist()
        return [(name, count) for name, count in zip(values.names, counts, strict=True) if count]
    if isinstance(values, np.ndarray) and values.dtype != object:
        distinct, numbers = np.unique(values, return_counts=True)
        return list(zip(distinct.tolist(), numbers.tolist(), strict=True))
    found: dict[Any, int] = {}
    for value in values:
        try:
            found[value] = found.get(value, 0) + 1
        except TypeError:
            continue
    return list(found.items())


def mapped(values: Sequence[Any], number: Callable[[Any], int]) -> np.ndarray:
    """A whole number for each value, int64 (N); `number` is called once for each different one."""
    if isinstance(values, Names):
        return np.asarray([number(name) for name in values.names], np.int64)[values.codes]
    if isinstance(values, np.ndarray) and values.dtype != object:
        distinct, inverse = np.unique(values, return_inverse=True)
        return np.asarray([number(value) for value in distinct.tolist()], np.int64)[inverse]
    known: dict[Any, int] = {}
    numbers = np.empty(len(values), np.int64)
    for row, value in enumerate(values):
        try:
            numbers[row] = known[value] if value in known else known.setdefault(value, number(value))
        except TypeError:  # a list cannot be looked up
            numbers[row] = number(value)
    return numbers
