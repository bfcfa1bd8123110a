"""How well scores rank: ROC AUC and average precision, from scores that come batch by batch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flambeau.objectives.intervals import GROUPS

EXACT = 2**19  # scores up to which both are exact
STEP, FURTHEST = 1 / 128, 16.0  # beyond, logits are rounded to this, and cut here


class Ranks(NamedTuple):
    """ROC AUC and average precision."""

    roc_auc: float
    average_precision: float


class Curve(NamedTuple):
    """What is had at every threshold, the highest first: each of T distinct scores, and how many rows of the class and
    how many others have at least that.

    >>> Curve(np.array([2.0, -1.0]), np.array([3, 4]), np.array([1, 9])).above(0.0)
    (3, 1)
    """

    scores: np.ndarray
    hits: np.ndarray
    others: np.ndarray

    def above(self, score: float) -> tuple[int, int]:
        """How many of the class, and how many others, have a score of at least this."""
        place = int(np.searchsorted(-self.scores, -score, side="right"))
        return (int(self.hits[place - 1]), int(self.others[place - 1])) if place else (0, 0)

    def flipped(self) -> Curve:
        """That of the other one of two classes, whose score is the opposite."""
        there, absent = (np.diff(counts, prepend=0)[::-1].cumsum() for counts in (self.others, self.hits))
        return Curve(-self.scores[::-1], there, absent)

    def points(self, most: int) -> np.ndarray:
        """Some of the T places, int64, as far from each other on the curve as may be: `most` of them at most."""
        walked = self.hits / max(1, self.hits[-1]) + self.others / max(1, self.others[-1])
        return np.unique(np.searchsorted(walked, np.linspace(0, walked[-1], most)).clip(max=len(walked) - 1))


class Ranking:
    """Logits of a class and whether it was the true one, by group of rows.

    Up to 524,288 scores are kept as they are. Of more, logits are rounded to 1/128 and counted: two that are rounded to
    one count as a tie, so ROC AUC is off by at most half the share of pairs (true, false) that are. Memory is
    bounded by that many entries of 20 bytes.
    """

    def __init__(self, exact: int = EXACT) -> None:
        self.exact = exact
        empty = (np.zeros(0, np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64))
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = [empty]  # score, true · GROUPS + group, how many
        self._size = 0

    def add(self, scores: np.ndarray, true: np.ndarray, groups: np.ndarray) -> None:
        """Counts a batch.

        Args:
            scores: logits (B). true: bool (B). groups: int64 (B), from 0 to 31.
        """
        keys = true.astype(np.int64) * GROUPS + groups
        scores = np.nan_to_num(scores.astype(np.float32), nan=-FURTHEST)  # of a model that has broken down
        self._parts.append((scores, keys, np.ones(len(scores), np.int64)))
        self._size += len(scores)
        if self._size > self.exact:
            self._round()

    def _round(self) -> None:
        scores, keys, counts = self._joined()
        steps = np.rint(scores.clip(-FURTHEST, FURTHEST) / STEP).astype(np.int64)
        unique, where = np.unique(steps * 2 * GROUPS + keys, return_inverse=True)
        counts = np.bincount(where, counts).astype(np.int64)
        steps, keys = np.divmod(unique, 2 * GROUPS)
        self._parts = [((steps * STEP).astype(np.float32), keys, counts)]
        self._size = 0  # of those that came since

    def _joined(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        scores, keys, counts = (np.concatenate(parts) for parts in zip(*self._parts, strict=True))
        self._parts = [(scores, keys, counts)]
        return scores, keys, counts

    def curve(self) -> Curve:
        """Of all rows; T is 0 where there are none."""
        scores, keys, counts = self._joined()
        distinct, where = np.unique(-scores, return_inverse=True)
        there = np.bincount(where, counts * (keys >= GROUPS), minlength=len(distinct)).astype(np.int64)
        whole = np.bincount(where, counts, minlength=len(distinct)).astype(np.int64)
        return Curve(-distinct.astype(np.float64), there.cumsum(), (whole - there).cumsum())

    def values(self) -> Ranks:
        """Of all rows; 0.5 and the share of true ones where only one of both occurs."""
        return self._ranks()[0]

    def without(self, groups: np.ndarray) -> list[Ranks]:
        """Of the rows without each of some groups."""
        return self._ranks(groups)[1]

    def _ranks(self, groups: np.ndarray | None = None) -> tuple[Ranks, list[Ranks]]:
        scores, keys, counts = self._joined()
        distinct, where = np.unique(-scores, return_inverse=True)  # the highest first

        def of(chosen: np.ndarray) -> np.ndarray:
            return np.bincount(where[chosen], counts[chosen], minlength=len(distinct))

        true = keys >= GROUPS
        there, absent = of(true), of(~true)
        left_out = []
        for group in () if groups is None else groups:
            gone = keys % GROUPS == group
            left_out.append(_ranks(there - of(gone & true), absent - of(gone & ~true)))
        return _ranks(there, absent), left_out


def _ranks(there: np.ndarray, absent: np.ndarray) -> Ranks:
    """From how often each distinct score, the highest first, is of a row of the class, and how often of another. AUC is
    the share of pairs in order, ties as half (Mann & Whitney 1947); average precision is without interpolation."""
    hits, others = there.sum(), absent.sum()
    above = there.cumsum()
    if not hits or not others:
        return Ranks(0.5, float(hits > 0))
    precision = above / np.maximum(above + absent.cumsum(), 1)
    return Ranks(float((absent * (above - there / 2)).sum() / (hits * others)), float((there * precision).sum() / hits))
