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
