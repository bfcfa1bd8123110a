"""Supervised: one model, one loss between its output and the target."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.core.registry import Asked, name_and_options
from flambeau.data.batch import Batch
from flambeau.fields import Field, Windows
from flambeau.models import Built, Ensemble, FromData, LossAndAnswers, OwnLoss
from flambeau.models.own_loss import own_loss
from flambeau.objectives.base import OBJECTIVES, Context, Objective
from flambeau.objectives.losses import arguments, each_sample, expects_classes
from flambeau.objectives.measured import Measured, call, takes_blends
from flambeau.objectives.metrics import Grouped, Own
from flambeau.objectives.probabilities import Ranked
from flambeau.objectives.programs import Program, Runtimes, arrays_of, tensors
from flambeau.objectives.ranking import Curve
from flambeau.objectives.tasks import Task, task_of

WINDOWS_AT_ONCE = 256  # a long clip has more windows than fit into memory


def over_windows(model: nn.Module, windows: Windows) -> Tensor:
    """The mean over each sample's windows of the model's output, (B, …)."""
    values, counts = windows
    if torch.compiler.is_exporting():  # as many of each sample as of the longest
        outputs = model(values).unflatten(0, (counts.shape[0], -1))
        there = torch.arange(outputs.shape[1], device=values.device) < counts[:, None]
        weights = (there / counts[:, None]).to(outputs.dtype)
        return (outputs * weights.view(*weights.shape, *(1,) * (outputs.ndim - 2))).sum(1)
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
        loss: a name of `losses.LOSSES`, with its options or without, `auto`, or any callable (output, target) to a
            scalar.
        metrics: beside those that suit the target: names of `names.METRICS`, with options or without, and a user's own.
        metric: the measure of the model, which the best epoch is chosen by; `auto` to follow from the target.
    """

    takes = ("model", "loss", "metric", "target")
    loss_function: Callable[..., Tensor]

    def __init__(
        self,
        model: nn.Module | Built,
        target: Field | None = None,
        loss: Asked | Callable[..., Tensor] = "auto",
        metrics: Sequence[Any] = (),
        metric: str = "auto",
    ):
        built = model if isinstance(model, Built) else Built(model)
        self.model, self.target, self.task = built.model, target, task_of(target)
        self._own_loss = self.model if isinstance(self.model, OwnLoss) else None
        if self._own_loss is not None and loss != "auto":
            raise UsageError(f"the model's loss is inside it: that of {self._own_loss.own_loss}", fix="leave loss out")
        loss = self.task.default_loss if loss == "auto" else loss
        self.loss_options: dict[str, Any] = {}
        if self._own_loss is not None:
            self.loss_function, self.loss_name = own_loss, f"the loss of {self._own_loss.own_loss}"
        elif callable(loss):
            self.loss_function, self.loss_name = loss, getattr(loss, "__name__", type(loss).__name__)
        else:
            self.loss_function = self.task.criterion(loss)
            self.loss_name, self.loss_options = name_and_options(loss)
        self.named_metrics = [metric for metric in metrics if isinstance(metric, str | Mapping)]
        self.own_metrics = [metric for metric in metrics if not isinstance(metric, str | Mapping)]
        self.measured: Measured | None = None
        self.metric = metric
        if target is not None:
            self.measure_by(metric)
        # asked once: such a question costs more than many a layer
        self._ensemble = self.model if isinstance(self.model, Ensemble) else None
        self._head, self._rates = built.head_parameters(), built.rates
        self.start_evaluation()

    @classmethod
    def build(cls, context: Context, **options: Any) -> Supervised:
        return cls(context.model(), context.target, context.loss, context.metrics, context.metric, **options)

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
        if self.named_metrics and self._measured_task.field is None:
            found = "it is not known what these targets are, so no metric can be called by name"
            raise UsageError(found, fix="give metrics=[function]")
        self.metric = metric
        self.monitor, self.higher_is_better = self._measured_task.measure(metric)

    @property
    def _measured_task(self) -> Task:
        return task_of(self.measured.field) if self.measured else self.task

    def forward(self, batch: Batch) -> Any:
        """Raw model output. A tuple of inputs is spread over the model's arguments; outputs of windows are averaged."""
        if self._own_loss is not None:
            return self._own_loss(batch.input, None if batch.target is None else self.task.learned(batch))
        if isinstance(batch.input, Windows):
            return over_windows(self.model, batch.input)
        return call(self.model, batch.input)

    def _answers(self, output: Any, batch: Batch) -> Any:
        """Raw output after its activation, as `Task.answer` gives it."""
        return output.answers if isinstance(output, LossAndAnswers) else self.task.answer(output, batch.input)

    def wanted(self, batch: Batch) -> Any:
        """The targets of what `forward` gives: in training once for each member of an ensemble."""
        target = self.task.learned(batch)
        members = self._ensemble.ensemble_size if self._ensemble is not None and self.model.training else 1
        return target if members == 1 else target.repeat_interleave(members, 0)

    def loss(self, batch: Batch, phase: str = "train") -> Tensor:
        criterion = self.training_criterion or self.loss_function
        return criterion(self.forward(batch), self.wanted(batch))

    def criterion(self, output: Any, target: Any, **options: Any) -> Tensor:
        if options.get("reduction") == "none":
            options.pop("reduction")
            return each_sample(self.loss_function, output, target, **options)
        return self.loss_function(output, target, **options)

    @property
    def blends(self) -> bool:
        return self.task.blends and takes_blends(self.loss_function)

    def weight(self, batch: Batch) -> float:
        return self.task.weight(batch) if self._own_loss is None else len(batch)

    def head_parameters(self) -> list[nn.Parameter]:
        return self._head

    def replace_parameters(self, others: Mapping[nn.Parameter, nn.Parameter]) -> None:
        self._head = [others.get(parameter, parameter) for parameter in self._head]
        self._rates = {others.get(parameter, parameter): rate for parameter, rate in self._rates.items()}

    @property
    def class_numbers(self) -> bool:
        """Whether targets are class numbers 0…K-1."""
        return expects_classes(self.loss_function)

    @property
    def smooths(self) -> bool:
        return "label_smoothing" in arguments(self.loss_function)

    def start_evaluation(self, detail: bool = False) -> None:
        self._metrics = self._measured_task.measured_by(detail, self.metric, self.named_metrics)
        self._own = [Own(metric) for metric in self.own_metrics]
        self._further = self._measured_task.further(self.metric) if detail else []
        self._observing = [make() for make in self.observers] if detail else []
        self._loss: Tensor | float = 0.0
        self._count = 0.0

    def evaluate(self, batch: Batch) -> None:
        self.evaluate_output(self.forward(batch), batch)

    def evaluate_output(self, output: Any, batch: Batch) -> None:
        """Measures raw output that is there already."""
        if batch.target is None:
            return
        # float32, so that a validation in bf16 measures the model and not the rounding of its loss
        output = output.float() if isinstance(output, Tensor) else output
        loss = self.loss_function(output, self.task.learned(batch)).detach()
        exact = loss if loss.device.type == "mps" else loss.double()  # mps has no float64
        weight = self.weight(batch)
        self._loss = self._loss + exact * weight
        self._count += weight
        activated = self._answers(output, batch)
        for own in self._own:
            own.update(activated, batch.target, batch.rows)
        known = (activated, batch.target, batch.rows)
        known = self.measured(output, batch.target, batch.rows) if self.measured else known
        for metric in (*self._metrics, *self._further, *self._observing):
            metric.update(*known)

    def metrics(self) -> dict[str, float]:
        values = {"loss": float(self._loss) / max(self._count, 1)}
        for metric in (*self._metrics, *self._own):
            values |= metric.values()
        return values

    def detail(self) -> dict[str, Any]:
        detail: dict[str, Any] = {}
        for metric in (*self._metrics, *self._further, *self._own, *self._observing):
            detail |= metric.detail()
        self._observing = []  # which hold rows and the model's last layer: nothing that a kept model needs
        return detail

    def further(self) -> dict[str, Any]:
        before = {name for metric in self._metrics for name in metric.values()}
        grouped = [metric for metric in self._further if isinstance(metric, Grouped)]
        values = {n: v for metric in grouped for n, v in metric.values().items() if n not in before}
        intervals = {n: list(v) for metric in grouped for n, v in metric.intervals().items() if n not in before}
        return {"metrics": values, "intervals": intervals} if values else {}

    def curves(self) -> dict[str, Curve]:
        return {name: curve for metric in self._ranked for name, curve in metric.curves().items()}

    def confidence(self) -> Curve | None:
        return next((metric.confidence() for metric in self._ranked), None)

    @property
    def _ranked(self) -> list[Ranked]:
        return [metric for metric in self._further if isinstance(metric, Ranked)]

    def intervals(self) -> dict[str, Any]:
        known = {name for metric in self._metrics for name in metric.values()}
        grouped = [metric for metric in (*self._further, *self._metrics) if isinstance(metric, Grouped)]
        found = {name: list(both) for metric in grouped for name, both in metric.intervals().items()}
        return {name: both for name, both in found.items() if name in known}

    def without_groups(self) -> dict[str, np.ndarray]:
        grouped = [metric for metric in self._metrics if isinstance(metric, Grouped)]
        return {name: found for metric in grouped for name, found in metric.without_groups().items()}

    def learning_rates(self) -> Mapping[nn.Parameter, float]:
        return self._rates

    def initialise_from_data(self, batches: Iterable[Batch]) -> None:
        if isinstance(self.model, FromData):
            self.model.initialise_from_data((batch.input, self.task.counted(batch.target)) for batch in batches)

    def example(self, batch: Batch) -> tuple[Any, Tensor]:
        target = self.task.learned(batch)
        if isinstance(batch.input, Windows):  # each is a sample
            return batch.input.values, target.repeat_interleave(batch.input.counts, 0)
        return batch.input, target

    def calibrate(self, batches: Iterable[Batch]) -> str | None:
        if self._own_loss is not None:
            return None  # there is no raw output that a temperature could soften
        return self.task.calibrate((self.forward(batch).detach(), batch.target) for batch in batches)

    def predict(self, batch: Batch) -> Tensor:
        with torch.inference_mode():
            return self._answers(self.forward(batch), batch)

    def programs(self) -> dict[str, Program]:
        after = {} if self._own_loss is not None else self.task.programs(self._exported)
        return {"predict": Program(self._exported), **after}

    def _exported(self, batch: Batch) -> dict[str, Tensor]:
        output = self.forward(batch)
        if isinstance(output, LossAndAnswers):
            assert output.answers is not None
            return {self.task.answers: output.answers}
        return self.task.exported(output, batch.input)

    @classmethod
    def of_programs(cls, context: Context, runtimes: Runtimes) -> Objective:
        return Answered(runtimes, context)

    def describe(self) -> str:
        kind = f" for a target of the kind {self.target.kind}" if self.target else ""
        options = ", ".join(f"{name} {value}" for name, value in self.loss_options.items())
        return f"{self.loss_name.replace('_', ' ')}{f' ({options})' if options else ''}{kind}"


class Answered(Supervised):
    """Measures and predicts with what exported programs give; it is not trained.

    Args:
        runtimes: with `predict` among them.
        context: of the run that was exported; its model is not asked for.
    """

    def __init__(self, runtimes: Runtimes, context: Context):
        loss = context.loss if isinstance(context.loss, str | Mapping) else "auto"
        super().__init__(nn.Identity(), context.target, loss, context.metrics, context.metric)
        self.runtimes = runtimes

    def _given(self, batch: Batch) -> dict[str, Tensor]:
        return tensors(self.runtimes, "predict", arrays_of(batch))

    def forward(self, batch: Batch) -> Any:
        return self.task.raw(self._given(batch))

    def predict(self, batch: Batch) -> Tensor:
        return self.task.finished(self._given(batch))
