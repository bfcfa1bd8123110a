"""How far a figure may be off by chance: 95 % intervals of any metric, and of the difference of two models on the same
rows.

The method is the delete-a-group jackknife (Kott 2001, "The delete-a-group jackknife", Journal of Official Statistics
17): rows are dealt into 32 groups by their numbers, and each metric keeps its sums by group, so that what it would have
been without a group is known at the end. Memory does not grow with the rows, and metrics that are no mean (F1, R², ROC
AUC) are treated as those that are. Plain shares of independent rows have Wilson's interval (1927) instead, which is
right for few rows and near 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.objectives.names import bounds, higher_is_better, is_share

GROUPS = 32
Z = 1.96  # of the normal distribution
Interval = tuple[float, float]


def groups_of(rows: Tensor, block: int = 1) -> Tensor:
    """The group of each row, int64 (B) from 0 to 31: by its number alone, so that every model has the same ones.

    Args:
        block: so many neighbours are in one group, where rows are not independent: windows of a series that overlap.
    """
    return (((rows.cpu().long() // block) * 2654435761) % 2**32) >> 27  # Fibonacci hashing: Knuth, volume 3, 6.4


def wilson(right: float, total: float, z: float = Z) -> Interval:
    """The 95 % interval of a share that was measured on `total` samples (Wilson 1927).

    >>> [round(v, 3) for v in wilson(0.9, 100)]
    [0.826, 0.945]
    >>> wilson(0.0, 22)[0], wilson(1.0, 22)[1]
    (0.0, 1.0)
    """
    middle = (right + z * z / (2 * total)) / (1 + z * z / total)
    half = z * math.sqrt(right * (1 - right) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return middle - half if right > 0 else 0.0, middle + half if right < 1 else 1.0  # which rounding misses


def standard_error(without: np.ndarray) -> float:
    """That of a metric, from its values without each group in turn, float (G)."""
    groups = len(without)
    if groups < 2:
        return math.inf
    return math.sqrt((groups - 1) / groups * float(np.square(without - without.mean()).sum()))


def half_width(without: np.ndarray) -> float:
    """Half of the 95 % interval of a metric, from its values without each group in turn, float (G)."""
    free = len(without) - 1
    if free < 1:
        return math.inf
    return standard_error(without) * (
        Z + (Z**3 + Z) / (4 * free) + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * free**2)
    )  # Student's t


class Grouped:
    """A metric whose sums are kept by group of rows.

    Attributes:
        sums: float64 or int64 (GROUPS, …).
        proportions: names of values that are shares of independent rows.
    """

    sums: Tensor
    proportions: tuple[str, ...] = ()

    def score(self, sums: Tensor) -> dict[str, Tensor]:
        """Values (N) by name of sums (N, …)."""
        raise NotImplementedError

    @property
    def count(self) -> int:
        """How many rows, words or steps were measured."""
        raise NotImplementedError

    def values(self) -> dict[str, float]:
        """Results by name."""
        return {name: float(value[0]) for name, value in self.score(self.sums.sum(0)[None]).items()}

    @property
    def groups(self) -> np.ndarray:
        """The groups that have rows, int64."""
        return self.sums.flatten(1).bool().any(1).nonzero()[:, 0].numpy()

    def without_groups(self) -> dict[str, np.ndarray]:
        """The results without each group that has rows, float64 (G) by name."""
        left = self.sums.sum(0) - self.sums[torch.from_numpy(self.groups)]
        return {name: value.double().numpy() for name, value in self.score(left).items()}

    def intervals(self) -> dict[str, Interval]:
        """95 % intervals by name."""
        values, without = self.values(), self.without_groups()
        found = {
            name: interval(values[name], without[name], self.count, share=is_share(name),
                           proportion=name in self.proportions)
            for name in values if name in without
        }  # fmt: skip
        return {name: bounded(name, *both) for name, both in found.items() if both is not None}


def bounded(name: str, low: float, high: float) -> Interval:
    """An interval without what the metric can never be."""
    least, most = bounds(name)
    return max(low, least), min(high, most)


def interval(value: float, without: np.ndarray, count: int, *, share: bool, proportion: bool) -> Interval | None:
    """The 95 % interval of a metric; None of one row.

    Args:
        without: its values without each group of rows, float (G).
        count: what it was measured on.
        share: it lies between 0 and 1.
        proportion: it is the share of `count` independent rows.
    """
    half = half_width(without)
    if count < 2 or not math.isfinite(half):
        return None
    if not share:
        return value - half, value + half
    # Wilson's interval of as many independent rows as would be off by as much
    spread = value * (1 - value)
    alike = count if proportion or half == 0 or spread <= 0 else min(count, spread * (Z / half) ** 2)
    return wilson(min(max(value, 0.0), 1.0), alike)


def difference(
    ours: float, theirs: float, without_ours: np.ndarray, without_theirs: np.ndarray
) -> tuple[float, float, float]:
    """(difference, low, high) of a metric of two models on the same rows: paired, since rows that are hard for one are
    hard for the other."""
    half = half_width(without_ours - without_theirs)
    return ours - theirs, ours - theirs - half, ours - theirs + half


def differences(
    ours: Mapping[str, float], theirs: Mapping[str, float], without_ours: Mapping[str, np.ndarray],
    without_theirs: Mapping[str, np.ndarray],
) -> dict[str, list[float]]:  # fmt: skip
    """For each metric that both have: [ours - theirs, low, high]."""
    both = [name for name in without_ours if len(without_theirs.get(name, ())) == len(without_ours[name])]
    found = {n: difference(ours[n], theirs[n], without_ours[n], without_theirs[n]) for n in both}
    return {name: list(values) for name, values in found.items() if all(map(math.isfinite, values))}


def unrelated(rivals: Sequence[Mapping[str, Any]], metrics: Mapping[str, float], metric: str) -> str | None:
    """The name of the rival that always says the same, where neither the model nor any other rival is better than it by
    more than chance: then nothing shows that the labels have to do with the inputs. None where something does, or
    nobody else was tried.

    Args:
        rivals, metrics, metric: as of `winner`; rivals say of themselves whether they are `constant`.
    """
    known = [rival for rival in rivals if metric in rival["metrics"]]
    constant = next((rival for rival in known if rival.get("constant")), None)
    others = [rival for rival in known if not rival.get("constant")]
    if constant is None or not others or metric not in metrics or winner(constant, metrics, metric) == "model":
        return None
    return None if any(winner(other, metrics, metric) == "baseline" for other in others) else str(constant["name"])


def winner(rival: Mapping[str, Any], metrics: Mapping[str, float], metric: str) -> str:
    """`model`, `baseline`, or `tie` where the difference may be chance.

    Args:
        rival: with `metrics` and, where they are known, `differences` as of `differences`.
        metrics: the model's.
    """
    sign = 1 if higher_is_better(metric) else -1
    value = metrics[metric] - rival["metrics"][metric]
    _, low, high = rival.get("differences", {}).get(metric) or (value, value, value)
    if low <= 0 <= high:
        return "tie"
    return "model" if sign * value > 0 else "baseline"


def holm(probabilities: Sequence[float]) -> list[float]:
    """Probabilities adjusted for being several (Holm 1979); NaN are no tests, and stay.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted((p, i) for i, p in enumerate(probabilities) if p == p)
    adjusted, most = list(probabilities), 0.0
    for rank, (p, i) in enumerate(order):
        most = max(most, min(1.0, p * (len(order) - rank)))
        adjusted[i] = most
    return adjusted
