"""Objectives: one file per way of training. A new way is a new file here, entered into OBJECTIVES; losses, metrics and
tasks have registries of their own."""

from flambeau.objectives.base import OBJECTIVES, Context, Objective, defaults, made
from flambeau.objectives.losses import LOSSES
from flambeau.objectives.metrics import NamedMetric
from flambeau.objectives.names import METRICS
from flambeau.objectives.prediction import Prediction
from flambeau.objectives.supervised import Supervised
from flambeau.objectives.tasks import TASKS, Task

__all__ = [
    "LOSSES",
    "METRICS",
    "OBJECTIVES",
    "TASKS",
    "Context",
    "NamedMetric",
    "Objective",
    "Prediction",
    "Supervised",
    "Task",
    "defaults",
    "made",
]
