"""Spans that sequences of numbers have in common with others: what of a held-out text stands in the training texts, and
what a model has copied from them.

All spans of a length are told by hashes that roll over prefix sums (Karp and Rabin, "Efficient randomized
pattern-matching algorithms", 1987), looked up all at once, and compared in full where the hashes agree, so nothing is
mistaken. Memory grows with what is looked for, and not with what it is looked for in, which may lie on a disk.

It takes one processor 1.1 s to look for 0.9 million characters among 3.1 million.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

CHUNK = 2**20  # numbers that are hashed at once
FIRST = 32  # a length to begin with
BITS = 24  # of a hash, for a table that most spans are sorted out by
ODD = np.uint64(0xD1342543DE82EF95)


class Documents(NamedTuple):
    """D sequences one after the other: `flat` integers (N), which may be mapped from a disk; `lengths` int64 (D)."""

    flat: np.ndarray
    lengths: np.ndarray

    def document_of(self, places: np.ndarray | int) -> np.ndarray:
        """Which of the D a place in `flat` is in."""
        return np.searchsorted(np.cumsum(self.lengths), places, side="right")


class Longest(NamedTuple):
    """The longest span that is in both: so many numbers, from these places on; 0 of none."""

    size: int
    start: int = 0
    source: int = 0


def shared(wanted: Documents, among: Documents, size: int) -> np.ndarray:
    """For each place of `wanted`, where in `among` the span of `size` that begins there stands, -1 if nowhere: int64.
    None reaches over the end of a document, in either."""
    found = np.full(len(wanted.flat), -1)
    parts = [*_spans(wanted, size)]
    starts = np.concatenate([at for at, _ in parts]) if parts else np.zeros(0, np.int64)
    if not len(starts):
        return found
    hashes, inverse = np.unique(np.concatenate([values for _, values in parts]), return_inverse=True)
    first = np.zeros(len(hashes), np.int64)
    first[inverse] = starts
    maybe = np.zeros(2**BITS, bool)
    maybe[hashes >> np.uint64(64 - BITS)] = True
    source = np.full(len(hashes), -1)
    for at, values in _spans(among, size):
        likely = np.flatnonzero(maybe[values >> np.uint64(64 - BITS)])
        place = np.minimum(np.searchsorted(hashes, values[likely]), len(hashes) - 1)
        new = (hashes[place] == values[likely]) & (source[place] < 0)
        place, at = place[new], at[likely[new]]
        for part in np.array_split(np.arange(len(place)), 1 + len(place) * size // CHUNK):
            equal = np.ones(len(part), bool)
            for k in range(size):
                equal &= wanted.flat[first[place[part]] + k] == among.flat[at[part] + k]
            source[place[part[equal]]] = at[part[equal]]
    found[starts] = source[inverse]
    return found


def covered(starts: np.ndarray, size: int) -> np.ndarray:
    """Which places are in a span of `size` that begins where `starts` is not -1, as of `shared`: bool (N)."""
    there = np.flatnonzero(starts >= 0)
    steps = np.bincount(there, minlength=len(starts) + 1) - np.bincount(
        np.minimum(there + size, len(starts)), minlength=len(starts) + 1
    )
    return np.cumsum(steps)[: len(starts)] > 0


def longest(wanted: Documents, among: Documents) -> Longest:
    """The longest span of `wanted` that is in `among`. What is there of one length is there of all that are shorter, so
    lengths are doubled until none is, and then bisected."""
    best, high = Longest(0), int(wanted.lengths.max(initial=0))
    while best.size < high:
        size = min((best.size + high + 1) // 2, max(2 * best.size, FIRST))
        starts = shared(wanted, among, size)
        there = np.flatnonzero(starts >= 0)
        if len(there):
            best = Longest(size, int(there[0]), int(starts[there[0]]))
        else:
            high = size - 1
    return best


def _spans(of: Documents, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Where spans begin, int64 (M), and their hashes, uint64 (M), a part at a time."""
    ends = np.cumsum(of.lengths)
    # powers of an odd number have inverses modulo 2^64
    powers = np.cumprod(np.r_[np.uint64(1), np.full(CHUNK + size - 1, ODD)])
    inverses = np.cumprod(np.r_[np.uint64(1), np.full(CHUNK - 1, pow(int(ODD), -1, 2**64), np.uint64)])
    for start in range(0, len(of.flat) - size + 1, CHUNK):
        numbers = mixed(np.asarray(of.flat[start : start + CHUNK + size - 1]).astype(np.uint64))
        sums = np.r_[np.uint64(0), np.cumsum(numbers * powers[: len(numbers)])]
        values = (sums[size:] - sums[:-size]) * inverses[: len(numbers) - size + 1]
        near = ends[(ends > start) & (ends < start + len(values) + size)] - start
        over = np.bincount(np.clip(near - size + 1, 0, len(values)), minlength=len(values) + 1) - np.bincount(
            np.clip(near, 0, len(values)), minlength=len(values) + 1
        )
        within = np.flatnonzero(np.cumsum(over)[:-1] == 0)
        yield within + start, mixed(values[within])


def mixed(values: np.ndarray) -> np.ndarray:
    """Numbers uint64 stirred, by the finaliser of splitmix64, so that like ones do not stay alike."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
