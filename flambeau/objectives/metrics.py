"""Streaming metrics: counts and sums only, so that memory does not grow with the data."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from flambeau.core.errors import UsageError, shown
from flambeau.fields import Category, Field, Forecast, MultiLabel, Number, Tags
from flambeau.objectives.classification import Classification, Worst
from flambeau.objectives.forecasting import Forecasting
from flambeau.objectives.tagging import Tagging


class Metric(Protocol):
    """What a metric does. `output` is activated: probabilities (B, K), or numbers in the target's own units."""

    def update(self, output: Tensor, target: Tensor, rows: Tensor) -> None:
        """Counts a batch."""
        ...

    def values(self) -> dict[str, float]:
        """Results by name."""
        ...

    def detail(self) -> dict[str, Any]:
        """What the report shows, as plain JSON."""
        ...


class MultiLabelClassification:
    """Exact match and F1 from probabilities (B, K) and targets (B, K)."""

    def __init__(self, field: MultiLabel, detail: bool):
        self.classes, self.threshold, self.keep = field.classes, field.threshold, detail
        self.counts = torch.zeros(3, len(self.classes), dtype=torch.int64)  # true positives, predicted, true
        self.exact = self.total = 0
        self.worst = Worst()

    def update(self, output: Tensor, target: Tensor, rows: Tensor) -> None:
        probabilities, truth = output.float().cpu(), target.cpu() > 0.5
        guess = probabilities >= self.threshold
        self.counts += torch.stack([(guess & truth).sum(0), guess.sum(0), truth.sum(0)])
        self.exact += int((guess == truth).all(1).sum())
        self.total += len(truth)
        if not self.keep:
            return

        def names(row: Tensor) -> str:
            return ", ".join(c for c, on in zip(self.classes, row.tolist(), strict=True) if on) or "none"

        def tell(i: int) -> dict[str, Any]:
            return {"true": names(truth[i]), "predicted": names(guess[i])}

        self.worst.offer(((probabilities - truth.float()).abs() * (guess != truth)).sum(1), rows, tell)

    def per_class(self) -> list[dict[str, Any]]:
        """Precision, recall, F1 and count by class."""
        hits, guessed, truth = self.counts.double()
        precision, recall = hits / guessed.clamp_min(1), hits / truth.clamp_min(1)
        f1 = 2 * hits / (guessed + truth).clamp_min(1)
        table = zip(self.classes, precision.tolist(), recall.tolist(), f1.tolist(), truth.tolist(), strict=True)
        return [{"class": c, "precision": p, "recall": r, "f1": f, "count": int(n)} for c, p, r, f, n in table]

    def values(self) -> dict[str, float]:
        hits, guessed, truth = self.counts.sum(1).tolist()
        return {
            "f1": float(np.mean([c["f1"] for c in self.per_class() if c["count"]] or [0.0])),
            "micro_f1": 2 * hits / max(guessed + truth, 1),
            "exact_match": self.exact / max(self.total, 1),
        }

    def detail(self) -> dict[str, Any]:
        return {"kind": "multilabel", "classes": self.classes, "per_class": self.per_class(),
                "worst": self.worst.listed()}  # fmt: skip


class Regression:
    """Mean absolute error, root mean squared error and R², in the target's own units."""

    def __init__(self, field: Number, detail: bool):
        self.field, self.keep = field, detail
        self.middle = float(np.mean(field.natural(np.zeros(field.shape or 1))))
        self.sums = torch.zeros(5, dtype=torch.float64)  # n, |e|, e², y, y², y counted from the training mean
        self.worst = Worst()
        self.pairs: list[list[float]] = []

    def update(self, output: Tensor, target: Tensor, rows: Tensor) -> None:
        truth, guess = (
            torch.from_numpy(np.asarray(self.field.natural(x.cpu().double().reshape(target.shape).numpy())))
            for x in (target, output)
        )
        error = guess - truth
        # from the middle, else R² of numbers far from 0 drowns in rounding
        about = truth - self.middle
        n = truth.numel()
        self.sums += torch.stack(
            [
                torch.tensor(float(n)),
                error.abs().sum(),
                error.square().sum(),
                about.sum(),
                about.square().sum(),
            ]
        )
        if not self.keep or truth.ndim > 1:
            return
        self.pairs += torch.stack([truth, guess], 1).tolist()[: max(0, 2000 - len(self.pairs))]

        def tell(i: int) -> dict[str, Any]:
            return {"true": f"{float(truth[i]):.4g}", "predicted": f"{float(guess[i]):.4g}"}

        self.worst.offer(error.abs(), rows, tell)

    def values(self) -> dict[str, float]:
        n, absolute, squared, total, total_squared = self.sums.tolist()
        n = max(n, 1.0)
        spread = total_squared - total * total / n
        return {
            "mae": absolute / n,
            "rmse": (squared / n) ** 0.5,
            "r2": 1 - squared / spread if spread > 0 else 0.0,
        }

    def detail(self) -> dict[str, Any]:
        return {"kind": "regression", "pairs": self.pairs, "worst": self.worst.listed()}


class Own:
    """A user's metric: a function (output, target) to a number, averaged over samples; or an object with
    `update`, `compute` and `reset`, as torchmetrics has them."""

    def __init__(self, metric: Any):
        self.metric = metric
        self.name = getattr(metric, "__name__", type(metric).__name__).lower()
        self.streams = hasattr(metric, "update") and hasattr(metric, "compute")
        if not self.streams and not callable(metric):
            raise UsageError(
                f"{shown(metric)} is not a metric", expected="a function, or an object with update and compute"
            )
        if self.streams and hasattr(metric, "reset"):
            metric.reset()
        self.total, self.count = 0.0, 0

    def update(self, output: Tensor, target: Tensor, rows: Tensor) -> None:
        if self.streams:
            if isinstance(self.metric, torch.nn.Module):
                self.metric.to(output.device)
            self.metric.update(output, target)
        else:
            self.total += float(self.metric(output, target)) * len(rows)
            self.count += len(rows)

    def values(self) -> dict[str, float]:
        return {self.name: float(self.metric.compute()) if self.streams else self.total / max(self.count, 1)}

    def detail(self) -> dict[str, Any]:
        return {}


def for_field(field: Field | None, detail: bool) -> list[Metric]:
    """The metrics that suit a target."""
    if isinstance(field, Category):
        return [Classification(field, detail)]
    if isinstance(field, Tags):
        return [Tagging(field, detail)]
    if isinstance(field, MultiLabel):
        return [MultiLabelClassification(field, detail)]
    if isinstance(field, Number):
        return [Regression(field, detail)]
    if isinstance(field, Forecast):
        return [Forecasting(field, detail)]
    return []


MONITORS = {"category": ("accuracy", True), "multilabel": ("f1", True), "number": ("rmse", False),
            "tags": ("accuracy", True), "forecast": ("mase", False)}  # fmt: skip
