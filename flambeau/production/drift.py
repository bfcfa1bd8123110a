"""Whether rows of today are like those of the training: a test for each signal, and how far they have moved.

An alert needs both: a probability by chance that is small for as many tests as are made (Bonferroni), and a change that
is large enough to matter; the first alone would tell of trifles where rows are many, the second of chance where they
are few. On rows of the training's own distribution it is quiet: the tests watch it so, 40 times over.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from flambeau.core.shapes import Float
from flambeau.production.statistics import OTHERS, Statistics

FEWEST = 30
"""Rows on either side; of fewer nothing is said."""
CHANCE = 0.01
"""The probability that a watch of rows like the training's raises any alert of signals; half of it for embeddings."""
PSI, DISTANCE, MMD = 0.2, 0.15, 0.1
"""The least population stability index, Kolmogorov-Smirnov distance and maximum mean discrepancy of an alert."""
BINS, PERMUTATIONS, NEAREST = 10, 999, 5


@dataclass(frozen=True)
class Drift:
    """What became of a signal.

    Attributes:
        test: `ks` of numbers, `g` of names, `mmd` of what the model makes of an input before its last layer.
        p: the probability of such a difference, or a larger one, by chance.
        size: Kolmogorov-Smirnov distance, population stability index (of names), or maximum mean discrepancy.
        psi: population stability index; None of `mmd`.
        before, now: in words.
    """

    name: str
    test: str
    p: float
    size: float
    psi: float | None
    before: str
    now: str
    alert: bool

    def __str__(self) -> str:
        how = {"ks": "Kolmogorov-Smirnov distance", "g": "population stability index", "mmd": "MMD"}[self.test]
        moved = f": {self.before} in the training, {self.now} now" if self.before else ""
        return f"{self.name} has drifted{moved} ({how} {self.size:.2f}, p {self.p:.1g})"


def drifts(before: Statistics, now: Statistics) -> list[Drift]:
    """Each signal that both have, the ones that have drifted first."""
    names = [n for n in (*before.numbers, *before.names) if n in now.numbers or n in now.names]
    level, found = CHANCE / max(1, len(names)), list[Drift]()
    for name in names:
        if name in before.numbers and name in now.numbers:
            drift = _of_numbers(name, before.numbers[name], now.numbers[name], level)
        else:
            drift = _of_names(name, _counts(before, name), _counts(now, name), level)
        if drift is not None:
            found.append(drift)
    if before.embedding is not None and now.embedding is not None:
        ours, theirs = before.embedding, now.embedding
        if min(len(ours), len(theirs)) >= FEWEST and ours.shape[1] == theirs.shape[1]:
            size, p = mmd(ours, theirs)
            alert = p < CHANCE / 2 and size > MMD
            found.append(Drift("what the model makes of its input", "mmd", p, size, None, "", "", alert))
    return sorted(found, key=lambda drift: (not drift.alert, drift.p, -drift.size))


def _counts(of: Statistics, name: str) -> Counter[str | None]:
    if name in of.names:
        return of.names[name]
    return Counter(None if value != value else f"{value:g}" for value in of.numbers[name].tolist())


