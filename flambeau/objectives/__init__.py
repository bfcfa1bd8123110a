"""Objectives: one file per way of training. A new way is a new file here, entered into OBJECTIVES."""

from flambeau.objectives.base import OBJECTIVES, Context, Objective, defaults, made
from flambeau.objectives.supervised import Supervised

__all__ = ["OBJECTIVES", "Context", "Objective", "Supervised", "defaults", "made"]
