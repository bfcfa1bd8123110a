"""The learning-rate finder: Smith 2015, "Cyclical Learning Rates for Training Neural Networks", arXiv:1506.01186.

Costs as many steps as it tries rates (100), and a second copy of the model while it does.
"""

from __future__ import annotations

import copy
import math
import signal
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from flambeau.core.display import as_html
from flambeau.core.errors import FlambeauError, TrainingError, UsageError, first_line
from flambeau.core.files import read_json, values_of
from flambeau.core.randomness import isolated
from flambeau.core.reporter import QUIET, Reporter
from flambeau.objectives import Objective
from flambeau.techniques import Technique
from flambeau.training.engine import Engine
from flambeau.training.interrupts import Interrupted
from flambeau.training.measure import Prepare, Source
from flambeau.training.own import OwnSteps
from flambeau.training.settings import Settings
from flambeau.training.trainer import Trainer

FILE = "find_lr.json"  # of a run whose rate was looked for
LEAST_STEPS = 10  # fewer points make no curve
SMOOTHING = 0.9  # of the running mean that divergence is seen by
FALLEN = 0.9  # the share of the fall that is done in the valley
TIMES = 4.0  # so many times the lowest smoothed loss is divergence, as in fastai


@dataclass(frozen=True)
class RateCurve:
    """The loss at each rate, and what follows from it.

    Attributes:
        rates: that were tried, rising.
        losses: of one step each, the mean over its batch (and over the objective's phases).
        smoothed: the losses without most of their noise.
        steepest: the rate at which the smoothed loss falls most for a share that the rate rises by.
        valley: the rate at which nine tenths of the fall of the smoothed loss are done.
        diverged: whether the loss left its fall before the last rate.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    steepest: float
    valley: float
    diverged: bool

    _repr_html_ = as_html

    @classmethod
    def of(cls, rates: Sequence[float], losses: Sequence[float], diverged: bool) -> RateCurve:
        """The curve of some measurements.

        Raises:
            TrainingError: they are too few, or the loss never falls.
        """
        if len(losses) < LEAST_STEPS:
            raise TrainingError(
                f"the loss diverges at a learning rate of {rates[-1] if rates else 0:g} already, after {len(losses)} "
                "steps",
                fix="begin lower with start=, or look at the loss and at the scale of the inputs",
            )
        even = smooth(losses)
        lowest = even.index(min(even))
        if lowest == 0:
            raise TrainingError(
                f"the loss falls at no learning rate between {rates[0]:g} and {rates[-1]:g}",
                fix="begin lower with start=, or look at the loss and at the labels",
            )
        slopes = [even[i + 1] - even[i] for i in range(lowest)]  # rates rise by equal shares
        steepest = rates[slopes.index(min(slopes))]
        return cls(tuple(rates), tuple(losses), tuple(even), steepest, rates[valley(even)], diverged)

    @property
    def suggestion(self) -> float:
        """The rate to train with, the highest of a schedule: the valley, in two digits."""
        return float(f"{self.valley:.2g}")

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"suggestion": self.suggestion, **asdict(self)}

    @classmethod
    def of_run(cls, folder: Path) -> RateCurve | None:
        """That of a run's folder; None where no rate was looked for.

        Raises:
            RunError: the file is damaged.
        """
        path = folder / FILE
        if not path.exists():
            return None
        with values_of(path):
            return TypeAdapter(cls).validate_python(read_json(path))

    def __str__(self) -> str:
        ended = "the loss diverges" if self.diverged else "tried last"
        return (
            f"learning rate {self.suggestion:g} suggested (valley); steepest descent at {self.steepest:.2g}; "
            f"{ended} at {self.rates[-1]:.2g}"
        )


def smooth(losses: Sequence[float], share: float = 0.06) -> list[float]:
    """Each loss as the mean of its neighbours, weighted by a Gaussian whose width is a share of the curve; unlike a
    running mean it does not lag behind.

    >>> [round(value, 3) for value in smooth([1.0, 1.0, 0.0, 0.0], share=0.25)]
    [0.916, 0.684, 0.316, 0.084]
    """
    width = max(share * len(losses), 1e-9)
    means = []
    for i in range(len(losses)):
        weights = [math.exp(-0.5 * ((i - j) / width) ** 2) for j in range(len(losses))]
        means.append(sum(w * v for w, v in zip(weights, losses, strict=True)) / sum(weights))
    return means


def valley(losses: Sequence[float]) -> int:
    """Where a curve comes down into its valley: the first place at which nine tenths of its fall are done, for a rate
    that is the highest of a schedule. fastai's `valley` is the middle of the longest fall, and so lower.

    >>> valley([10, 10, 8, 4, 1, 0, 9])
    4
    """
    lowest = list(losses).index(min(losses))
    highest = max(losses[: lowest + 1])
    bound = highest - FALLEN * (highest - losses[lowest])
    return next(i for i in range(list(losses).index(highest), lowest + 1) if losses[i] <= bound)


class _Swept(Exception):
    """All rates are tried, or the loss has diverged."""


class _Sweep(Trainer):
    """A training whose rate rises from step to step, and which ends where the loss diverges."""

    steps: int
    rate_at: Callable[[int], float]

    def sweep(self, steps: int, rate_at: Callable[[int], float], say: Callable[[int], None]) -> RateCurve:
        self.steps, self.rate_at, self._say = steps, rate_at, say
        self.rates: list[float] = []
        self.losses: list[float] = []
        self._mean, self._lowest, diverged = 0.0, math.inf, False
        try:
            self.fit()
        except _Swept:
            diverged = len(self.losses) < steps
        except TrainingError:  # gradients that overflow at any scale
            diverged = True
        return RateCurve.of(self.rates, self.losses, diverged)

    def _collect_losses(self) -> None:
        """After each step, as every step is logged: its loss, and whether that is the last."""
        pending, self._pending = self._pending, []
        for losses in pending:
            loss = sum(float(value) for value in losses.values()) / max(len(losses), 1)
            if not losses:
                continue  # of no phase was it the turn
            if not math.isfinite(loss):
                raise _Swept
            self.losses.append(loss)
            self.rates.append(self.rate_at(self.state.step - 1))
            done = len(self.losses)
            self._say(done)
            self._mean = SMOOTHING * self._mean + (1 - SMOOTHING) * loss
            mean = self._mean / (1 - SMOOTHING**done)
            self._lowest = min(self._lowest, mean)
            # back above where it began, or so many times the lowest
            bound = self._lowest + max((TIMES - 1) * abs(self._lowest), self.losses[0] - self._lowest)
            if done == self.steps or (done > LEAST_STEPS and mean > bound):
                raise _Swept

    def _stopped(self, number: int) -> Interrupted:
        return Interrupted(f"stopped by {signal.Signals(number).name} while a learning rate was looked for", number)


def find(
    objective: Objective, engine: Engine, settings: Settings, *, train: Source, prepare: Prepare, random: bool = False,
    techniques: Sequence[Technique] = (), own: OwnSteps | None = None, reporter: Reporter = QUIET,
    begin: Callable[[Objective], None] | None = None, start: float = 1e-6, end: float = 10.0, steps: int = 100,
) -> RateCurve:  # fmt: skip
    """Raises the learning rate from `start` to `end` by equal shares, on copies of the objective and the techniques, by
    the steps that a training takes; all random states are as before afterwards.

    Args:
        train, prepare, random, techniques, own: as a Trainer takes them.
        begin: what is done with the copy before its first step.
        steps: how many rates are tried.

    Raises:
        UsageError: the range or the number of steps does not fit, or a model cannot be copied.
        TrainingError: there is no rate at which the loss falls.
        Interrupted: SIGINT or SIGTERM came.
    """
    if not 0 < start < end < math.inf:
        raise UsageError(f"rates from {start:g} to {end:g} do not fit", expected="start above 0 and below end")
    if steps < LEAST_STEPS:
        raise UsageError(f"steps={steps} does not fit", expected=f"{LEAST_STEPS} or more")
    own = own or OwnSteps()
    base = settings.rate if own.optimizer is not None else 1.0
    per_epoch = max(1, math.ceil(train.count(0) / settings.accumulate))
    epochs = math.ceil(steps / per_epoch)
    phases = {n: {k: v for k, v in p.items() if k != "learning_rate"} for n, p in settings.phases.items()}
    swept = replace(settings, learning_rate=base, epochs=epochs, log_every=1, keep="last", phases=phases, then={},
                    monitors=False)  # fmt: skip

    def rate_at(step: int) -> float:
        return float(start * (end / start) ** min(step / (steps - 1), 1.0))

    def factor(done: float) -> float:
        return rate_at(round(done * per_epoch * epochs)) / base

    devices = [engine.device] if engine.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), isolated(settings.seed):
        try:
            objective, techniques = copy.deepcopy((objective, list(techniques)))
        except FlambeauError:
            raise
        except Exception as error:
            raise UsageError(
                f"the model cannot be copied to look for a learning rate ({first_line(error)})",
                fix="give learning_rate a number",
            ) from error
        if begin is not None:
            begin(objective)
        sweep = _Sweep(
            objective, engine, swept, train=train, valid=None, prepare=prepare, random=random, techniques=techniques,
            own=OwnSteps(own.optimizer, factor),
        )  # fmt: skip
        with reporter.bar("learning rate", steps) as bar:
            return sweep.sweep(steps, rate_at, bar.update)
