"""Where a training stands."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from flambeau.core.errors import TrainingError
from flambeau.core.files import values_of
from flambeau.training import checkpoint
from flambeau.training.logging import numbers

BEST = {"value", "loss", "epoch", "step", "checkpoint"}  # what is known of the best epoch


def merit(score: float, loss: float, more_is_better: bool) -> tuple[float, float]:
    """What epochs are compared by, the larger the better: the score, and where it is the same the validation loss.

    A few validation rows have few scores: on an easy set the first epoch that has them all right is hardly sure of any.
    """
    return (score if more_is_better else -score), -loss


@dataclass
class State:
    """Where a training stands. All of it goes into a checkpoint."""

    epoch: int = 0
    step: int = 0  # optimiser steps since the beginning
    step_in_epoch: int = 0
    loss_sum: float = 0.0  # over the steps of this epoch
    phases: dict[str, tuple[float, int]] = field(default_factory=dict)  # of each the same sum, and over how many steps
    recent: list[float] = field(default_factory=list)  # losses since the last line of metrics.jsonl
    best: dict[str, Any] | None = None  # value, loss, epoch, step, checkpoint
    stopped: str | None = None  # why it ended before its last epoch
    metrics: dict[str, float] = field(default_factory=dict)  # of the last validation

    @classmethod
    def of(cls, facts: Any, where: Path) -> State:
        """The state that a checkpoint's facts tell of.

        Raises:
            RunError: they do not tell of one.
        """
        with values_of(where):
            progress = dict(facts["progress"])
            progress["metrics"] = numbers(progress.get("metrics") or {})
            state: State = TypeAdapter(cls).validate_python(progress)
            if state.best is not None and not (
                state.best.keys() >= BEST and re.fullmatch(r"step-\d+-epoch-\d+", state.best["checkpoint"])
            ):
                raise ValueError("best")
            return state

    def add_losses(self, steps: Sequence[Mapping[str, float]], rate: float | None) -> None:
        """The losses of the last steps, of each phase that each took.

        Raises:
            TrainingError: one is NaN or infinite; it names the step.
        """
        for behind, losses in zip(range(len(steps))[::-1], steps, strict=True):
            for phase, value in losses.items():
                if not math.isfinite(value):
                    raise TrainingError(
                        f"the loss became {value} at step {self.step - behind} (epoch {self.epoch + 1})",
                        fix=f"lower the learning rate (it is {rate:g}), clip the gradients, or use precision=float32; "
                        "the last checkpoint is from before",
                        code="loss-not-finite",
                    )
                self.loss_sum += value / len(losses)  # one by one: the same sum whenever they are read
                total, count = self.phases.get(phase, (0.0, 0))
                self.phases[phase] = total + value, count + 1
            self.recent += losses.values()

    @property
    def by_phase(self) -> dict[str, float]:
        """The mean loss in this epoch of each of several phases; empty where there is one."""
        return {p: total / count for p, (total, count) in self.phases.items()} if len(self.phases) > 1 else {}

    def end_epoch(self) -> None:
        """Goes on to the next epoch."""
        self.epoch, self.step_in_epoch, self.loss_sum, self.phases = self.epoch + 1, 0, 0.0, {}

    def is_best(self, values: Mapping[str, float], monitor: str, more_is_better: bool) -> bool:
        """Whether the epoch that ends here is the best so far, by its validation; then it is noted."""
        score, loss, best = values.get(monitor, math.nan), values.get("loss", 0.0), self.best
        better = best is None or merit(score, loss, more_is_better) > merit(best["value"], best["loss"], more_is_better)
        if not (math.isfinite(score) and better):
            return False
        self.best = {"value": score, "loss": loss, "epoch": self.epoch + 1, "step": self.step,
                     "checkpoint": checkpoint.name(self.step, self.epoch + 1)}  # fmt: skip
        return True
