"""Classes: accuracy, F1, balanced and ranking figures, the confusion matrix, calibration and the worst mistakes,
counted batch by batch."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.objectives.confusion import Confusion
from flambeau.objectives.intervals import GROUPS, Grouped, groups_of
from flambeau.objectives.ranking import Ranking, Ranks

WORST = 24  # mistakes kept for the report
CALIBRATION_BINS = 15


class Worst:
    """The rows with the highest score so far."""

    def __init__(self) -> None:
        self.heap: list[tuple[float, int, int, dict[str, Any]]] = []
        self._offered = 0  # so that no two entries are alike: a row of tags is offered once for each of its words

    def offer(self, scores: Tensor, rows: Tensor, tell: Callable[[int], dict[str, Any]]) -> None:
        best = scores.topk(min(WORST, len(scores)))
        for score, i in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            if score <= 0 or (len(self.heap) == WORST and score <= self.heap[0][0]):
                break
            self._offered += 1
            entry = (score, int(rows[i]), self._offered, tell(i))
            (heapq.heappushpop if len(self.heap) == WORST else heapq.heappush)(self.heap, entry)

    def listed(self) -> list[dict[str, Any]]:
        return [{"row": row, "score": score, **told} for score, row, _, told in sorted(self.heap, key=lambda e: -e[0])]


class Classification(Grouped):
    """Accuracy, macro F1, the confusion matrix, calibration and the worst mistakes, from probabilities (B, K).

    Args:
        balanced: also what holds where classes are of very different size: balanced accuracy (the mean recall),
            Matthews' correlation coefficient (of K classes: Gorodkin 2004), and of two classes ROC AUC and average
            precision of the rarer one.
        positive: which of two classes is the rarer one.
        temperature: what logits are divided by, for the report.
    """

    proportions: tuple[str, ...] = ("accuracy",)

    def __init__(
        self, classes: list[str], detail: bool, balanced: bool = False, positive: int = 0, temperature: float = 1.0
    ):
        self.classes, self.keep, self.balanced = classes, detail, balanced
        self.positive, self.temperature = positive, temperature
        k = len(self.classes)
        self.confusion = Confusion(k)
        self.sums = torch.zeros(GROUPS, 3, k, dtype=torch.int64)  # right, predicted, true
        self.ranking = Ranking() if balanced and k == 2 else None
        self.bins = torch.zeros(3, CALIBRATION_BINS, dtype=torch.float64)  # count, sum of confidence, right
        self.worst = Worst()

    def update(self, output: Tensor, target: Tensor, rows: Tensor) -> None:
        confidence, predicted = output.float().max(1)
        truth, guess, groups = target.cpu(), predicted.cpu(), groups_of(rows)
        right = guess == truth
        self.confusion.add(truth, guess)
        self.count_groups(0, truth[right], groups[right])
        self.count_groups(1, guess, groups)
        self.count_groups(2, truth, groups)
        if self.ranking is not None:
            logits = output.float().cpu().clamp_min(1e-38).log()
            score = logits[:, self.positive] - logits[:, 1 - self.positive]
            self.ranking.add(score.numpy(), (truth == self.positive).numpy(), groups.numpy())
        if not self.keep:
            return
        confidence = confidence.cpu()
        at = (confidence * CALIBRATION_BINS).long().clamp(0, CALIBRATION_BINS - 1)
        for i, what in enumerate((torch.ones_like(confidence), confidence, right)):
            self.bins[i].index_add_(0, at, what.double())
        probabilities = output.float().cpu()

        def tell(i: int) -> dict[str, Any]:
            return {
                "true": self.classes[int(truth[i])],
                "predicted": self.classes[int(guess[i])],
                "confidence": round(float(confidence[i]), 4),
                "probability_of_true": round(float(probabilities[i, truth[i]]), 4),
                **self.tell_more(i),
            }

        # wrong and sure of it comes first; right ones score 0 and are never kept
        self.worst.offer(
            torch.where(right, 0.0, confidence - probabilities.gather(1, truth[:, None])[:, 0] + 1e-9), rows, tell
        )

    def count_groups(self, what: int, classes: Tensor, groups: Tensor) -> None:
        """Adds to the sums `what` of some classes, int64 (B), in some groups."""
        k = len(self.classes)
        self.by_class[:, what] += torch.bincount(groups * k + classes, minlength=GROUPS * k).view(GROUPS, k)

    @property
    def by_class(self) -> Tensor:
        """Sums (GROUPS, 3, K): right, predicted, true."""
        return self.sums

    def tell_more(self, i: int) -> dict[str, Any]:
        """What else is to be said of the i-th of the samples that `update` was called with."""
        return {}

    @property
    def count(self) -> int:
        return int(self.by_class[:, 2].sum())

    def score(self, sums: Tensor) -> dict[str, Tensor]:
        right, guessed, truth = sums.double().unbind(1)  # (N, K) each
        total, there = truth.sum(1), truth > 0
        f1 = 2 * right / (guessed + truth).clamp_min(1)
        found = {"accuracy": right.sum(1) / total.clamp_min(1), "f1": _mean(f1, there)}
        if self.balanced:
            apart = (total**2 - guessed.square().sum(1)) * (total**2 - truth.square().sum(1))
            together = right.sum(1) * total - (guessed * truth).sum(1)
            found["balanced_accuracy"] = _mean(right / truth.clamp_min(1), there)
            found["mcc"] = together / apart.sqrt().clamp_min(1e-12)
        return found

    def values(self) -> dict[str, float]:
        ranks = {} if self.ranking is None else self.ranking.values()._asdict()
        return super().values() | ranks

    def without_groups(self) -> dict[str, np.ndarray]:
        found = super().without_groups()
        if self.ranking is not None:
            ranks = self.ranking.without(self.groups)
            found |= {name: np.asarray([getattr(r, name) for r in ranks]) for name in Ranks._fields}
        return found

    def per_class(self) -> list[dict[str, Any]]:
        """Precision, recall, F1 and count by class."""
        hits, guessed, truth = self.by_class.sum(0).double()
        recall, precision = hits / truth.clamp_min(1), hits / guessed.clamp_min(1)
        f1 = 2 * precision * recall / (precision + recall).clamp_min(1e-12)
        return [
            {"class": name, "precision": p, "recall": r, "f1": f, "count": int(n)}
            for name, p, r, f, n in zip(
                self.classes, precision.tolist(), recall.tolist(), f1.tolist(), truth.tolist(), strict=True
            )
        ]

    def detail(self) -> dict[str, Any]:
        count, confidence, right = self.bins
        safe = count.clamp_min(1)
        gap = float(((confidence - right).abs()).sum() / count.sum().clamp_min(1))
        return {
            "kind": "classification",
            "classes": self.classes,
            **self.confusion.detail(self.classes),
            "per_class": self.per_class(),
            # expected calibration error, Guo et al. 2017, arXiv:1706.04599
            "calibration": {
                "error": gap,
                "temperature": self.temperature,
                "count": count.tolist(),
                "confidence": (confidence / safe).tolist(),
                "accuracy": (right / safe).tolist(),
            },
            "worst": self.worst.listed(),
        }


def _mean(values: Tensor, there: Tensor) -> Tensor:
    """The mean (N) of values (N, K) where something is there."""
    return (values * there).sum(1) / there.sum(1).clamp_min(1)
