"""Average precision of boxes as COCO has it (Lin et al. 2014, arXiv:1405.0312; https://cocodataset.org/#detection-eval),
from pictures that come one by one.

Of each answer 15 bytes are kept and no box: its score, two bits for each of four ranges of area and ten overlaps, and
the group of its picture, by which figures have intervals (`objectives/intervals.py`). From `EXACT` answers on, about
10,000 pictures of 100, these are counted by score, rounded to 8 bits: then it costs no more memory, however many
pictures there are, and there are no intervals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from flambeau.objectives.intervals import GROUPS

OVERLAPS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
AREAS: Mapping[str, tuple[float, float]] = {
    "all": (0, 1e10), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10),
}  # fmt: skip
"""Ranges of area, in pixels, both ends within."""
MOST = 100
"""Answers that count, of a class in a picture: the surest ones."""
EXACT = 2**20
BITS = (len(AREAS), len(OVERLAPS))
Counts = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Scores (n), and how many hits and how many false answers there are with each, both (n, areas, overlaps)."""


class Truth(NamedTuple):
    """The things in one picture.

    Attributes:
        boxes: float (M, 4): left, top, right, bottom in pixels.
        classes: int (M).
        crowd: bool (M): of many things that nobody has parted; answers within it are neither right nor wrong.
        areas: float (M), in pixels: where a thing is smaller than its box.
    """

    boxes: np.ndarray
    classes: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray

    @classmethod
    def of(cls, boxes: np.ndarray, classes: np.ndarray) -> Truth:
        """Of boxes that are all one thing each, as large as their box."""
        return cls(boxes, classes, np.zeros(len(boxes), bool), area(boxes))


class Found(NamedTuple):
    """Answers about one picture: boxes as those of `Truth` (N, 4), scores (N), classes (N)."""

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray


def area(boxes: np.ndarray) -> np.ndarray:
    """Of boxes (…, 4)."""
    return (boxes[..., 2:] - boxes[..., :2]).clip(0).prod(-1)