def psi(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The population stability index of two counts of K bins, half a row added to each so that none is empty.

    >>> round(psi(np.array([50.0, 50.0]), np.array([50.0, 50.0])), 3)
    0.0
    """
    one, other = (np.asarray(x, np.float64) + 0.5 for x in (ours, theirs))
    one, other = one / one.sum(), other / other.sum()
    return float(((other - one) * np.log(other / one)).sum())


def _of_numbers(name: str, before: np.ndarray, now: np.ndarray, level: float) -> Drift | None:
    if min(len(before), len(now)) < FEWEST:
        return None
    ours, theirs = before[np.isfinite(before)], now[np.isfinite(now)]
    distance, p = 0.0, 1.0
    if len(ours) and len(theirs):
        result = scipy.stats.ks_2samp(ours, theirs, method="asymp")
        distance, p = float(result.statistic), float(result.pvalue)
    edges = np.unique(np.quantile(ours, np.linspace(0, 1, BINS + 1)[1:-1])) if len(ours) else np.zeros(0)
    counts = [
        np.r_[np.bincount(np.searchsorted(edges, x, side="left"), minlength=len(edges) + 1), len(whole) - len(x)]
        for x, whole in ((ours, before), (theirs, now))
    ]
    index = psi(*counts)
    gaps = [count[-1] / count.sum() for count in counts]
    missing = scipy.stats.fisher_exact([[c[-1], c.sum() - c[-1]] for c in counts]).pvalue if any(gaps) else 1.0
    alert = (p < level / 2 and distance > DISTANCE) or (missing < level / 2 and abs(gaps[1] - gaps[0]) > DISTANCE)
    told = [_summary(x, gap) for x, gap in zip((ours, theirs), gaps, strict=True)]
    return Drift(name, "ks", min(1.0, 2 * min(p, float(missing))), max(distance, abs(gaps[1] - gaps[0])), index,
                 told[0], told[1], bool(alert))  # fmt: skip


def _summary(values: np.ndarray, gap: float) -> str:
    if not len(values):
        return "missing"
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9))
    return f"{middle:.4g} ({low:.4g} to {high:.4g})" + (f", {gap:.0%} missing" if gap else "")


def _of_names(name: str, before: Counter[str | None], now: Counter[str | None], level: float) -> Drift | None:
    if OTHERS in before:
        rest = sum(count for name, count in now.items() if name not in before)
        now = Counter({name: count for name, count in now.items() if name in before} | {OTHERS: rest})
    total, live = sum(before.values()), sum(now.values())
    if min(total, live) < FEWEST:
        return None
    # names that hardly anybody has are one, so that chance has its usual distribution
    frequent = [n for n in {*before, *now} if (before[n] + now[n]) * min(total, live) / (total + live) >= 5]
    table = np.asarray([[of[n] for n in frequent] + [sum(of.values()) - sum(of[n] for n in frequent)]
                        for of in (before, now)], np.float64)  # fmt: skip
    table = table[:, table.sum(0) > 0]
    index = psi(table[0], table[1])
    p = float(scipy.stats.chi2_contingency(table, lambda_="log-likelihood").pvalue) if table.shape[1] > 1 else 1.0
    moved = sorted(frequent, key=lambda n: -abs(before[n] / total - now[n] / live))[:3]
    told = [", ".join(f"{'missing' if n is None else n} {of[n] / size:.0%}" for n in moved)
            for of, size in ((before, total), (now, live))]  # fmt: skip
    return Drift(name, "g", p, index, index, told[0], told[1], p < level and index > PSI)


def mmd(ours: Float[np.ndarray, "N F"], theirs: Float[np.ndarray, "M F"], seed: int = 0) -> tuple[float, float]:
    """The maximum mean discrepancy of two samples, the root of its unbiased square, and the probability of such a one
    by chance, by permutations (Gretton et al. 2012, A Kernel Two-Sample Test). The kernel is a Gaussian whose width is
    the median distance. Costs O((N + M)²)."""
    both = np.concatenate((ours, theirs)).astype(np.float64)
    squares = scipy.spatial.distance.cdist(both, both, "sqeuclidean")
    width = float(np.median(squares[squares > 0])) if (squares > 0).any() else 1.0
    kernel = np.exp(-squares / width)
    np.fill_diagonal(kernel, 0)
    n, m = len(ours), len(theirs)
    random, signs = np.random.default_rng(seed), np.zeros((n + m, PERMUTATIONS + 1))
    for column in range(PERMUTATIONS + 1):
        order = random.permutation(n + m) if column else np.arange(n + m)
        signs[order[:n], column] = 1
    within = kernel @ signs
    one = (signs * within).sum(0)  # sums of the kernel within the first sample, and across both
    across = within.sum(0) - one
    other = kernel.sum() - one - 2 * across
    found = one / (n * (n - 1)) + other / (m * (m - 1)) - 2 * across / (n * m)
    p = float((found >= found[0] - 1e-15).mean())
    return float(np.sqrt(max(found[0], 0.0))), p


def strangeness(ours: Float[np.ndarray, "N F"], theirs: Float[np.ndarray, "M F"]) -> np.ndarray:
    """How far each of `theirs` is from `ours`, by the distance of its NEAREST-th neighbour, float64 (M): the share
    of `ours` that are nearer to the others of them; 1 is stranger than all.

    >>> strangeness(np.arange(9.0)[:, None], np.array([[4.0], [99.0]])).tolist()
    [0.0, 1.0]
    """
    k = min(NEAREST, len(ours) - 1)
    own = np.sort(
        np.partition(scipy.spatial.distance.cdist(ours, ours), k, axis=1)[:, k]
    )  # the nearest of all is itself
    far = np.partition(scipy.spatial.distance.cdist(theirs, ours), max(k - 1, 0), axis=1)[:, max(k - 1, 0)]
    return np.asarray(np.searchsorted(own, far, side="left") / len(own))


def told(found: list[Drift]) -> list[dict[str, Any]]:
    """As plain JSON."""
    return [vars(drift) for drift in found]
