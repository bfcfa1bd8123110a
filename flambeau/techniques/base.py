"""The contract of a Technique: one named, switchable trick."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import torch

from flambeau.core import registry
from flambeau.core.registry import Registry
from flambeau.data.batch import Batch

if TYPE_CHECKING:
    from flambeau.objectives import Objective
    from flambeau.objectives.base import Criterion

TECHNIQUES: Registry[type[Technique]] = Registry("technique", "name")


class Step(Protocol):
    """What a hook knows of the update that is being made; see `flambeau.training.step.Step`.

    Attributes:
        objective: what is minimised.
        phase: of the objective, whose parameters are updated.
        number: of the step in the training, from 0.
        parameters: that the phase updates, with their gradients.
    """

    objective: Objective
    phase: str
    number: int

    @property
    def parameters(self) -> list[torch.nn.Parameter]: ...

    def again(self) -> torch.Tensor:
        """The gradients anew, for the weights as they are now, changed again by the techniques before; the mean loss, a
        scalar."""


class Training(Protocol):
    """What a technique may know of the training that it takes part in; see `flambeau.training.outlook.Outlook`."""

    @property
    def objective(self) -> Objective:
        """What is minimised."""

    @property
    def folder(self) -> Path | None:
        """Of the run; None where nothing is kept."""

    @property
    def epochs(self) -> int:
        """How many there will be."""

    @property
    def steps(self) -> int:
        """How many there will be; about so many where the batches of epochs differ in number."""

    def rate(self, step: int) -> float:
        """The factor of the learning rate at a step, from 0 on, as the schedule has it."""

    def input_bounds(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """See `flambeau.fields.Field.input_bounds`, of the input, where it is one."""

    def train_at(self, share: float) -> bool:
        """Lets inputs that have a side, such as pictures, be prepared for training at `share` of it from now on;
        whether there is one."""

    def batches(self, most: int) -> Iterator[Batch]:
        """Training batches as an evaluation would see them, spread over an epoch: at most about twice `most`."""


class Technique:
    """One trick. A subclass overrides the hooks that it needs; the Trainer calls no others. Its `name` is what it is
    entered under.

    `settings` names the constructor's arguments, which a recipe keeps. Any others must work beside it, or be
    refused in one line that says why. `needs_base` says that a run of it keeps no parameters that do not learn, so that
    it is loaded upon the weights that its model began with.
    """

    name: ClassVar[str]
    settings: ClassVar[tuple[str, ...]] = ()
    needs_base: bool = False
    fresh: ClassVar[bool] = False
    """Whether it would undo what pretrained weights have learned, so that it is refused for them."""
    shards: ClassVar[bool] = False
    """Whether what it does to weights and gradients also holds where each process has a part of them, as DTensors."""
    before: ClassVar[bool] = False
    """Whether it is a training of its own, which the Learner has done before the first step; it has no hooks then."""

    def on_build(self, objective: Objective) -> str | None:
        """Once, when the model is there and no optimiser is yet; and where a run is loaded, before its weights are. For
        what adds, takes away or freezes parameters. A sentence returned is said, and kept among the run's reasons."""

    def on_rates(self, objective: Objective, rates: dict[torch.nn.Parameter, float]) -> None:
        """Before the optimisers are made: changes shares of the learning rate, by parameter, 1 where there is none."""

    def on_training(self, training: Training) -> None:
        """Before `on_fit_start`: what is known of the training."""

    def on_fit_start(self, objective: Objective) -> None:
        """Before the first step, and again after a resume, before the state is loaded."""

    def on_criterion(self, objective: Objective, criterion: Criterion) -> Criterion:
        """After `on_fit_start`: another loss between output and target for the training, made of the one that the
        techniques before have left; validation is measured by the objective's own. What a criterion takes beside both,
        such as `reduction="none"` for one number a sample (B), is handed on to the inner one."""
        return criterion

    def row_weights(self, target: torch.Tensor) -> torch.Tensor:
        """What each of some training targets (B, …) counts, float (B), where a model fits itself at once: a technique
        that says so can be used there, and no other."""
        raise NotImplementedError

    def on_freeze(self, objective: Objective, epoch: int) -> None:
        """At the beginning of an epoch, as `on_epoch_start` and before it, when the model is set to train: what does
        not learn in this epoch gets `requires_grad_(False)`, and what is to rest `eval()`. Depends on nothing but the
        epoch: also called after `on_build`, for the first, to see what can be computed once."""

    def on_epoch_start(self, objective: Objective, epoch: int) -> None:
        """Before the first step of an epoch, from 0 on; again where one is resumed in the middle."""

    def on_batch(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Changes a training batch. All randomness comes from `generator`, seeded by the step."""
        return batch

    def on_gradients(self, step: Step) -> None:
        """When the gradients of a phase are there, before its optimiser steps; `step` has its parameters, its phase and
        its number, and takes a second pass with `step.again()`."""

    def on_step_end(self, objective: Objective, step: int) -> None:
        """After the optimisers have stepped."""

    def on_evaluation(self, objective: Objective, starts: bool) -> None:
        """Before and after the model is evaluated or saved for use."""

    def on_epoch_end(self, epoch: int, metrics: dict[str, float]) -> str | None:
        """After validation. A sentence returned stops the training and says why."""

    def on_fit_end(self, objective: Objective) -> None:
        """After the last step."""

    def on_done(self, objective: Objective) -> None:
        """When the final weights are in the model: those of the best epoch, where these are kept; and where a run is
        loaded. For what takes out again what `on_build` has put in."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must keep: tensors and plain JSON."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave."""

    def describe(self) -> str | None:
        """A clause on what it does with these settings, for the plan; None where its settings say it all."""
        return None

    def left_open(self, whole: bool) -> Mapping[str, Any]:
        """Its own settings that were left open and follow from the training; a recipe keeps them.

        Args:
            whole: whether all of the model was trained before, see `Objective.whole`.
        """
        return {}

    def frozen(self) -> Iterable[torch.nn.Parameter]:
        """After `on_build`: parameters that never learn, and that a run of it does not keep where it `needs_base`."""
        return ()

    def decides(self) -> Mapping[str, tuple[Any, str]]:
        """Settings of the training that follow from its own, where nothing else is asked for: {name: (value, why)}."""
        return {}

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON."""
        return {name: getattr(self, name) for name in self.settings}

    @classmethod
    def overridden(cls, hook: str) -> bool:
        """Whether this technique does anything at a hook."""
        return getattr(cls, hook) is not getattr(Technique, hook)


HOOKS = tuple(name for name in vars(Technique) if name.startswith("on_"))


def made(name: str, settings: Mapping[str, Any]) -> Technique:
    """The technique that a recipe describes, under its name or under `name@2`.

    Raises:
        UsageError: there is none, or it has no such setting.
    """
    return registry.made(TECHNIQUES, name.partition("@")[0], settings)


def not_kept(model: torch.nn.Module, techniques: Iterable[Technique]) -> set[str]:
    """Names in a model's state of the parameters that a run with some techniques does not keep; see `needs_base`."""
    frozen = {id(parameter) for one in techniques if one.needs_base for parameter in one.frozen()}
    return {name for name, parameter in model.named_parameters(remove_duplicate=False) if id(parameter) in frozen}
