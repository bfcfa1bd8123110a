"""A class for each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.core.registry import Asked, name_and_options
from flambeau.core.shapes import Float, Int64
from flambeau.fields import Field, Mask
from flambeau.fields.mask import IGNORED, UNKNOWN, ClassMap
from flambeau.models.spec import OutputSpec
from flambeau.objectives.dense import regions  # noqa: F401  enters the losses of masks
from flambeau.objectives.dense.overlap import Boundaries, Overlap
from flambeau.objectives.losses import Loss
from flambeau.objectives.metrics import Metric
from flambeau.objectives.prediction import Prediction
from flambeau.objectives.tasks.base import TASKS, Task, Tiles

AT_ONCE = 1 << 24  # numbers: a large picture is answered in strips, however many classes there are
OF_PIXELS = {"cross_entropy": "pixel_cross_entropy", "focal": "pixel_focal"}
"""Losses of classes, and those that are meant by them here."""


@TASKS.register("mask")
class Segmentation(Task):
    """Cross-entropy over logits (B, K, H, W), or a loss of regions; targets are class numbers (B, H, W)."""

    field: Mask
    answers = "probabilities"
    default_loss = "dice_cross_entropy"
    metric_names = ("mean_iou", "dice", "pixel_accuracy")
    rivals = "masks"
    greatest_error = 1.0
    unmixable = "each pixel has a class of its own, and two pictures differ in theirs"

    @property
    def has_rivals(self) -> bool:
        return len(self.field.classes) > 1

    @property
    def output_spec(self) -> OutputSpec:
        return OutputSpec(self.field.num_outputs, "dense", model="unet")

    def criterion(self, loss: Asked) -> Loss:
        name, options = name_and_options(self.default_loss if loss == "auto" else loss)
        if options.get("weights") == "balanced":
            options = {**options, "weights": balanced(self.field.counts)}
        return super().criterion({"name": OF_PIXELS.get(name, name), **options})

    def activate(self, output: Float[Tensor, "B K H W"]) -> Float[Tensor, "B K H W"]:
        return output.softmax(1)

    def deactivate(self, answers: Float[Tensor, "B K H W"]) -> Float[Tensor, "B K H W"]:
        return answers.clamp_min(torch.finfo(answers.dtype).tiny).log()

    def imitated(
        self, output: Float[Tensor, "B K H W"], teacher: Float[Tensor, "B K H W"], temperature: float
    ) -> Float[Tensor, " B"]:
        ours, theirs = ((logits.float() / temperature).log_softmax(1) for logits in (output, teacher))
        return (theirs.exp() * (theirs - ours)).sum(1).flatten(1).mean(1) * temperature**2

    def metrics(self, detail: bool, asked: str = "auto") -> list[Metric]:
        return [Overlap(self.field.classes, detail)]

    def further(self, asked: str = "auto") -> list[Metric]:
        return [Boundaries(self.field.classes)]

    def row_errors(self, answers: Float[Tensor, "B K H W"], target: Int64[Tensor, "B H W"]) -> Float[Tensor, " B"]:
        """The share of a picture's known pixels that are wrong."""
        known = target != IGNORED
        wrong = ((answers.argmax(1) != target) & known).flatten(1).sum(1)
        return wrong.double() / known.flatten(1).sum(1).clamp_min(1)

    def tiles(self, inputs: Sequence[Field]) -> Tiles | None:
        if len(inputs) != 1 or not inputs[0].keeps_size:
            return None
        height, width = inputs[0].input_shape[1:]
        return Tiles((height, width), fills=True)

    def decode(
        self, output: np.ndarray, reject_below: float = 0.0, asked: Field | None = None, value: Any = None
    ) -> Prediction:
        scores = torch.from_numpy(output)
        if asked is None or not asked.leads or value is None:
            return Prediction(scores.argmax(0).byte().numpy().view(ClassMap), field=self.field)
        placement = asked.placement([value])
        height, width = (int(side) for side in placement.sides[0].tolist())
        whole = asked.keeps_size and scores.shape[1] >= height and scores.shape[2] >= width
        outside = "zeros" if asked.keeps_size else "border"
        step = max(1, AT_ONCE // (len(scores) * width))
        strips = list[Tensor]()
        for lines in ((top, min(top + step, height)) for top in range(0, height, step)):
            strip = scores[:, slice(*lines), :width] if whole else placement.raw_grid(
                scores, mode="bilinear", outside=outside, lines=lines)  # fmt: skip
            strips.append(strip.argmax(0).byte().masked_fill_(strip.sum(0) == 0, UNKNOWN))  # which it did not see
        return Prediction(torch.cat(strips).numpy().view(ClassMap), field=self.field)


def balanced(counts: list[int]) -> list[float]:
    """Weights of classes by how many pixels each has: the square root of 1 / its share, with the mean weight of a pixel
    1; 1 for a class without any.

    >>> [round(weight, 3) for weight in balanced([900, 100])]
    [0.833, 2.5]
    """
    total = max(1, sum(counts))
    raw = [(total / count) ** 0.5 if count else 1.0 for count in counts]
    mean = sum(count * weight for count, weight in zip(counts, raw, strict=True)) / total or 1.0
    return [weight / mean for weight in raw]
