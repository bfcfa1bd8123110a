"""The Learner, and what it decides before the first step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flambeau.learner.learner import Learner

__all__ = ["Learner"]


def __getattr__(name: str) -> Any:
    # when it is asked for: the rooms beside it are of use without all that a Learner needs
    if name != "Learner":
        raise AttributeError(f"module 'flambeau.learner' has no attribute '{name}'")
    from flambeau.learner.learner import Learner

    return Learner
