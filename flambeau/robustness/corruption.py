"""Corruptions: what happens to raw values outside the laboratory, each at five severities.

D. Hendrycks, T. Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", 2019,
https://arxiv.org/abs/1903.12261.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from flambeau.core.registry import Registry

SEVERITIES = 5
Change: TypeAlias = Callable[[Any, float, np.random.Generator], Any]
"""A value, a level and what is drawn to a value of the same form. What is drawn does not depend on the level, so that a
value that is spoilt at one severity is spoilt more at the next."""


@dataclass(frozen=True)
class Corruption:
    """One way in which values are spoilt.

    Attributes:
        change: see `Change`.
        levels: how strong at the severities 1 to 5, the mildest first.
        words: what it does, with `{level}` in it.
        cure: what hardens a model against it, in a clause.
        moves: whether things in a picture get another place, which boxes and masks would not follow.
    """

    change: Change
    levels: tuple[float, float, float, float, float]
    words: str
    cure: str
    moves: bool = False

    def within(self, opened: Callable[[Any], Any], closed: Callable[[Any, Any], Any]) -> Corruption:
        """The same for raw values: `opened` gives the form that it changes, `closed` a raw value of (raw, changed)."""
        return replace(self, change=lambda raw, level, rng: closed(raw, self.change(opened(raw), level, rng)))


class Corruptions(Registry[Corruption]):
    """The corruptions of one kind of data by name; a plug-in adds its own.

    >>> letters = Corruptions("corruption of letters")
    >>> @letters.enter("shout", (1, 2, 3, 4, 5), "{level} exclamation marks", "augment with punctuation")
    ... def shout(text, level, rng):
    ...     return text + "!" * level
    >>> letters["shout"].change("no", 2, None)
    'no!!'
    """

    def enter(
        self, name: str, levels: tuple[float, float, float, float, float], words: str, cure: str, moves: bool = False
    ) -> Callable[[Change], Change]:
        """A decorator that enters what changes a value; see `Corruption`."""

        def register(change: Change) -> Change:
            self.register(name)(Corruption(change, levels, words, cure, moves))
            return change

        return register

    def within(self, opened: Callable[[Any], Any], closed: Callable[[Any, Any], Any]) -> dict[str, Corruption]:
        """All of them for raw values; see `Corruption.within`."""
        return {name: one.within(opened, closed) for name, one in self.items()}