def overlaps(found: np.ndarray, true: np.ndarray, crowd: np.ndarray | None = None) -> np.ndarray:
    """IoU of boxes (N, 4) with boxes (M, 4): (N, M), float64; with a crowd the share of the first that is in it."""
    found, true = found.astype(np.float64)[:, None], true.astype(np.float64)[None]
    both = np.minimum(found[..., 2:], true[..., 2:]) - np.maximum(found[..., :2], true[..., :2])
    shared = both.clip(0).prod(-1)
    union = area(found) + area(true) - shared
    if crowd is not None:
        union = np.where(crowd, area(found), union)
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def assigned(iou: np.ndarray, crowd: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """Which thing each answer is about, int (N, areas, overlaps), -1 for none: the surest answer takes the thing that
    it overlaps most, one that counts before one that does not, and nobody else has it; a crowd is there for all.

    Args:
        iou: (N, M) of answers, the surest first. crowd: (M). ignored: (areas, M): what does not count.
    """
    about = np.full((len(iou), *BITS), -1)
    free = np.ones((*BITS, len(crowd)), bool)
    counts = 2.0 * ~ignored[:, None]
    rows = np.indices(BITS)
    for i in np.flatnonzero((iou >= OVERLAPS[0]).any(1)):
        worth = np.where((iou[i] >= OVERLAPS[:, None]) & free, counts + iou[i], -1)
        best = worth.shape[-1] - 1 - worth[..., ::-1].argmax(-1)  # of several that are alike the last, as in COCO
        there = worth.max(-1) >= 0
        about[i] = np.where(there, best, -1)
        free[rows[0], rows[1], best] &= ~there | crowd[best]
    return about


class AveragePrecision:
    """Hits and false answers of each class, by score.

    Args:
        num_classes: K.
        exact: answers up to which scores are kept as they are.
    """

    def __init__(self, num_classes: int, exact: int = EXACT):
        self.exact, self.size = exact, 0
        self.positives = np.zeros((num_classes, len(AREAS)), np.int64)
        self.pictures = np.zeros(GROUPS, np.int64)
        self._things = np.zeros((GROUPS, num_classes), np.int64)  # those of all areas
        self._groups: list[list[np.ndarray]] = [[] for _ in range(num_classes)]
        self._scores: list[list[np.ndarray]] = [[] for _ in range(num_classes)]
        self._bits: list[list[np.ndarray]] = [[] for _ in range(num_classes)]  # uint8 (n, 10), packed
        self._binned: list[Counts | None] = [None] * num_classes

    def add(
        self, found: Found, true: Truth, group: int = 0, iou: np.ndarray | None = None, areas: np.ndarray | None = None
    ) -> None:  # fmt: skip
        """Counts a picture, of a group.

        Args:
            iou: (N, M) of answers with things, as `overlaps` has it of boxes; that of their boxes if not given.
            areas: (N) of answers, in pixels, likewise.
        """
        self.pictures[group] += 1
        for k in np.union1d(found.classes, true.classes).astype(int):
            mine, own = np.flatnonzero(found.classes == k), np.flatnonzero(true.classes == k)
            mine = mine[np.argsort(-found.scores[mine], kind="stable")][:MOST]
            crowd, sizes = true.crowd[own], true.areas[own]
            ignored = np.stack([crowd | (sizes < low) | (sizes > high) for low, high in AREAS.values()])
            counts = (~ignored).sum(1)
            self.positives[k] += counts
            self._things[group, k] += counts[0]
            if not len(mine):
                continue
            boxes, about = found.boxes[mine], np.full((len(mine), *BITS), -1)
            size = area(boxes.astype(np.float64)) if areas is None else areas[mine]
            excused = np.stack([(size < low) | (size > high) for low, high in AREAS.values()], 1)[:, :, None]
            if len(own):
                shared = overlaps(boxes, true.boxes[own], crowd) if iou is None else iou[np.ix_(mine, own)]
                about = assigned(shared, crowd, ignored)
                uncounted = ignored[np.arange(len(AREAS))[:, None], about]  # of no thing it is not asked for
                excused = np.where(about >= 0, uncounted, excused)
            hits, false = (about >= 0) & ~excused, (about < 0) & ~excused
            self._scores[k].append(found.scores[mine].astype(np.float32))
            self._groups[k].append(np.full(len(mine), group, np.uint8))
            self._bits[k].append(np.packbits(np.stack([hits, false], 1).reshape(len(mine), -1), axis=1))
            self.size += len(mine)
        if self.size > self.exact:
            self._round()

    def _round(self) -> None:
        """Counts what is kept by its score in 8 bits, which is a bfloat16."""
        for k in range(len(self.positives)):
            scores, hits, false = self._counts(k)
            rounded = ((scores.view(np.uint32) + 0x8000) & 0xFFFF0000).view(np.float32)
            unique, which = np.unique(rounded, return_inverse=True)
            sums = np.zeros((2, len(unique), *BITS), np.int64)
            np.add.at(sums[0], which, hits)
            np.add.at(sums[1], which, false)
            self._binned[k] = (unique, sums[0], sums[1])
            self._scores[k], self._bits[k], self._groups[k] = [], [], []
        self.size = 0

    def _counts(self, k: int) -> Counts:
        bits = np.concatenate([*self._bits[k], np.zeros((0, 2 * BITS[0] * BITS[1] // 8), np.uint8)])
        kept = np.unpackbits(bits, axis=1).reshape(-1, 2, *BITS)
        scores = np.concatenate([*self._scores[k], np.zeros(0, np.float32)])
        if (binned := self._binned[k]) is None:
            return scores, kept[:, 0], kept[:, 1]
        return (np.concatenate([binned[0], scores]), np.concatenate([binned[1], kept[:, 0]]),
                np.concatenate([binned[2], kept[:, 1]]))  # fmt: skip

    def curves(self, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of a class at each of `RECALLS`: the best precision (101, areas, overlaps) that is had with it, and the score
        that it takes; and the furthest recall (areas, overlaps). NaN where there is no such thing."""
        precision, scores = np.zeros((2, len(RECALLS), *BITS))
        furthest = np.zeros(BITS)
        score, hits, false = self._counts(k)
        order = np.argsort(-score, kind="stable")
        score = score[order]
        for a, positives in enumerate(self.positives[k]):
            if not positives:
                precision[:, a], scores[:, a], furthest[a] = np.nan, np.nan, np.nan
                continue
            precision[:, a], at = precisions(hits[order, a], false[order, a], positives)
            scores[:, a] = np.append(score, 0)[at]
            furthest[a] = hits[:, a].sum(0) / positives
        return precision, scores, furthest

    def averages(self) -> tuple[np.ndarray, np.ndarray]:
        """Average precision and furthest recall, each (K, areas, overlaps); NaN where there is no such thing."""
        both = [self.curves(k) for k in range(len(self.positives))]
        return np.stack([one[0].mean(0) for one in both]), np.stack([one[2] for one in both])

    def values(self) -> dict[str, float]:
        """`map` over all overlaps, `map50` and `map75`, then of things by size, and `recall`, means over classes; 0 of
        what is not there."""
        average, recall = self.averages()
        figures = {"map50": average[:, 0, 0], "map": average[:, 0], "map75": average[:, 0, 5]}
        figures |= {f"map_{name}": average[:, a] for a, name in enumerate(AREAS) if a}
        return {name: mean(one) for name, one in (figures | {"recall": recall[:, 0]}).items()}

    def without_groups(self) -> dict[str, np.ndarray]:
        """`map50` and `map` without each group of pictures that there is, in turn, float64 (G); nothing where answers
        were counted by score."""
        if any(self._binned):
            return {}
        groups = np.flatnonzero(self.pictures)
        averages = np.full((len(groups), len(self.positives), len(OVERLAPS)), np.nan)
        for k, positives in enumerate(self.positives[:, 0]):
            score, hits, false = self._counts(k)
            group, order = np.concatenate([*self._groups[k], np.zeros(0, np.uint8)]), np.argsort(-score, kind="stable")
            for i, left_out in enumerate(groups):
                kept = order[group[order] != left_out]
                if there := positives - self._things[left_out, k]:
                    averages[i, k] = precisions(hits[kept, 0], false[kept, 0], there)[0].mean(0)
        return {"map50": np.asarray([mean(one[:, 0]) for one in averages]),
                "map": np.asarray([mean(one) for one in averages])}  # fmt: skip


def precisions(hits: np.ndarray, false: np.ndarray, positives: int) -> tuple[np.ndarray, np.ndarray]:
    """The best precision that is had with each of `RECALLS`, (101, overlaps), 0 where it is not reached, and the number
    of the answer that it takes, N there; of answers (N, overlaps), the surest first."""
    right, wrong = hits.cumsum(0, dtype=np.float64), false.cumsum(0, dtype=np.float64)
    exact = right / (right + wrong + np.spacing(1))
    best = np.maximum.accumulate(exact[::-1])[::-1]  # what is had with this recall or with more
    at = np.stack([np.searchsorted(column, RECALLS, side="left") for column in (right / positives).T], 1)
    return np.take_along_axis(np.concatenate([best, np.zeros((1, best.shape[1]))]), at, 0), at


def mean(figures: np.ndarray) -> float:
    """Of those that are there; 0 where none is."""
    there = figures[~np.isnan(figures)]
    return float(there.mean()) if len(there) else 0.0
