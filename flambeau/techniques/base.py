"""The contract of a Technique: one named, switchable trick."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from flambeau.core.registry import Registry
from flambeau.data.batch import Batch

if TYPE_CHECKING:
    import torch

    from flambeau.objectives import Objective

TECHNIQUES: Registry[type[Technique]] = Registry("technique")
HOOKS = (
    "on_fit_start",
    "on_batch",
    "on_gradients",
    "on_step_end",
    "on_evaluation",
    "on_epoch_end",
    "on_fit_end",
)


class Technique:
    """One trick. A subclass overrides the hooks that it needs; the Trainer calls no others.

    `settings` names the constructor's arguments, which a recipe keeps.
    """

    name: ClassVar[str]
    settings: ClassVar[tuple[str, ...]] = ()

    def on_fit_start(self, objective: Objective) -> None:
        """Before the first step, and again after a resume, before the state is loaded."""

    def on_batch(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Changes a training batch. All randomness comes from `generator`, seeded by the step."""
        return batch

    def on_gradients(self, parameters: list[torch.nn.Parameter]) -> None:
        """After the backward pass of a phase, before its optimiser steps."""

    def on_step_end(self, objective: Objective, step: int) -> None:
        """After the optimisers have stepped."""

    def on_evaluation(self, objective: Objective, starts: bool) -> None:
        """Before and after the model is evaluated or saved for use."""

    def on_epoch_end(self, epoch: int, metrics: dict[str, float]) -> str | None:
        """After validation. A sentence returned stops the training and says why."""

    def on_fit_end(self, objective: Objective) -> None:
        """After the last step."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must keep: tensors and plain JSON."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave."""

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON."""
        return {name: getattr(self, name) for name in self.settings}

    @classmethod
    def overridden(cls, hook: str) -> bool:
        """Whether this technique does anything at a hook."""
        return getattr(cls, hook) is not getattr(Technique, hook)
