"""Views: windows of one array as raw values, made when they are asked for and never copied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np


class Views(Sequence[np.ndarray]):
    """Windows of one array, each from a start on and all of one length.

    Args:
        flat: (T, …), what all of them lie in.
        starts: int64 (N), where each begins.
        length: steps of each.
        segments: int64 (T), which series each step belongs to; one series if not given.

    >>> views = Views(np.arange(6), np.array([0, 1, 3]), 3)
    >>> views[2], len(views[1:])
    (array([3, 4, 5]), 2)
    """

    def __init__(self, flat: np.ndarray, starts: np.ndarray, length: int, segments: np.ndarray | None = None):
        self.flat, self.starts, self.length = flat, np.asarray(starts, np.int64), length
        self.segments = np.zeros(len(flat), np.int64) if segments is None else segments

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, row: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, row: slice) -> Views: ...
    def __getitem__(self, row: int | slice) -> np.ndarray | Views:
        if isinstance(row, slice):
            return self.of(self.starts[row])
        start = self.starts[row]
        return self.flat[start : start + self.length]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[row] for row in range(len(self)))

    def take(self, rows: np.ndarray) -> Views:
        """Some of them, by their numbers, int64 (n)."""
        return self.of(self.starts[rows])

    def of(self, starts: np.ndarray) -> Views:
        """Windows of the same array from other starts on."""
        return Views(self.flat, starts, self.length, self.segments)

    def covered(self, first: int = 0) -> np.ndarray:
        """Which steps of the array lie in any window, bool (T); of each window those from `first` on."""
        edges = np.zeros(len(self.flat) + 1, np.int64)
        np.add.at(edges, self.starts + first, 1)
        np.add.at(edges, self.starts + self.length, -1)
        return edges[:-1].cumsum() > 0
