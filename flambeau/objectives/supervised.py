"""Supervised: one model, one loss between its output and the target."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.data.batch import Batch
from flambeau.fields import Category, Field, Forecast, MultiLabel, Tags, Windows
from flambeau.models import Built, Ensemble, FromData
from flambeau.objectives.base import OBJECTIVES, Objective
from flambeau.objectives.certainty import sharpened, temperature
from flambeau.objectives.forecasting import Pinball, in_order, spreads
from flambeau.objectives.losses import FOR_KIND, expects_classes, named
from flambeau.objectives.measured import Measured, call
from flambeau.objectives.metrics import Grouped, Own, for_field
from flambeau.objectives.names import measure_of
from flambeau.objectives.tagging import answered, seen, tag_probabilities

WINDOWS_AT_ONCE = 256  # a long clip has more windows than fit into memory
LOGITS = 10_000  # of a batch, that certainty is measured on: of very many classes, few samples do
SLIGHTLY = 0.05  # a change of temperature that is not worth a line


def over_windows(model: nn.Module, windows: Windows) -> Tensor:
    """The mean over each sample's windows of the model's output, (B, …)."""
    values, counts = windows
    outputs = torch.cat([model(part) for part in values.split(WINDOWS_AT_ONCE)])
    owner = torch.repeat_interleave(torch.arange(len(counts), device=values.device), counts)
    sums = outputs.new_zeros(len(counts), *outputs.shape[1:]).index_add_(0, owner, outputs)
    return sums / counts.view(-1, *(1,) * (sums.ndim - 1)).to(sums.dtype)


@OBJECTIVES.register("supervised")
class Supervised(Objective):
    """Minimises a loss between model output and target.

    Args:
        model: any module, or what `models.build` gives; called with `batch.input` it gives logits (B, K) for classes,
            numbers for numbers.
        target: the target's field; None for a user's own data, whose outputs are then left as they are.
        loss: a name of `losses.LOSSES`, `auto`, or any callable (output, target) to a scalar.
        metrics: a user's own, beside those that suit the target.
        metric: the measure of the model, which the best epoch is chosen by; `auto` to follow from the target.
    """

    def __init__(
        self,
        model: nn.Module | Built,
        target: Field | None = None,
        loss: str | Callable[..., Tensor] = "auto",
        metrics: Sequence[Any] = (),
        metric: str = "auto",
    ):
        built = model if isinstance(model, Built) else Built(model)
        self.model, self.target = built.model, target
        kind = target.kind if target else ""
        if loss == "auto":
            loss = FOR_KIND.get(kind, "cross_entropy")
        self.loss_name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
        self.loss_function: Callable[..., Tensor] = loss if callable(loss) else _loss_for(loss, target)
        self.own_metrics = list(metrics)
        self.measured: Measured | None = None
        self.metric = metric
        if target is not None:
            self.measure_by(metric)
        self._head, self._rates = built.head_parameters(), built.rates
        self.start_evaluation()

    def measure_as(self, measured: Measured) -> None:
        """Measures a target without a field as one that has this; what is predicted stays as it is."""
        self.measured = measured
        self.measure_by(self.metric)
        self.start_evaluation()

    def measure_by(self, metric: str) -> None:
        """Another measure of the model, which the best epoch is chosen by.

        Raises:
            UsageError: there is no such metric for this target.
        """
        self.metric = metric
        field = self.measured.field if self.measured else self.target
        self.monitor, self.higher_is_better = measure_of(field, metric)

    def forward(self, batch: Batch) -> Tensor:
        """Raw model output. A tuple of inputs is spread over the model's arguments; outputs of windows are averaged."""
        if isinstance(batch.input, Windows):
            return over_windows(self.model, batch.input)
        return call(self.model, batch.input)

    def loss(self, batch: Batch, phase: str = "train") -> Tensor:
        output, target = self.forward(batch), self._learned(batch)
        members = self.model.ensemble_size if self.model.training and isinstance(self.model, Ensemble) else 1
        return self.loss_function(output, target if members == 1 else target.repeat_interleave(members, 0))

    def weight(self, batch: Batch) -> float:
        if isinstance(self.target, Forecast):
            return float((~batch.target.isnan()).sum())
        return int((self._learned(batch) >= 0).sum()) if isinstance(self.target, Tags) else len(batch)

    def _learned(self, batch: Batch) -> Any:
        """The batch's target, without the tags of words that the model does not see."""
        return seen(batch.target, batch.input) if isinstance(self.target, Tags) else batch.target

    def head_parameters(self) -> list[nn.Parameter]:
        return self._head

    @property
    def class_numbers(self) -> bool:
        """Whether targets are class numbers 0…K-1."""
        return expects_classes(self.loss_function)

    @property
    def smooths(self) -> bool:
        """Whether the loss takes label smoothing."""
        try:
            return "label_smoothing" in inspect.signature(self.loss_function).parameters
        except (TypeError, ValueError):
            return False

    def activate(self, output: Tensor) -> Tensor:
        """Output after its activation: softmax for classes and tags, sigmoid for several labels, else as it is."""
        kind = self.target.kind if self.target else ""
        if kind == "tags":
            return tag_probabilities(output)
        if isinstance(self.target, Forecast):
            return in_order(output, self.target)
        if isinstance(self.target, Category):
            return sharpened(output, self.target.temperature)
        if kind == "multilabel":
            return output.float().sigmoid()
        return output.float() if kind else output

    def start_evaluation(self, detail: bool = False) -> None:
        self._metrics = for_field(self.measured.field if self.measured else self.target, detail, self.metric)
        self._own = [Own(metric) for metric in self.own_metrics]
        self._loss: Tensor | float = 0.0
        self._count = 0.0

    def evaluate(self, batch: Batch) -> None:
        output = self.forward(batch)
        if batch.target is None:
            return
        # float32, so that a validation in bf16 measures the model and not the rounding of its loss
        output = output.float() if isinstance(output, Tensor) else output
        loss = self.loss_function(output, self._learned(batch)).detach()
        exact = loss if loss.device.type == "mps" else loss.double()  # mps has no float64
        weight = self.weight(batch)
        self._loss = self._loss + exact * weight
        self._count += weight
        activated = self._answer(batch, output)
        for own in self._own:
            own.update(activated, batch.target, batch.rows)
        known = (activated, batch.target, batch.rows)
        known = self.measured(output, batch.target, batch.rows) if self.measured else known
        for metric in self._metrics:
            metric.update(*known)

    def metrics(self) -> dict[str, float]:
        values = {"loss": float(self._loss) / max(self._count, 1)}
        for metric in (*self._metrics, *self._own):
            values |= metric.values()
        return values

    def detail(self) -> dict[str, Any]:
        detail: dict[str, Any] = {}
        for metric in (*self._metrics, *self._own):
            detail |= metric.detail()
        return detail

    def intervals(self) -> dict[str, Any]:
        grouped = [metric for metric in self._metrics if isinstance(metric, Grouped)]
        return {name: list(found) for metric in grouped for name, found in metric.intervals().items()}

    def without_groups(self) -> dict[str, np.ndarray]:
        grouped = [metric for metric in self._metrics if isinstance(metric, Grouped)]
        return {name: found for metric in grouped for name, found in metric.without_groups().items()}

    def learning_rates(self) -> Mapping[nn.Parameter, float]:
        return self._rates

    def initialise_from_data(self, batches: Iterable[Batch]) -> None:
        if isinstance(self.model, FromData):
            self.model.initialise_from_data((batch.input, self._answers(batch.target)) for batch in batches)

    def _answers(self, target: Tensor) -> Tensor:
        if isinstance(self.target, Category):
            return nn.functional.one_hot(target, len(self.target.classes)).float()
        return target.float() if isinstance(self.target, MultiLabel) else target.new_ones(len(target), 1).float()

    def calibrate(self, batches: Iterable[Batch]) -> str | None:
        """Moves the quantiles of forecasts to where they hold what they say; makes a classifier as sure as it is often
        right."""
        field = self.target
        if isinstance(field, Forecast) and len(field.quantiles) > 1:
            return self._widen(field, batches)
        return self._temper(field, batches) if isinstance(field, Category) and len(field.classes) > 1 else None

    def _widen(self, field: Forecast, batches: Iterable[Batch]) -> str | None:
        field.spread = [1.0] * len(field.quantiles)
        pairs = [(self.predict(batch).cpu().numpy(), batch.target.cpu().numpy()) for batch in batches]
        output, target = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
        field.spread = spreads(output, target, field.quantiles, field.middle)
        moved = [f"{q:g} ×{s:.2f}" for q, s in zip(field.quantiles, field.spread, strict=True) if s != 1.0]
        said = "quantiles' distance from the middle one, so that they hold what they say on validation"
        return f"{said}: {', '.join(moved)}" if moved else None

    def _temper(self, field: Category, batches: Iterable[Batch]) -> str | None:
        pairs: list[tuple[Tensor, Tensor]] = []
        for batch in batches:
            output = self.forward(batch)
            if output.shape[1:] != (len(field.classes),):
                return None
            every = -(-output.numel() // LOGITS)
            pairs.append((output[::every].float().cpu(), batch.target[::every].cpu()))
        output, target = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        field.temperature = temperature(output, target)
        if abs(field.temperature - 1) < SLIGHTLY:
            return None
        return f"certainty: logits / {field.temperature:.2f}, so that it is as sure as it is right on validation"

    def _answer(self, batch: Batch, output: Tensor) -> Tensor:
        activated = self.activate(output)
        return answered(activated, batch.input) if isinstance(self.target, Tags) else activated

    def predict(self, batch: Batch) -> Tensor:
        with torch.inference_mode():
            return self._answer(batch, self.forward(batch))

    def describe(self) -> str:
        kind = f" for a target of the kind {self.target.kind}" if self.target else ""
        return f"{self.loss_name.replace('_', ' ')}{kind}"


def _loss_for(name: str, target: Field | None) -> Callable[..., Tensor]:
    if isinstance(target, Forecast):
        if name == "pinball":
            return Pinball(target.quantiles)
        if len(target.quantiles) > 1:
            raise UsageError(f"the loss {name} is for one number a step, not {len(target.quantiles)} quantiles",
                             fix="set the forecast's quantiles=[0.5]")  # fmt: skip
        loss = named(name)

        def of_known(output: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
            output = output.reshape(target.shape)  # a step without a target is taken to be forecast right
            return loss(output, torch.where(target.isnan(), output.detach(), target), reduction=reduction)

        return of_known
    return named(name)
