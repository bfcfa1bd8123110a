"""Paired statistics: how much better one model is than another on the same rows, or by the same seeds, and whether
chance would do as much.

Intervals of a metric on rows are of the paired bootstrap (Efron & Tibshirani 1993): rows are drawn again with
replacement, the same ones for both models. Metrics that sum what is wrong with each row are tested by flipping signs:
under chance either model could have made either mistake, so every sign of a row's difference is as likely. Of right and
wrong that is McNemar's exact test (1947); of numbers Fisher's randomisation test (1935). Differences by seed have
Student's t. Several pairs are adjusted as Holm did (1979).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

FEW = 12  # differences, up to which all signs are tried
FLIPS = 10_000  # random signs of more of them
RESAMPLES = (300, 1_000)  # of a bootstrap, at least and at most
MOST_DRAWN = 20_000_000  # rows that all resamples draw together, of which follows how many they are
CHUNK = 4_000_000  # signs at once


@dataclass
class Difference:
    """How much more one model has of a metric than another: 95 % interval, probability under chance, and by what
    test. `p` is NaN where nothing can be tested, as of one seed."""

    value: float
    low: float
    high: float
    p: float
    test: str


def resamples(count: int, seed: int = 0, neighbours: int = 1) -> Iterator[np.ndarray]:
    """Positions of rows drawn with replacement, int64 (count) each; the same ones for every model.

    Args:
        neighbours: so many rows in a row are drawn together, where they are not independent.
    """
    least, most = RESAMPLES
    random = np.random.default_rng(seed)
    blocks = -(-count // neighbours)
    for _ in range(min(most, max(least, MOST_DRAWN // max(count, 1)))):
        drawn = random.integers(0, blocks, blocks)
        if neighbours > 1:
            rows = (drawn[:, None] * neighbours + np.arange(neighbours)).ravel()
            drawn = rows[rows < count]
        yield drawn


def of_resamples(value: float, drawn: np.ndarray) -> Difference:
    """A difference by its values (R) on resamples: percentiles; p is how often they are as far from it as 0 is."""
    low, high = np.percentile(drawn, [2.5, 97.5])
    beyond = int((np.abs(drawn - value) >= abs(value) - 1e-12).sum())
    return Difference(value, float(low), float(high), (1 + beyond) / (1 + len(drawn)), "bootstrap")


def mcnemar(only_one: int, only_other: int) -> float:
    """The exact probability of so uneven a share of the rows that only one of two models has right.

    >>> mcnemar(0, 5), mcnemar(3, 3)
    (0.0625, 1.0)
    """
    fewer, total = min(only_one, only_other), only_one + only_other
    return min(1.0, 2 * float(special.bdtr(fewer, total, 0.5))) if total else 1.0


def sign_flip(differences: np.ndarray, seed: int = 0) -> float:
    """The probability that signs by chance make a sum of differences (N) as large; exact up to 12 of them, and of
    differences that are all of one size.

    >>> sign_flip(np.array([1.0, 2.0, 3.0])), sign_flip(np.array([0.0, 1.0, 1.0, 1.0, 1.0, 1.0]))
    (0.25, 0.0625)
    """
    there = differences[differences != 0]
    if not len(there):
        return 1.0
    sizes = np.abs(there)
    if np.ptp(sizes) == 0:
        return mcnemar(int((there > 0).sum()), int((there < 0).sum()))
    reached = abs(there.sum()) - 1e-9 * sizes.sum()
    if len(there) <= FEW:
        signs = np.array(list(itertools.product((-1, 1), repeat=len(there))))
        return float((np.abs(signs @ there) >= reached).mean())
    random, beyond, done = np.random.default_rng(seed), 0, 0
    while done < FLIPS:
        flips = min(FLIPS - done, max(1, CHUNK // len(there)))
        signs = random.integers(0, 2, (flips, len(there)), np.int8) * np.int8(2) - np.int8(1)
        beyond, done = beyond + int((np.abs(signs @ there) >= reached).sum()), done + flips
    return (1 + beyond) / (1 + FLIPS)


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """(mean, low, high): the 95 % interval of the mean of values by seed; of one value there is none (NaN)."""
    count, mean = len(values), float(np.mean(values))
    if count < 2:
        return mean, math.nan, math.nan
    half = float(special.stdtrit(count - 1, 0.975) * np.std(values, ddof=1) / math.sqrt(count))
    return mean, mean - half, mean + half


def by_seed(ours: Sequence[float], theirs: Sequence[float]) -> Difference:
    """The mean of what one has more than the other with the same seed; p of Student's paired t-test (1908)."""
    differences = np.subtract(ours, theirs)
    value, low, high = mean_interval(differences.tolist())
    count = len(differences)
    if count < 2:
        return Difference(value, low, high, math.nan, "one seed")
    error = float(np.std(differences, ddof=1)) / math.sqrt(count)
    if error == 0:
        p = 1.0 if value == 0 else 0.0
    else:
        p = 2 * float(special.stdtr(count - 1, -abs(value) / error))
    return Difference(value, low, high, p, "paired t")
