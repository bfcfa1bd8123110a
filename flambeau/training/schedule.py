"""Learning-rate schedules: a factor of the base rate as a pure function of the share of the training that is done."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping

from flambeau.core.errors import UsageError, shown
from flambeau.core.registry import Asked, Registry, looked_up, name_and_options, options_of
from flambeau.training.plateau import Plateau
from flambeau.training.settings import AUTO, USUAL

Schedule = Callable[[float], float]
SCHEDULES: Registry[Callable[..., float]] = Registry("schedule")
AFTER = 1
"""The first argument is the share of the training that is done; those after it are options that a recipe may set,
`schedule: {name: step, every: 0.25}`."""


SHARE = (lambda share: 0 <= share < 1, "a share, from 0 on and below 1")
FITS: Mapping[str, tuple[Callable[[float], bool], str]] = {
    "every": (lambda share: 0 < share <= 1, "a share above 0, at most 1"),
    "warmup": SHARE, "decay": SHARE, "start": SHARE, "end": SHARE,
    "factor": (lambda factor: factor > 0, "a number above 0"),
    "multiplier": (lambda factor: factor > 0, "a number above 0"),
    "cycles": (lambda cycles: cycles >= 1, "1 or more"),
}  # fmt: skip
"""What options of the schedules here may be, and how that is told."""


@SCHEDULES.register("one_cycle")
def one_cycle(done: float, warmup: float = 0.25, start: float = 0.04, end: float = 1e-4) -> float:
    """Cosine up from `start` to 1 over the first `warmup`, cosine down to `end`: Smith & Topin 2018, arXiv:1708.07120.

    >>> round(one_cycle(0.0), 4), one_cycle(0.25), round(one_cycle(1.0), 4)
    (0.04, 1.0, 0.0001)
    """
    if done < warmup:
        return start + (1 - start) * (1 - math.cos(math.pi * done / warmup)) / 2
    return end + (1 - end) * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup))) / 2


@SCHEDULES.register("cosine")
def cosine(done: float) -> float:
    """Cosine from 1 to 0: Loshchilov & Hutter 2017, arXiv:1608.03983."""
    return (1 + math.cos(math.pi * done)) / 2


@SCHEDULES.register("linear")
def linear(done: float) -> float:
    """Straight from 1 to 0."""
    return 1 - done


@SCHEDULES.register("constant")
def constant(done: float) -> float:
    """Always 1."""
    return 1.0


@SCHEDULES.register("cosine_restarts")
def cosine_restarts(done: float, cycles: float = 3, multiplier: float = 2.0) -> float:
    """Cosines from 1 to 0, each `multiplier` times as long as the one before: Loshchilov & Hutter 2017,
    arXiv:1608.03983. With 3 cycles that double they begin at 0, 1/7 and 3/7 of the training."""
    lengths = [multiplier**i for i in range(max(int(cycles), 1))]
    place = done * sum(lengths)
    while place >= lengths[0] and len(lengths) > 1:
        place -= lengths.pop(0)
    return cosine(min(place / lengths[0], 1.0))


@SCHEDULES.register("step")
def step(done: float, every: float = 1 / 3, factor: float = 0.1) -> float:
    """Multiplied by `factor` after each share `every` of the training, as in He et al. 2016, arXiv:1512.03385."""
    return float(factor ** math.floor(done / every + 1e-9))


@SCHEDULES.register("exponential")
def exponential(done: float, end: float = 0.01) -> float:
    """From 1 to `end`, by the same share in each step."""
    return float(end**done)


@SCHEDULES.register("wsd")
def wsd(done: float, warmup: float = 0.05, decay: float = 0.2) -> float:
    """Warm-up, stable, decay: straight up over `warmup`, 1, straight to 0 over the last `decay`: Hu et al. 2024,
    arXiv:2404.06395."""
    return max(0.0, min(1.0, done / warmup if warmup else 1.0, (1 - done) / decay if decay else 1.0))


@SCHEDULES.register("plateau")
def plateau(done: float, patience: float = 2, factor: float = 0.1, warmup: float = 0.0) -> float:
    """1, times `factor` each time that the monitored metric has not improved for more than `patience` epochs; up from 0
    over `warmup`. What epochs reach is known to `Plateau` alone, which `named` gives."""
    return min(1.0, done / warmup) if warmup else 1.0


def warmed(done: float, schedule: Schedule, warmup: float) -> float:
    """Straight up from 0 over `warmup`, then a schedule over the rest.

    >>> [round(warmed(done, cosine, 0.2), 2) for done in (0, 0.1, 0.2, 0.6, 1)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    return schedule(0.0) * done / warmup if done < warmup else schedule((done - warmup) / (1 - warmup))


def named(asked: Asked, warmup: float = 0.25) -> Schedule:
    """The schedule of a name, or of {name: …, option: …}, the usual one of auto; each takes `warmup`, the share in
    which the rate rises.

    Args:
        warmup: that of one_cycle.

    Raises:
        UsageError: there is none, or it has no such option; or the warm-up is no share.
    """
    name, options = name_and_options(USUAL["schedule"] if asked == AUTO else asked)
    rise = options.pop("warmup", None) if "warmup" not in options_of(SCHEDULES[name], AFTER) else None
    name, function, options = looked_up(SCHEDULES, {"name": name, **options}, AFTER)
    if rise is not None:
        if not isinstance(rise, float | int) or not 0 < rise < 1:
            raise UsageError(f"warmup={shown(rise)} does not fit", expected="a share above 0 and below 1")
        return functools.partial(warmed, schedule=functools.partial(function, **options), warmup=rise)
    if function is not plateau and function.__module__ == __name__:
        for option, value in options.items():
            fits, expected = FITS[option]
            if not fits(value):
                raise UsageError(f"{option}={shown(value)} of the schedule {name} does not fit", expected=expected)
    if function is plateau:
        return Plateau(**options)
    return functools.partial(function, **({"warmup": warmup} if name == "one_cycle" else {}) | options)
