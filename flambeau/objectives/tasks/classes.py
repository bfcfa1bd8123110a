"""One class out of K."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from flambeau.core.errors import UsageError, nearest
from flambeau.core.shapes import Float, Int64
from flambeau.fields import Category, Field
from flambeau.objectives.certainty import temperature, temperature_scaled
from flambeau.objectives.classification import Classification
from flambeau.objectives.doubts import Doubt, wrong_classes
from flambeau.objectives.metrics import Metric
from flambeau.objectives.names import BALANCED, SYNONYMS
from flambeau.objectives.prediction import UNKNOWN, Prediction
from flambeau.objectives.probabilities import Probabilities
from flambeau.objectives.ranking import Curve
from flambeau.objectives.tasks.base import TASKS, FromErrors, Task, complement
from flambeau_onnx.deciding import logit_of_two

LOGITS = 10_000  # of a batch, that certainty is measured on: of very many classes, few samples do
SLIGHTLY = 0.05  # a change of temperature that is not worth a line


@TASKS.register("classes")
class Classes(Task):
    """Cross-entropy over logits (B, K); targets are class numbers (B)."""

    field: Category
    answers = "probabilities"
    metric_names = ("accuracy", "f1", *BALANCED)
    rivals = "classical"
    blends = True

    def blended(self, target: Int64[Tensor, " B"] | Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        return target if target.is_floating_point() else F.one_hot(target, len(self.field.classes)).float()

    counted = blended

    @property
    def class_counts(self) -> Sequence[int] | None:
        return self.field.counts or None

    def activate(self, output: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        return temperature_scaled(output, self.temperature)

    def imitated(
        self, output: Float[Tensor, "B K"], teacher: Float[Tensor, "B K"], temperature: float
    ) -> Float[Tensor, " B"]:
        ours, theirs = ((logits.float() / temperature).log_softmax(1) for logits in (output, teacher))
        # by T², so that its gradients are as large as those of the labels (Hinton et al. 2015)
        return F.kl_div(ours, theirs, reduction="none", log_target=True).sum(1) * temperature**2

    def deactivate(self, answers: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        return answers.clamp_min(torch.finfo(answers.dtype).tiny).log() * self.temperature

    @property
    def temperature(self) -> float:
        """What logits are divided by."""
        return float(self.calibration.get("temperature", 1.0))

    def calibrate(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> str | None:
        """Makes a classifier as sure as it is often right."""
        if len(self.field.classes) < 2:
            return None
        kept: list[tuple[Tensor, Tensor]] = []
        for output, target in pairs:
            if output.shape[1:] != (len(self.field.classes),):
                return None
            every = -(-output.numel() // LOGITS)
            kept.append((output[::every].float().cpu(), target[::every].cpu()))
        outputs, targets = (torch.cat(parts) for parts in zip(*kept, strict=True))
        self.calibration = {"temperature": (by := temperature(outputs, targets))}
        if abs(by - 1) < SLIGHTLY:
            return None
        return f"certainty: logits / {by:.2f}, so that it is as sure as it is right on validation"

    def decode(
        self, output: np.ndarray, reject_below: float = 0.0, asked: Field | None = None, value: Any = None
    ) -> Prediction:
        found, names = likeliest(self.field, output), self.field.classes
        below = max(reject_below, self.decision.get("reject_below", 0.0))
        rejected = found.confidence is not None and found.confidence < below
        for positive, threshold in self.decision.get("thresholds", {}).items():
            which = names.index(positive)
            which = which if logit_of_two(output, which) >= threshold else 1 - which
            found.label, found.confidence = names[which], float(output[which])
        if rejected:
            found.label = UNKNOWN
        return found

    def decided_by(self, curves: Mapping[str, Curve], positive: str | None = None) -> dict[str, Curve]:
        names = [*self.field.classes]
        if len(names) != 2:
            return super().decided_by(curves, positive)
        if positive is not None and positive not in names:
            raise UsageError(f"there is no class '{positive}'", fix=nearest(positive, names))
        return {name: curves[name] if name in curves else curves[names[1 - names.index(name)]].flipped()
                for name in [positive or names[self.field.rarest]] if curves}  # fmt: skip

    def output_of(self, predicted: Any) -> int | None:
        return self.field.index[predicted]

    def doubts(self, given: Sequence[Any], predicted: Sequence[Any], outputs: Sequence[Any]) -> list[Doubt]:
        index = {name: number for number, name in enumerate(self.field.classes)}
        numbers = np.asarray([index.get(self.field.names(value)[0], -1) for value in given], np.int64)
        found = wrong_classes(numbers, np.asarray(outputs))
        return [doubt._replace(suggested=self.field.classes[doubt.suggested]) for doubt in found]

    def metrics(self, detail: bool, asked: str = "auto") -> list[Metric]:
        balanced = self.field.rare or SYNONYMS.get(asked, asked) in BALANCED
        field = self.field
        return [Classification(field.classes, detail, balanced, field.rarest, self.temperature)]

    def row_errors(self, answers: Float[Tensor, "B K"], target: Int64[Tensor, " B"]) -> Tensor:
        return (answers.argmax(1) != target).double()

    @property
    def of_errors(self) -> Mapping[str, FromErrors]:
        return {"accuracy": FromErrors(1, complement)}

    def further(self, asked: str = "auto") -> list[Metric]:
        return [Probabilities(self.field.classes, self.field.rarest)] if len(self.field.classes) > 1 else []

    @property
    def known(self) -> tuple[str, ...]:
        names = super().known
        if self.field.classes and len(self.field.classes) != 2:
            names = tuple(name for name in names if name not in ("roc_auc", "average_precision"))
        return names

    @property
    def usual(self) -> str:
        if not self.field.rare:
            return super().usual
        return "roc_auc" if "roc_auc" in self.known else "f1"

    @property
    def why(self) -> str:
        if not self.field.rare:
            return super().why
        smallest = min(count for count in self.field.counts if count)
        return f"a class has {smallest:,} of {sum(self.field.counts):,} training rows, of which accuracy says little"

    @property
    def has_rivals(self) -> bool:
        return len(self.field.classes) > 1

    def constant(self, target: np.ndarray) -> tuple[str, np.ndarray]:
        counts = np.bincount(target, minlength=len(self.field.classes))
        return "most frequent class", (counts / counts.sum()).astype(np.float32)


def likeliest(field: Any, output: np.ndarray) -> Prediction:
    """A prediction with the probability of each of a field's classes, the likeliest first."""
    order = np.argsort(-output, kind="stable")
    probabilities = {field.classes[i]: float(output[i]) for i in order}
    return Prediction(field.decode(output), float(output[order[0]]), probabilities)
