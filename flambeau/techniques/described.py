"""What a technique says of itself: its options, and its docstrings taken apart. The command and the docs show this."""

from __future__ import annotations

import inspect
import re
from dataclasses import asdict, dataclass
from typing import Any

from flambeau.core.registry import options_of
from flambeau.techniques.base import TECHNIQUES, Technique

COSTS = re.compile(r"\b(?:Costs|Saves) .*?\.(?= [A-Z]|$)")
GAIN = re.compile(r"\bGain: .*?\.(?= [A-Z]|$)")


@dataclass(frozen=True)
class Description:
    """A technique in words.

    Attributes:
        name: that a recipe calls it by.
        what: it does, from the docstring of its class.
        options: with their defaults.
        paper: what its file says it is from.
        costs: of the file too: a sentence.
        gain: likewise; empty where it says nothing.
    """

    name: str
    what: str
    options: dict[str, Any]
    paper: str
    costs: str
    gain: str

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


def described(kind: type[Technique]) -> Description:
    """A technique by the docstrings of its class and of the file that has it.

    >>> clip = described(TECHNIQUES["clip"])
    >>> clip.options, clip.paper
    ({'norm': 1.0}, 'Gradient clipping by norm: Pascanu et al. 2013, arXiv:1211.5063.')
    """
    file = " ".join((inspect.getdoc(inspect.getmodule(kind)) or "").split())
    costs, gain = (found[0] if (found := pattern.search(file)) else "" for pattern in (COSTS, GAIN))
    paper = " ".join(GAIN.sub("", COSTS.sub("", file)).split())
    what = " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())
    options = {name: default for name, default in options_of(kind, 0).items() if name in kind.settings}
    return Description(kind.name, what, options, paper, costs, gain)


def all_described() -> list[Description]:
    """All techniques by name, those of plug-ins too."""
    return [described(TECHNIQUES[name]) for name in sorted(TECHNIQUES)]
