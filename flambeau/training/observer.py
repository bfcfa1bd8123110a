"""Lets the doctor's monitors watch a training; its results are to the bit what they are without."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from flambeau.core.findings import Finding
from flambeau.diagnosis.loop import say
from flambeau.diagnosis.monitors import Monitors
from flambeau.objectives import Objective
from flambeau.training.step import Step

if TYPE_CHECKING:
    from flambeau.training.trainer import Trainer


HOOKS = ("on_epoch_start", "on_gradients", "on_step_end", "on_epoch_end")


class Observer:
    """What a `Trainer` calls as it calls techniques, behind them, and hands the losses that it reads. What is found is
    said once and written into `metrics.jsonl`, beside the numbers of each measured step."""

    def __init__(self, trainer: Trainer):
        self._trainer = trainer
        self._losses: list[float] = []
        self._due = 0
        # where phases work against one another, losses tell nothing
        self._watches = trainer.settings.monitors and trainer.processes.first and len(trainer.objective.phases) == 1
        inside = not trainer.engine.compile
        self.monitors = Monitors(trainer.objective.model, tell=self._tell, record=self.record, looks_inside=inside)
        hooks = ("on_epoch_end",) if trainer.processes.shards else HOOKS  # a part of weights says little
        for hook in hooks if self._watches else ():
            trainer.hooks[hook].append(getattr(self, hook))
        if type(trainer.objective).figures is not Objective.figures:
            trainer.hooks["on_step_end"].append(self._write_figures)

    def on_epoch_start(self, objective: Objective, epoch: int) -> None:
        self._plan(self._trainer.state.step)
        if self._trainer.state.step == self._due:
            self.monitors.watch()

    def _plan(self, step: int) -> None:
        """The next step that is measured, from one on."""
        self._due = next(number for number in itertools.count(step) if self.monitors.due(number))

    def on_gradients(self, step: Step) -> None:
        number = step.number
        if number >= self._due:
            self.monitors.before(number, [step.optimizer], step.batches[-1].target)

    def on_step_end(self, objective: Objective, step: int) -> None:
        if step < self._due - 1:
            return
        if step == self._due:
            self.monitors.after()
        elif step > self._due:
            self._plan(step + 1)
        if step == self._due - 1:
            self.monitors.watch()

    def _write_figures(self, objective: Objective, step: int) -> None:
        if (step + 1) % self._trainer.settings.log_every == 0:
            self._write(step + 1, figures=objective.figures())

    def losses(self, step: int, values: Sequence[Mapping[str, float]]) -> None:
        """Those of the last steps, of the one phase, up to the step that is to come."""
        if not self._watches:
            return
        losses = [loss for losses in values for loss in losses.values()]
        self._losses += losses
        if self._trainer.objective.task.steady:
            self.monitors.losses(step, losses)
        self.monitors.look()  # whoever has read the losses has waited for all that was measured before

    def on_epoch_end(self, epoch: int, metrics: dict[str, float]) -> None:
        losses, self._losses = self._losses, []
        best = self._trainer.state.best
        if losses and "loss" in metrics:
            is_best = best is not None and best["epoch"] == epoch
            self.monitors.epoch(sum(losses) / len(losses), metrics["loss"], is_best)

    def close(self) -> None:
        """Leaves the model without a hook, however the training ended."""
        self.monitors.close()

    def _tell(self, finding: Finding) -> None:
        say([finding], self._trainer.reporter)
        self._write(self._trainer.state.step, findings=[finding.to_dict()])

    def tell(self, findings: Iterable[Finding]) -> None:
        """Findings of others, each once."""
        self.monitors.say(findings)

    def record(self, step: int, numbers: Mapping[str, float]) -> None:
        self._write(step, monitors=numbers)

    def _write(self, step: int, **values: object) -> None:
        self._trainer.log.write(step, epoch=self._trainer.state.epoch + 1, **values)
