"""A number, or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.core.shapes import Float
from flambeau.fields import Field, Number
from flambeau.objectives.doubts import Doubt, wrong_numbers
from flambeau.objectives.metrics import Metric, Regression
from flambeau.objectives.prediction import Prediction
from flambeau.objectives.ranges import ByRange
from flambeau.objectives.tasks.base import TASKS, FromErrors, Task


@TASKS.register("number")
class Numbers(Task):
    """Squared error of numbers (B, …) in the field's own scale."""

    field: Number
    answers = "numbers"
    default_loss = "mse"
    metric_names = ("rmse", "mae", "r2")
    rivals = "classical"
    numbers = True
    blends = True

    def blended(self, target: Float[Tensor, " B *shape"]) -> Float[Tensor, " B *shape"]:
        return target

    def activate(self, output: Float[Tensor, " B *shape"]) -> Float[Tensor, " B *shape"]:
        return output.float()

    def imitated(
        self, output: Float[Tensor, " B *shape"], teacher: Float[Tensor, " B *shape"], temperature: float
    ) -> Float[Tensor, " B"]:
        return (output.float() - teacher.float()).square().reshape(len(output), -1).mean(1)

    def deactivate(self, answers: Float[Tensor, " B *shape"]) -> Float[Tensor, " B *shape"]:
        return answers

    def decode(
        self, output: np.ndarray, reject_below: float = 0.0, asked: Field | None = None, value: Any = None
    ) -> Prediction:
        return Prediction(self.field.decode(output))

    def output_of(self, predicted: Any) -> int | None:
        return 0

    def doubts(self, given: Sequence[Any], predicted: Sequence[Any], outputs: Sequence[Any]) -> list[Doubt]:
        if self.field.shape:
            return []
        return wrong_numbers(np.asarray(given, np.float64), np.asarray(predicted, np.float64))

    def metrics(self, detail: bool, asked: str = "auto") -> list[Metric]:
        return [Regression(self.field, detail)]

    def row_errors(self, answers: Float[Tensor, " B *_"], target: Float[Tensor, " B *shape"]) -> Tensor:
        truth, said = (self.field.natural(x.double().reshape(target.shape).numpy()) for x in (target, answers))
        return torch.from_numpy(np.abs(said - truth)).reshape(len(target), -1).mean(1)

    @property
    def of_errors(self) -> Mapping[str, FromErrors]:
        several = {} if self.field.shape else {"rmse": FromErrors(2, np.sqrt)}
        return {"mae": FromErrors(1, np.asarray), **several}

    def further(self, asked: str = "auto") -> list[Metric]:
        return [] if self.field.shape else [ByRange(self.field)]

    @property
    def has_rivals(self) -> bool:
        return not self.field.shape
