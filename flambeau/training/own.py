"""An optimiser and a schedule of the user's own, as functions that make them: so a resume can make them again."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import CyclicLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from flambeau.core.errors import UsageError, first_line, shown
from flambeau.objectives import Objective
from flambeau.training import optimizers
from flambeau.training.plateau import Plateau
from flambeau.training.schedule import SCHEDULES, Schedule
from flambeau.training.settings import FIND, Settings

BY_STEP = (OneCycleLR, CyclicLR)  # schedulers that take a step each batch; the others each epoch


@dataclass
class OwnSteps:
    """What the user gave in place of names; None where a name is used.

    Attributes:
        optimizer: from the parameters that learn to an optimiser.
        schedule: from an optimiser to a scheduler of torch's; or from the share of the training that is done to a
            factor of the rate.
    """

    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer] | None = None
    schedule: Callable[[Any], Any] | None = None

    @classmethod
    def taken_from(cls, settings: dict[str, Any]) -> OwnSteps:
        """Takes what is no name out of a Learner's settings; a class of torch's becomes its name.

        Raises:
            UsageError: an optimiser or a scheduler is given that is made already.
        """
        own = cls()
        optimizer, scheduler = settings.get("optimizer"), settings.get("schedule")
        if isinstance(optimizer, torch.optim.Optimizer):
            name, rate = type(optimizer).__name__, optimizer.param_groups[0]["lr"]
            raise UsageError(
                f"the {name} that is given as optimizer= was made for parameters as they were",
                expected=f"a name, optimizer='{name.lower()}', or a function that makes it",
                fix=f"give optimizer=lambda parameters: torch.optim.{name}(parameters, lr={rate:g})",
            )
        if isinstance(scheduler, LRScheduler):
            name = type(scheduler).__name__
            raise UsageError(
                f"the {name} that is given as schedule= holds an optimiser that is not this training's",
                expected=f"a name, one of {', '.join(SCHEDULES)}, or a function that makes it",
                fix=f"give schedule=lambda optimizer: torch.optim.lr_scheduler.{name}(optimizer, …)",
            )
        name = getattr(optimizer, "__name__", "")
        if inspect.isclass(optimizer) and getattr(torch.optim, name, None) is optimizer:
            settings["optimizer"] = name.lower()
        elif callable(optimizer):
            own.optimizer = settings.pop("optimizer")
        if callable(scheduler):
            own.schedule = settings.pop("schedule")
        return own

    def build(
        self, parameters: list[nn.Parameter], rates: Mapping[nn.Parameter, float] | None = None
    ) -> torch.optim.Optimizer:
        """The user's optimiser of these parameters.

        Args:
            rates: shares of its rates, of some parameters.

        Raises:
            UsageError: the function fails, gives something else, or trains other parameters.
        """
        assert self.optimizer is not None
        learning = [p for p in parameters if p.requires_grad]
        if not learning:
            raise UsageError("no parameter is left to train", fix="unfreeze some")
        made = _made(self.optimizer, learning, "optimizer")
        if not isinstance(made, torch.optim.Optimizer) or isinstance(made, torch.optim.LBFGS):
            raise UsageError(f"optimizer= gives {shown(made)}", expected="an optimiser of torch.optim, not LBFGS")
        if not {id(p) for group in made.param_groups for p in group["params"]} <= {id(p) for p in learning}:
            raise UsageError(
                "optimizer= makes an optimiser of other parameters than the model's that learn",
                fix="make it of those that it is called with: lambda parameters: …(parameters, …)",
            )
        if rates and any(rates.get(p, 1.0) != 1.0 for p in learning):
            groups = [(group, _by_rate(group["params"], rates)) for group in made.param_groups]
            made.param_groups[:] = [
                {**group, "params": ps, "lr": group["lr"] * rate} for group, by in groups for rate, ps in by.items()
            ]
        return made

    def settle(self, parameters: list[nn.Parameter], settings: Any) -> list[str]:
        """Makes the optimiser once, so that what is wrong is told early; its rate is that of the settings, and a reason
        says so."""
        if self.optimizer is None:
            return []
        if settings.learning_rate == FIND:
            raise UsageError(f"learning_rate={FIND}, and your own optimiser decides its rate",
                             fix="name an optimiser, or make yours with the rate of learner.find_lr()")  # fmt: skip
        settings.learning_rate = self.build(parameters).param_groups[0]["lr"]
        return [f"learning_rate {settings.learning_rate:g}: that of your own optimiser"]

    def schedule_of(self, optimizer: torch.optim.Optimizer, epochs: int, steps_per_epoch: int) -> Schedule:
        """The user's schedule as a function of the share that is done: a scheduler is stepped through beforehand, so
        that a resume at any step has the same rates."""
        assert self.schedule is not None
        try:
            number = self.schedule(0.0)
        except Exception:  # noqa: BLE001 -- it takes an optimiser then
            number = None
        if isinstance(number, (int, float)):
            return self.schedule
        base = [group["lr"] for group in optimizer.param_groups]
        groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": rate} for rate in base]
        rehearsed = torch.optim.SGD(groups, lr=base[0], momentum=0.9)  # some move the momentum, too
        made = _made(self.schedule, rehearsed, "schedule")
        if isinstance(made, ReduceLROnPlateau):
            return Plateau(self.schedule)
        if not isinstance(made, LRScheduler):
            raise UsageError(
                f"schedule= gives {shown(made) if not isinstance(made, LRScheduler) else type(made).__name__}",
                expected="a scheduler of torch.optim.lr_scheduler, or a factor of the rate",
            )
        by_step = isinstance(made, BY_STEP)
        total = epochs * steps_per_epoch
        factors: list[float] = []
        for _ in range(total if by_step else epochs):
            rates = [group["lr"] / rate for group, rate in zip(rehearsed.param_groups, base, strict=True)]
            if max(rates) - min(rates) > 1e-6 * max(map(abs, rates)):
                raise UsageError("schedule= moves the rates of groups of parameters apart", expected="one for all")
            factors.append(rates[0])
            rehearsed.step()
            try:
                made.step()
            except ValueError:  # it has taken all the steps that it was made for
                break
        each = 1 if by_step else steps_per_epoch
        return lambda done: factors[min(round(done * total) // each, len(factors) - 1)]


def _by_rate(parameters: list[nn.Parameter], rates: Mapping[nn.Parameter, float]) -> dict[float, list[nn.Parameter]]:
    by_rate: dict[float, list[nn.Parameter]] = {}
    for parameter in parameters:
        by_rate.setdefault(rates.get(parameter, 1.0), []).append(parameter)
    return by_rate


def _made(function: Callable[[Any], Any], value: Any, name: str) -> Any:
    try:
        return function(value)
    except Exception as error:
        raise UsageError(
            f"{name}= fails with {type(error).__name__}: {first_line(error)}",
            expected="a function of the parameters" if name == "optimizer" else "a function of the optimiser",
        ) from error


def build_all(
    objective: Objective, settings: Settings, own: OwnSteps, rates: Mapping[nn.Parameter, float]
) -> dict[str, torch.optim.Optimizer]:
    """An optimiser for each phase of an objective, the user's own where there is one.

    Args:
        rates: shares of the learning rate, of some parameters.

    Raises:
        UsageError: settings are given for a phase that there is not, no phase is updated in each step, or a phase is
            given what the user's own optimiser decides.
    """
    optimizers.check_phases(objective, settings)
    if own.optimizer is None:
        return optimizers.build_all(objective, settings, rates)
    for phase, different in settings.phases.items():
        if decided := ", ".join(different.keys() - {"every"}):
            raise UsageError(f"training.phases.{phase} sets {decided}, which your own optimiser decides",
                             fix="leave it out, or name an optimiser")  # fmt: skip
    return {phase: own.build(objective.parameters(phase), rates) for phase in objective.phases}
