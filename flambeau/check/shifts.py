"""What one split has in another form than the training rows: another unit, pictures inverted, red and blue exchanged.

Each is told only where undoing it brings the split back to the training rows, so that other kinds of change are not
taken for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flambeau.core.findings import Finding, Severity
from flambeau.data.dataset import Dataset
from flambeau.data.split import NAMES

FEWEST = 50
"""Rows on either side."""
FACTOR = 2.0  # of a unit, at least
SAME = 0.1
"""A distance of distributions (Kolmogorov-Smirnov), beyond what chance makes of so many rows, that is none."""
OTHER = 0.5
"""Share of the colours of a split that are not those of the training rows."""
TINTS = (-24, -12, -4, 4, 12, 24)  # where Cb and Cr are parted
STEADY, OPPOSITE = 0.7, -0.7
"""Correlations of mean pictures: of two halves of the training rows, which says that they have one; with a split."""


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference of the distributions of two samples (Kolmogorov-Smirnov), from 0 to 1.

    >>> float(distance(np.arange(10), np.arange(10))), float(distance(np.zeros(4), np.ones(4)))
    (0.0, 1.0)
    """
    both = np.sort(np.r_[one, other])
    shares = [np.searchsorted(np.sort(x), both, side="right") / len(x) for x in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())


def by_chance(one: np.ndarray, other: np.ndarray) -> float:
    """A distance that two draws from one distribution hardly exceed."""
    return float(2.0 / np.sqrt(min(len(one), len(other))))


def unit_change(train: np.ndarray, rest: np.ndarray) -> float | None:
    """The factor between the numbers of two splits, where it is all that sets them apart; else None."""
    ours, theirs = (float(np.median(np.abs(x[x != 0]))) if (x != 0).any() else 0.0 for x in (train, rest))
    if min(ours, theirs) <= 0 or 1 / FACTOR < theirs / ours < FACTOR:
        return None
    factor, chance = theirs / ours, by_chance(train, rest)
    alike = distance(train * factor, rest) < SAME + chance
    return factor if alike and distance(train, rest) > SAME + 2 * chance else None


def picture_changes(dataset: Dataset, grey: np.ndarray, colour: np.ndarray, good: Sequence[int]) -> list[Finding]:
    """Findings about splits whose pictures are the negatives of the training ones, or have red and blue exchanged.

    Args:
        grey, colour: signatures as of `scan`.
        good: rows that could be read.
    """
    rows = np.asarray(good, np.int64)
    splits = [rows[dataset.split[rows] == code] for code in range(len(NAMES))]
    train, findings = splits[0], list[Finding]()
    for name, rest in zip(NAMES[1:], splits[1:], strict=False):
        if min(len(train), len(rest)) < FEWEST:
            continue
        if _negative(grey, train, rest):
            findings.append(
                Finding("inverted", Severity.WARNING, f"pictures of the {name} rows look like negatives of the "
                        "training ones", count=len(rest), rows=rest[:12].tolist(),
                        fix="invert them, or see how both were made: a model would fail on them")
            )  # fmt: skip
        elif _exchanged(grey, colour, train, rest):
            findings.append(
                Finding("swapped-channels", Severity.WARNING, f"pictures of the {name} rows look as if red and blue "
                        "were exchanged", count=len(rest), rows=rest[:12].tolist(),
                        fix="read both in one order of channels: OpenCV has BGR, Pillow RGB")
            )  # fmt: skip
    return findings


def _negative(grey: np.ndarray, train: np.ndarray, rest: np.ndarray) -> bool:
    halves = [_mean_picture(grey[part]) for part in (train[::2], train[1::2])]
    if _alike(*halves) < STEADY:  # they have no mean picture to speak of
        return False
    return _alike(_mean_picture(grey[train]), _mean_picture(grey[rest])) < OPPOSITE


def _mean_picture(grey: np.ndarray) -> np.ndarray:
    return np.asarray(grey.mean(0, dtype=np.float64).ravel())


def _alike(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1]) if one.std() > 1 and other.std() > 1 else 0.0


def _exchanged(grey: np.ndarray, colour: np.ndarray, train: np.ndarray, rest: np.ndarray) -> bool:
    """Whether the colours of a split are far from the training rows', and near them with red and blue exchanged."""
    theirs = _colours(grey[rest], colour[rest])
    own = np.abs(_colours(grey[train], colour[train]) - theirs).sum() / 2
    exchanged = np.abs(_colours(grey[train], colour[train, ::-1]) - theirs).sum() / 2
    return bool(own > OTHER and exchanged < own / 2)


def _colours(grey: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Shares of 16 blocks of each of N pictures that are of each of 147 colours, by tint and brightness."""
    side = grey.shape[1] // colour.shape[2]
    light = grey.reshape(len(grey), colour.shape[2], side, colour.shape[3], side).mean((2, 4))
    codes = np.digitize(light, (85, 170))
    for plane in (colour[:, 0], colour[:, 1]):
        codes = codes * (len(TINTS) + 1) + np.digitize(plane.astype(np.int16) - 128, TINTS)
    return np.bincount(codes.ravel(), minlength=3 * (len(TINTS) + 1) ** 2) / codes.size
