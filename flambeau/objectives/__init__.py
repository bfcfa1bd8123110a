"""Objectives: one file per way of training. A new way is a new file here, entered into OBJECTIVES."""

from flambeau.objectives.base import OBJECTIVES, Objective
from flambeau.objectives.supervised import Supervised

__all__ = ["OBJECTIVES", "Objective", "Supervised"]
