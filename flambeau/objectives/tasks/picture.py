"""A picture, of the input's size or a multiple of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.core.registry import Asked
from flambeau.fields import Field, Picture
from flambeau.models.spec import OutputSpec
from flambeau.objectives import losses, restoration
from flambeau.objectives.losses import Loss
from flambeau.objectives.metrics import Metric
from flambeau.objectives.prediction import Prediction
from flambeau.objectives.tasks.base import TASKS, FromErrors, Task, Tiles

SIDE = 256  # pixels of a tile of the input
LINES = 256  # of an answer that are made at one time: a large one takes little more than its own pixels


@dataclass(frozen=True)
class InUnits:
    """A loss between pictures in 0 for black and 1 for white, called with normalised ones."""

    loss: Loss
    field: Picture
    answers = "pictures"

    def __call__(self, output: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
        mean, std = self.field.mean or (), self.field.std or ()
        pair = (restoration.in_units(planes, mean, std) for planes in (output, target))
        return self.loss(*pair, reduction=reduction)


@TASKS.register("picture")
class ToPicture(Task):
    """The mean absolute error of pictures (B, C, H, W)."""

    field: Picture
    default_loss, metric_names = "l1", ("psnr", "ssim")
    numbers = True
    blends = True
    rivals = "pictures"

    @property
    def output_spec(self) -> OutputSpec:
        return OutputSpec(self.field.channels, "dense", Fraction(1, self.field.scale), "edsr")

    def criterion(self, loss: Asked) -> Loss:
        return InUnits(losses.named(self.default_loss if loss == "auto" else loss), self.field)

    def blended(self, target: Tensor) -> Tensor:
        return target

    def imitated(self, output: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        return (output.float() - teacher.float()).abs().flatten(1).mean(1)

    def activate(self, output: Tensor) -> Tensor:
        return output.float()

    def deactivate(self, answers: Tensor) -> Tensor:
        return answers

    def metrics(self, detail: bool, asked: str = "auto") -> list[Metric]:
        return [restoration.Quality(self.field, detail)]

    def row_errors(self, answers: Tensor, target: Tensor) -> Tensor:
        pair = [restoration.seen(self.field, planes) for planes in (answers, target)]
        return (pair[0] - pair[1]).abs().flatten(1).mean(1)

    @property
    def of_errors(self) -> Mapping[str, FromErrors]:
        return {}

    def tiles(self, inputs: Sequence[Field]) -> Tiles | None:
        return Tiles((SIDE, SIDE)) if len(inputs) == 1 and inputs[0].keeps_size else None

    def decode(
        self, output: np.ndarray, reject_below: float = 0.0, asked: Field | None = None, value: Any = None
    ) -> Prediction:
        picture = torch.from_numpy(output)
        if asked is not None and asked.keeps_size and value is not None:
            height, width = (int(side) * self.field.scale for side in asked.frame(value)[:2])
            picture = picture[:, :height, :width]  # without what was filled
        elif asked is not None and asked.leads and value is not None:
            placement = asked.placement([value]).enlarged(self.field.scale)
            height, width = (int(side) for side in placement.sides[0].tolist())
            strips = (placement.raw_grid(picture, mode="bilinear", lines=(top, min(top + LINES, height)))
                      for top in range(0, height, LINES))  # fmt: skip
            return Prediction(np.concatenate([self.field.grid(strip) for strip in strips]), field=self.field)
        return Prediction(self.field.grid(picture), field=self.field)
