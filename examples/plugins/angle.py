"""A direction in degrees as a target: 359 is next to 1.

flambeau train wind.csv --target direction --read direction=angle --plugin examples/plugins/angle.py
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from flambeau.core.errors import DataError, shown
from flambeau.fields import FIELDS, Encoding, Field, Recognition
from flambeau.objectives.metrics import METRICS, NamedMetric
from flambeau.objectives.prediction import Prediction
from flambeau.objectives.tasks import TASKS, Task


@FIELDS.register("angle")
class Angle(Field):
    """float32 (2): cosine and sine."""

    kind = task = "angle"
    target_only = True
    num_outputs = 2

    @classmethod
    def recognise(cls, values: Sequence[Any]) -> Recognition:
        return Recognition(0.0, "an angle looks like any number: --read direction=angle")

    def fit(self, values: Sequence[Any]) -> None:
        return

    @property
    def encoding(self) -> Encoding:
        return Encoding(np.dtype(np.float32), (2,))

    def encode(self, value: Any) -> np.ndarray:
        try:
            radians = math.radians(float(value))
            return np.array([math.cos(radians), math.sin(radians)], np.float32)
        except (TypeError, ValueError):
            raise DataError(f"{shown(value)} is no angle", expected="degrees") from None


@METRICS.register("degrees")
class Degrees(NamedMetric):
    """The mean angle between answer and truth."""

    higher_is_better = False
    tasks = ("angle",)

    def terms(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cosine_similarity(output, target, dim=1).clamp(-1, 1).acos().rad2deg()

    def value(self, sums: Tensor, count: Tensor) -> Tensor:
        return sums / count


@TASKS.register("angle")
class ToAngle(Task):
    """The squared error of cosine and sine (B, 2)."""

    field: Angle
    default_loss, metric_names = "mse", ("degrees",)

    def decode(
        self, output: np.ndarray, reject_below: float = 0.0, asked: Field | None = None, value: Any = None
    ) -> Prediction:
        return Prediction(math.degrees(math.atan2(output[1], output[0])) % 360)
