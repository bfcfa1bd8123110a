"""Training: the loop, the engine, schedules, checkpoints and logs."""

from flambeau.training.find_lr import RateCurve
from flambeau.training.fitting import Fitting
from flambeau.training.interrupts import Interrupted
from flambeau.training.measure import Prepare, Source, calibrate, evaluate, initialise
from flambeau.training.settings import Settings
from flambeau.training.state import State
from flambeau.training.trainer import Trainer

__all__ = ["Fitting", "Interrupted", "Prepare", "RateCurve", "Settings", "Source", "State", "Trainer", "calibrate",
           "evaluate", "initialise"]  # fmt: skip
