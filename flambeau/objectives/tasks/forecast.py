"""The next steps of a series, as quantiles."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.core.findings import Severity
from flambeau.core.registry import Asked, name_and_options
from flambeau.core.shapes import Float
from flambeau.data.batch import Batch
from flambeau.fields import Field, Forecast
from flambeau.objectives import losses
from flambeau.objectives.forecasting import NEIGHBOURS, Forecasting, Pinball, in_order, spreads
from flambeau.objectives.metrics import Metric
from flambeau.objectives.prediction import Prediction
from flambeau.objectives.tasks.base import TASKS, Task


@TASKS.register("forecast")
class Forecasts(Task):
    """The quantile loss of numbers (B, H·Q); targets are (B, H), NaN where a step is missing."""

    field: Forecast
    answers = "quantiles"
    default_loss = "pinball"
    metric_names = ("mase", "smape", "mae", "rmse")
    rivals = "naive"
    unmixable = "what comes next follows from one past, not from two"
    numbers = True

    def criterion(self, loss: Asked) -> losses.Loss:
        loss = self.default_loss if loss == "auto" else loss
        compared, (name, _) = losses.named(loss), name_and_options(loss)
        if name == "pinball":
            return Pinball(self.field.quantiles)
        if len(self.field.quantiles) > 1:
            raise UsageError(f"the loss {name} is for one number a step, not {len(self.field.quantiles)} quantiles",
                             fix="set the forecast's quantiles=[0.5]")  # fmt: skip

        def of_known(output: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
            output = output.reshape(target.shape)  # a step without a target is taken to be forecast right
            return compared(output, torch.where(target.isnan(), output.detach(), target), reduction=reduction)

        return of_known

    @property
    def levels(self) -> Sequence[float]:
        return self.field.quantiles

    def weight(self, batch: Batch) -> float:
        return float((~batch.target.isnan()).sum())

    def activate(self, output: Float[Tensor, "B HQ"]) -> Float[Tensor, "B H Q"]:
        return in_order(output, self.field, self.spread)

    def deactivate(self, answers: Float[Tensor, "B H Q"]) -> Float[Tensor, "B HQ"]:
        return answers.flatten(1)

    @property
    def spread(self) -> list[float]:
        """Factors to the distance of each quantile from the middle one."""
        return self.calibration.get("spread") or [1.0] * len(self.field.quantiles)

    def calibrate(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> str | None:
        """Moves the quantiles to where they hold what they say."""
        field = self.field
        if len(field.quantiles) < 2:
            return None
        self.calibration = {}
        kept = [(self.activate(output).cpu().numpy(), target.cpu().numpy()) for output, target in pairs]
        outputs, targets = (np.concatenate(parts) for parts in zip(*kept, strict=True))
        self.calibration = {"spread": spreads(outputs, targets, field.quantiles, field.middle)}
        moved = [f"{q:g} ×{s:.2f}" for q, s in zip(field.quantiles, self.spread, strict=True) if s != 1.0]
        said = "distance of the quantiles from the middle one, scaled to fit the validation rows"
        return f"{said}: {', '.join(moved)}" if moved else None

    def decode(
        self, output: np.ndarray, reject_below: float = 0.0, asked: Field | None = None, value: Any = None
    ) -> Prediction:
        steps = self.field.decode(output)  # (H, Q)
        quantiles = {f"{q:g}": steps[:, i].tolist() for i, q in enumerate(self.field.quantiles)}
        name, times, findings = (asked and asked.ahead(value)) or (None, None, [])
        for finding in findings:
            if finding.severity is Severity.WARNING:
                warnings.warn(finding.message, stacklevel=5)
        more = quantiles if len(quantiles) > 1 else None
        return Prediction(steps[:, self.field.middle].tolist(), quantiles=more, times=times, series=name)

    @property
    def seasons(self) -> Sequence[int]:
        return self.field.seasons

    def row_errors(self, answers: Float[Tensor, "B H Q"], target: Float[Tensor, "B H"]) -> Tensor:
        truth, said = (torch.from_numpy(self.field.natural(x.numpy())) for x in (target, answers))
        return (said[..., self.field.middle] - truth).abs().nanmean(1).nan_to_num()

    @property
    def neighbours(self) -> int:
        return NEIGHBOURS * self.field.horizon

    def metrics(self, detail: bool, asked: str = "auto") -> list[Metric]:
        return [Forecasting(self.field, detail, self.spread)]
