"""The updates of all phases: rates, gradients, and what techniques make of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.core.reporter import QUIET
from flambeau.data.batch import Batch
from flambeau.objectives import Objective
from flambeau.training import schedule
from flambeau.training.engine import Engine
from flambeau.training.memory import Parts, has_batch_norm, is_out_of_memory, let_go
from flambeau.training.own import OwnSteps, build_all
from flambeau.training.plateau import Plateau
from flambeau.training.processes import ALONE, Processes
from flambeau.training.scaling import LossScale
from flambeau.training.settings import Settings
from flambeau.training.step import Step, forget_gradients
from flambeau.training.stopwatch import Stopwatch

Hooks = Mapping[str, Sequence[Callable[..., Any]]]


class Updates:
    """Makes the steps of a training.

    Args:
        hooks: of the techniques, by name.
        steps_per_epoch: that the schedule and a user's own scheduler go by.
        note: is told what a user should know.
        processes: that take part.

    Attributes:
        optimizers: by phase.
        parts: that batches are taken in, where memory ran out.
        scale: of the loss in float16; None in other precisions.
        plateau: the schedule, where it follows what epochs reach.
        total: steps of the training, as the schedule goes by them.
    """

    def __init__(
        self,
        objective: Objective,
        engine: Engine,
        settings: Settings,
        own: OwnSteps,
        hooks: Hooks,
        steps_per_epoch: int,
        note: Callable[[str], None] = QUIET.say,
        processes: Processes = ALONE,
    ):
        self._processes, self._made = processes, processes.step
        self.objective, self.engine, self.hooks = objective, engine, hooks
        rates = dict(objective.learning_rates())
        for hook in hooks["on_rates"]:
            hook(objective, rates)
        self._settings, self._own, self._rates = settings, own, rates
        self._build(settings)
        self.parts = Parts(objective, note)
        self.scale = LossScale() if engine.scales else None
        self._every = {phase: settings.of_phase(phase).every for phase in objective.phases}
        self._schedule = schedule.named(settings.schedule, settings.warmup)
        if own.schedule is not None:
            first = next(iter(self.optimizers.values()))
            self._schedule = own.schedule_of(first, settings.epochs or 1, steps_per_epoch)
        self._schedules = {phase: self._of_phase(phase) for phase in objective.phases}
        self.plateau = self._schedule if isinstance(self._schedule, Plateau) else None
        self.total = max(1, steps_per_epoch * (settings.epochs or 1))

    def _of_phase(self, phase: str) -> schedule.Schedule:
        """The schedule of a phase: that of all, where none is set for it."""
        if not {"schedule", "warmup"} & self._settings.phases.get(phase, {}).keys():
            return self._schedule
        different = self._settings.of_phase(phase)
        made = schedule.named(different.schedule, different.warmup)
        if isinstance(made, Plateau):
            raise UsageError(f"the schedule plateau follows what all phases reach, and is set for {phase} alone",
                             fix="set training.schedule=plateau")  # fmt: skip
        return made

    def _build(self, settings: Settings) -> None:
        self._built_for = settings
        self.optimizers = build_all(self.objective, settings, self._own, self._rates)
        self._parameters = [p for o in self.optimizers.values() for g in o.param_groups for p in g["params"]]
        self._base_rates = {p: [g["lr"] for g in o.param_groups] for p, o in self.optimizers.items()}

    def start_epoch(self, epoch: int) -> None:
        """Before the first step of an epoch, from 0 on, and where one is resumed: another optimiser, from where on the
        settings have another; it begins without what the one before had gathered."""
        settings = self._settings.in_epoch(epoch + 1)
        if settings != self._built_for:
            resting = [p for p in self._parameters if not p.requires_grad]  # in this epoch, and learning in another
            for parameter in resting:
                parameter.requires_grad_(True)
            self._build(settings)
            for parameter in resting:
                parameter.requires_grad_(False)

    def end_epoch(self, metrics: Mapping[str, float], train_loss: float) -> None:
        """After validation: what a schedule may follow; the training loss where nothing is validated."""
        if self.plateau is not None:
            objective = self.objective
            self.plateau.end_epoch({"loss": train_loss, **metrics}, objective.monitor, objective.higher_is_better)

    @property
    def learning_rate(self) -> float:
        """The rate of the last step."""
        return float(next(iter(self.optimizers.values())).param_groups[-1]["lr"])

    def rate(self, step: int, phase: str | None = None) -> float:
        """The factor of the learning rate at a step, from 0 on; of a phase that may have a schedule of its own."""
        return self._schedules.get(phase or "", self._schedule)(min(step / self.total, 1.0))

    def step(self, number: int, batches: Sequence[Batch], stopwatch: Stopwatch) -> dict[str, Tensor]:
        """One update of each phase whose turn it is. With several batches, the gradient is that of one large batch.

        Returns:
            the mean loss of each by its name, scalars that are still on the device: to read one would wait for it.
        """
        weights = self._processes.shares(self.objective, batches)
        losses: dict[str, Tensor] = {}
        for phase, optimizer in self.optimizers.items():
            if number % self._every[phase]:
                continue
            factor = self.rate(number, phase)
            for group, rate in zip(optimizer.param_groups, self._base_rates[phase], strict=True):
                group["lr"] = rate * factor
            step = self._made(
                self.objective, phase, number, batches, weights, optimizer, self.engine, stopwatch, self.scale
            )
            losses[phase] = self._backward(step, batches, weights)
            step.change(self.hooks["on_gradients"])
            if step.finite:
                optimizer.step()
            if self.scale is not None:
                self.scale.update(step.finite, number)
            forget_gradients(self._parameters)  # of all phases: a generator's loss reaches its discriminator's too
            stopwatch.lap("step")
        return losses

    def _backward(self, step: Step, batches: Sequence[Batch], weights: Sequence[float]) -> Tensor:
        """The gradients; where memory runs out, again with the batches in smaller parts, and so from then on."""
        count = self.parts.count
        while True:
            step.batches, step.weights = self.parts.of(batches, weights)
            try:
                loss = step.backward()
                break
            except (RuntimeError, MemoryError) as error:
                # what talks to all processes would wait for passes that the others do not make
                talks = self._processes.talks_in_passes or has_batch_norm(self.objective.model)
                if not is_out_of_memory(error) or (self._processes.count > 1 and talks):
                    raise
                let_go(error)
            forget_gradients(self._parameters)  # out here, where the error and what it held are gone
            self.parts.double(batches)
        if self.parts.count > count:
            self.parts.tell(max(map(len, batches)))
        return loss

    def wrap_criterion(self) -> None:
        """Lets techniques change the criterion that the objective learns by.

        Raises:
            UsageError: the objective has none.
        """
        self.unwrap_criterion()  # a training may have failed before
        objective, wrappers = self.objective, self.hooks["on_criterion"]
        if wrappers and type(objective).criterion is Objective.criterion:
            raise UsageError(
                f"a technique changes the loss between output and target, and {type(objective).__name__} has none",
                fix="leave it out",
            )
        criterion = objective.criterion
        for wrap in wrappers:
            criterion = objective.training_criterion = wrap(objective, criterion)

    def unwrap_criterion(self) -> None:
        """Leaves the objective as it was."""
        vars(self.objective).pop("training_criterion", None)
