"""The Learner, and what it decides before the first step."""

from flambeau.learner.learner import Learner

__all__ = ["Learner"]
