"""Any number of K labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.core.registry import Asked, name_and_options
from flambeau.core.shapes import Float, Shaped
from flambeau.fields import Field, MultiLabel
from flambeau.objectives.doubts import Doubt, wrong_classes
from flambeau.objectives.losses import Loss, expects_classes
from flambeau.objectives.metrics import Metric, MultiLabelClassification
from flambeau.objectives.prediction import Prediction
from flambeau.objectives.probabilities import LabelProbabilities
from flambeau.objectives.ranking import Curve
from flambeau.objectives.tasks.base import TASKS, FromErrors, Task, complement
from flambeau.objectives.tasks.classes import likeliest
from flambeau_onnx.deciding import logits


@TASKS.register("labels")
class Labels(Task):
    """Binary cross-entropy over logits (B, K); targets are 0 or 1 (B, K)."""

    field: MultiLabel
    answers = "probabilities"
    default_loss = "bce"
    metric_names = ("f1", "micro_f1", "exact_match", "average_precision", "micro_average_precision")
    rivals = "classical"
    blends = True

    def criterion(self, loss: Asked) -> Loss:
        named = super().criterion(loss)
        if expects_classes(named):
            raise UsageError(
                f"the loss {name_and_options(loss)[0]} is for one class of several; a sample has any number of labels",
                fix="use asymmetric or bce",
            )
        return named

    def blended(self, target: Shaped[Tensor, "B K"]) -> Shaped[Tensor, "B K"]:
        return target

    def counted(self, target: Shaped[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        return target.float()

    def activate(self, output: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        return output.float().sigmoid()

    def imitated(
        self, output: Float[Tensor, "B K"], teacher: Float[Tensor, "B K"], temperature: float
    ) -> Float[Tensor, " B"]:
        ours, theirs = output.float() / temperature, (teacher.float() / temperature).sigmoid()
        return F.binary_cross_entropy_with_logits(ours, theirs, reduction="none").mean(1) * temperature**2

    def deactivate(self, answers: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        least = torch.finfo(answers.dtype).eps
        return answers.clamp(least, 1 - least).logit()

    def decode(
        self, output: np.ndarray, reject_below: float = 0.0, asked: Field | None = None, value: Any = None
    ) -> Prediction:
        found = likeliest(self.field, output)
        if thresholds := self.decision.get("thresholds"):
            scores, names = logits(output).tolist(), self.field.classes
            plain = float(logits(np.asarray(self.field.threshold)))
            found.label = [n for n, score in zip(names, scores, strict=True) if score >= thresholds.get(n, plain)]
        return found

    def decided_by(self, curves: Mapping[str, Curve], positive: str | None = None) -> dict[str, Curve]:
        return super().decided_by(curves, positive) | {**curves}

    def doubts(self, given: Sequence[Any], predicted: Sequence[Any], outputs: Sequence[Any]) -> list[Doubt]:
        """Each label is a question of its own: there or not."""
        names = [self.field.names(value) for value in given]
        mended: dict[int, tuple[list[str], float]] = {}
        for number, name in enumerate(self.field.classes):
            there = np.asarray([name in own for own in names], np.int64)
            p = np.asarray(outputs)[:, number]
            for doubt in wrong_classes(there, np.stack([1 - p, p], 1)):
                own, sure = mended.get(doubt.at, (names[doubt.at], 0.0))
                own = [*own, name] if doubt.suggested else [one for one in own if one != name]
                mended[doubt.at] = own, max(sure, doubt.confidence)
        texts = {at: self.field.joined(own) for at, (own, _) in mended.items() if isinstance(given[at], str)}
        doubts = [Doubt(at, texts.get(at, own), sure) for at, (own, sure) in mended.items()]
        return sorted(doubts, key=lambda doubt: -doubt.confidence)

    def metrics(self, detail: bool, asked: str = "auto") -> list[Metric]:
        return [MultiLabelClassification(self.field, detail)]

    def row_errors(self, answers: Float[Tensor, "B K"], target: Shaped[Tensor, "B K"]) -> Tensor:
        return ((answers >= self.field.threshold) != (target > 0.5)).any(1).double()

    @property
    def of_errors(self) -> Mapping[str, FromErrors]:
        return {"exact_match": FromErrors(1, complement)}

    def further(self, asked: str = "auto") -> list[Metric]:
        return [LabelProbabilities(self.field.classes)] if self.field.classes else []

    @property
    def has_rivals(self) -> bool:
        return bool(self.field.classes)

    def constant(self, target: np.ndarray) -> tuple[str, np.ndarray]:
        return "how frequent each label is", target.mean(0).astype(np.float32)
