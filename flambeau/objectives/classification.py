"""Classes: accuracy, the confusion matrix, calibration and the worst mistakes, counted batch by batch."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.fields import Category, Tags

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


class Classification:
    """Accuracy, macro F1, the confusion matrix, calibration and the worst mistakes, from probabilities (B, K)."""

    def __init__(self, field: Category | Tags, detail: bool):
        self.classes, self.keep = field.classes, detail
        self.temperature = getattr(field, "temperature", 1.0)
        k = len(self.classes)
        self.confusion = torch.zeros(k, k, dtype=torch.int64)  # true × predicted
        self.besides = torch.zeros(k, dtype=torch.int64)  # predicted where the truth is none of the classes
        self.bins = torch.zeros(3, CALIBRATION_BINS, dtype=torch.float64)  # count, sum of confidence, right
        self.worst = Worst()

    def update(self, output: Tensor, target: Tensor, rows: Tensor) -> None:
        confidence, predicted = output.float().max(1)
        k = len(self.classes)
        self.confusion += torch.bincount((target * k + predicted).cpu(), minlength=k * k).view(k, k)
        if not self.keep:
            return
        right = (predicted == target).cpu()
        confidence = confidence.cpu()
        at = (confidence * CALIBRATION_BINS).long().clamp(0, CALIBRATION_BINS - 1)
        for i, what in enumerate((torch.ones_like(confidence), confidence, right)):
            self.bins[i].index_add_(0, at, what.double())
        probabilities = output.float().cpu()
        truth, guess = target.cpu(), predicted.cpu()

        def tell(i: int) -> dict[str, Any]:
            return {
                "true": self.classes[int(truth[i])],
                "predicted": self.classes[int(guess[i])],
                "confidence": round(float(confidence[i]), 4),
                "probability_of_true": round(float(probabilities[i, truth[i]]), 4),
                **self.tell_more(i),
            }

        # wrong and sure of it comes first; right ones score 0 and are never kept
        self.worst.offer(torch.where(right, 0.0, confidence - probabilities.gather(1, truth[:, None])[:, 0] + 1e-9),
                         rows, tell)  # fmt: skip

    def tell_more(self, i: int) -> dict[str, Any]:
        """What else is to be said of the i-th of the samples that `update` was called with."""
        return {}

    def values(self) -> dict[str, float]:
        total = max(int(self.confusion.sum()), 1)
        return {
            "accuracy": float(self.confusion.diagonal().sum()) / total,
            "f1": float(np.mean([c["f1"] for c in self.per_class() if c["count"]] or [0.0])),
        }

    def per_class(self) -> list[dict[str, Any]]:
        """Precision, recall, F1 and count by class."""
        hits = self.confusion.diagonal().double()
        truth, guessed = self.confusion.sum(1), self.confusion.sum(0) + self.besides
        recall, precision = hits / truth.clamp_min(1), hits / guessed.clamp_min(1)
        f1 = 2 * precision * recall / (precision + recall).clamp_min(1e-12)
        return [
            {"class": name, "precision": p, "recall": r, "f1": f, "count": n}
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
            "confusion": self.confusion.tolist(),
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
