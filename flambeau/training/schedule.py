"""Learning-rate schedules: a factor of the base rate as a pure function of the share of the training that is done."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from flambeau.core.errors import UsageError, nearest

Schedule = Callable[[float], float]


def one_cycle(done: float, warmup: float = 0.25, start: float = 0.04, end: float = 1e-4) -> float:
    """Cosine up from `start` to 1 over the first `warmup`, cosine down to `end`: Smith & Topin 2018, arXiv:1708.07120.

    >>> round(one_cycle(0.0), 4), one_cycle(0.25), round(one_cycle(1.0), 4)
    (0.04, 1.0, 0.0001)
    """
    if done < warmup:
        return start + (1 - start) * (1 - math.cos(math.pi * done / warmup)) / 2
    return end + (1 - end) * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup))) / 2


def cosine(done: float) -> float:
    """Cosine from 1 to 0: Loshchilov & Hutter 2017, arXiv:1608.03983."""
    return (1 + math.cos(math.pi * done)) / 2


def linear(done: float) -> float:
    """Straight from 1 to 0."""
    return 1 - done


def constant(done: float) -> float:
    """Always 1."""
    return 1.0


SCHEDULES: dict[str, Schedule] = {"one_cycle": one_cycle, "cosine": cosine, "linear": linear, "constant": constant}


def named(name: str, warmup: float = 0.25) -> Schedule:
    """The schedule of a name; `warmup` is the share that one_cycle rises in.

    Raises:
        UsageError: there is none.
    """
    if name not in SCHEDULES:
        raise UsageError(f"no schedule is called '{name}'", fix=nearest(name, SCHEDULES))
    return functools.partial(one_cycle, warmup=warmup) if name == "one_cycle" else SCHEDULES[name]
