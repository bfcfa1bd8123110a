"""Which of several models answers: the best one, or a blend of a few, by rows that none of them was fitted to.

The blend is greedy: Caruana, Niculescu-Mizil, Crew, Ksikes, "Ensemble selection from libraries of models", ICML 2004:
from the best model on, the one is added, again and again, with which the mean of all answers has the least loss. What
rows of validation say is noisy, so that differences are held against their standard errors: of models that differ by
less the one of the least loss is taken, and of a blend that gains less its first member alone.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from flambeau.objectives.intervals import Grouped, groups_of, standard_error
from flambeau.objectives.losses import each_sample
from flambeau.objectives.names import higher_is_better
from flambeau.studies.rows import Answers

ROUNDS = 20  # of the greedy blend: weights are multiples of one in so many
NOISE = 1.0
"""Standard errors, within which two models are alike."""
SURE = 2.0
"""Standard errors of its gain in loss, beyond which a blend is taken."""


@dataclass(frozen=True)
class Selection:
    """What is taken.

    Attributes:
        weights: of each model, a sum of 1; 0 of those that have no part.
        metrics, losses: of each model alone.
        metric, loss: of what is taken.
        why: a sentence.
    """

    weights: list[float]
    metrics: list[float]
    losses: list[float]
    metric: float
    loss: float
    why: str

    @property
    def chosen(self) -> list[int]:
        """The models that have a part."""
        return [i for i, weight in enumerate(self.weights) if weight > 0]


class _Judge:
    """Measures answers (N, …) to the same rows."""

    def __init__(self, first: Answers, metric: str):
        self.first, self.metric = first, metric
        self.sign = 1 if higher_is_better(metric) else -1
        self.groups = groups_of(first.rows, first.task.neighbours).numpy()
        self.plain = copy.copy(first.task)  # answers are calibrated, each by its own model
        self.plain.calibration = {}

    def losses(self, output: Tensor) -> np.ndarray:
        """Of each row, float64 (N)."""
        loss = getattr(self.first.predictor.objective, "loss_function")  # noqa: B009
        return each_sample(loss, self.plain.deactivate(output), self.first.target).double().numpy()

    def measured(self, output: Tensor) -> tuple[float, np.ndarray]:
        """The metric, more of it being better, and the same without each group of rows, float64 (G)."""
        found = self.first.task.measured_by(False, self.metric)
        for one in found:
            one.update(output, self.first.target, self.first.rows)
        values = {name: value for one in found for name, value in one.values().items()}
        grouped = [one for one in found if isinstance(one, Grouped)]
        without = {name: value for one in grouped for name, value in one.without_groups().items()}
        if self.metric not in values:  # the loss itself
            losses = self.losses(output)
            return self.sign * float(np.nanmean(losses)), self.sign * self.without(losses)
        return self.sign * values[self.metric], self.sign * without.get(self.metric, np.zeros(0))

    def without(self, values: np.ndarray) -> np.ndarray:
        """The mean of values by row (N) without each group that has rows, float64 (G)."""
        known = np.isfinite(values)
        sums, counts = (np.bincount(self.groups, part, 32) for part in (np.where(known, values, 0), known))
        there = counts > 0
        return (sums.sum() - sums[there]) / np.maximum(1, counts.sum() - counts[there])


def select(
    found: Sequence[Answers], names: Sequence[str], metric: str, judged_on: str = "validation rows"
) -> Selection:
    """What is taken of some models.

    Args:
        found: what each answers to the same rows.
        names: what each is called.
        metric: what they are judged by.
        judged_on: what the rows are, in words.
    """
    judge, outputs = _Judge(found[0], metric), [one.output for one in found]
    measured, rows = [judge.measured(output) for output in outputs], [judge.losses(output) for output in outputs]
    losses = [float(np.nanmean(of_rows)) for of_rows in rows]
    best = _best([value for value, _ in measured], [without for _, without in measured], losses)
    values = [judge.sign * value for value, _ in measured]
    weights = _greedy(outputs, best, judge)
    said = f"{names[best]} is the best of {len(names)} on {len(outputs[0]):,} {judged_on}"
    if np.count_nonzero(weights) > 1:
        joint = blended(outputs, weights)
        value, without = judge.measured(joint)
        of_joint = judge.losses(joint)
        gain = float(np.nanmean(rows[best] - of_joint))
        error = standard_error(judge.without(rows[best] - of_joint))
        better = value - measured[best][0]
        if better >= 0 and gain > SURE * error:
            mixed = ", ".join(f"{w:.2f} {n}" for n, w in zip(names, weights, strict=True) if w)
            why = (f"a blend ({mixed}) has less loss than {names[best]} alone on {len(joint):,} {judged_on}, by "
                   f"{gain:.3g} ± {error:.2g}")  # fmt: skip
            return Selection(weights, values, losses, judge.sign * value, float(np.nanmean(of_joint)), why)
        said += "; no blend gains more than may be chance"
    alone = [float(i == best) for i in range(len(found))]
    return Selection(alone, values, losses, values[best], losses[best], said)


def blended(outputs: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The mean of answers (N, …) by weights."""
    return sum((out.float() * weight for out, weight in zip(outputs, weights, strict=True) if weight),
               torch.zeros(()))  # fmt: skip


def _best(values: Sequence[float], without: Sequence[np.ndarray], losses: Sequence[float]) -> int:
    """The model of the least loss among those that are no worse than the best by more than noise."""
    top = int(np.argmax(values))
    alike = [top]
    for i, value in enumerate(values):
        if i != top and len(without[i]) == len(without[top]) > 1:
            error = standard_error(without[top] - without[i])
            alike += [i] if values[top] - value <= NOISE * error else []
    return min(alike, key=lambda i: losses[i])


def _greedy(outputs: Sequence[Tensor], best: int, judge: _Judge) -> list[float]:
    """The weights of the blend with the least loss on the way."""
    counts, total = np.zeros(len(outputs)), outputs[best].float().clone()
    counts[best] = 1
    least, kept = float(np.nanmean(judge.losses(outputs[best]))), counts.copy()
    for _ in range(ROUNDS - 1):
        tried = [float(np.nanmean(judge.losses((total + out.float()) / (counts.sum() + 1)))) for out in outputs]
        one = int(np.argmin(tried))
        total += outputs[one].float()
        counts[one] += 1
        if tried[one] < least:
            least, kept = tried[one], counts.copy()
    return [float(count) for count in kept / kept.sum()]
