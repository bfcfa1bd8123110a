"""`kill -9` at any instant: the resumed training ends with the same bytes as one that was left alone."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

LATER = ("step", "checkpoint", "validation")


def kill_in(moment: str, training: Any, random: random.Random) -> str | None:
    """Starts or resumes, kills at a moment of this kind, and says by what was left behind which it really hit.

    None if the training came to its end first.
    """
    before = training.step()
    command = training.start()
    if moment == "encode":
        command.until(lambda: training.encoding(command))
        spin(random.uniform(0, 0.02))
    elif moment == "validation":
        command.until(lambda: training.step() > before and training.validating())
    else:
        at = before + random.randint(1, 6)
        command.until(lambda: training.step() >= at and training.saving(command) == (moment == "checkpoint"))
        spin(random.uniform(0, 0.001))
    if command.kill() == 0 or training.finished:
        return None
    assert command.status == -9, command.err
    if training.encoding(command):
        return "encode"
    if training.saving(command):
        return "checkpoint"
    return "validation" if training.validating() else "step"


def spin(seconds: float) -> None:
    """Lets a random time pass, so that kills fall on all parts of a moment."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def kill_all(moments: Sequence[str], make: Callable[..., Any], expected: Any, random: random.Random) -> Counter[str]:
    """Kills at each of the moments in turn, in as few trainings as they fit into; each must end as expected.

    Returns:
        how many kills fell on each kind of moment.
    """
    hits: Counter[str] = Counter()
    left, number, training = list(moments), 0, make("0")
    while left:
        if (left[0] == "encode" and training.commands) or training.finished or number > 3 * len(moments):
            assert training.finish().result() == expected
            number += 1
            assert number <= 3 * len(moments), f"only these were hit: {hits}"
            training = make(str(number))
        hit = kill_in(left[0], training, random)
        if hit is not None:
            hits[hit] += 1
            left.pop(0)
    assert training.finish().result() == expected
    return hits


def test_one_kill_of_each_kind(training: Callable[..., Any], undisturbed: Any) -> None:
    hits = kill_all(("encode", "checkpoint", "step", "validation"), training, undisturbed, random.Random(0))
    assert hits.total() == 4


@pytest.mark.slow
def test_twenty_kills(training: Callable[..., Any], undisturbed: Any) -> None:
    chance = random.Random(20)
    moments = [m for _ in range(5) for m in ("encode", *chance.sample(LATER, 3))]
    hits = kill_all(moments, training, undisturbed, chance)
    assert hits.total() == 20
    assert all(hits[kind] >= 2 for kind in ("encode", *LATER)), hits
