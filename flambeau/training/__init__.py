"""Training: the loop, the engine, schedules, checkpoints and logs."""

from flambeau.training.interrupts import Interrupted
from flambeau.training.settings import Settings
from flambeau.training.trainer import State, Trainer, evaluate

__all__ = ["Interrupted", "Settings", "State", "Trainer", "evaluate"]
