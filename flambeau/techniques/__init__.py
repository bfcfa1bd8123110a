"""Techniques: one file per trick. A new trick is a new file here, entered into TECHNIQUES."""

from flambeau.techniques.base import HOOKS, TECHNIQUES, Step, Technique, check_together, made
from flambeau.techniques.clip import Clip
from flambeau.techniques.early_stopping import EarlyStopping
from flambeau.techniques.ema import EMA
from flambeau.techniques.keyed import keyed, name_of, objects
from flambeau.techniques.label_smoothing import LabelSmoothing
from flambeau.techniques.mixes import Mixes
from flambeau.techniques.mixup import Mixup

__all__ = [
    "EMA",
    "HOOKS",
    "TECHNIQUES",
    "Clip",
    "EarlyStopping",
    "LabelSmoothing",
    "Mixes",
    "Mixup",
    "Step",
    "Technique",
    "check_together",
    "keyed",
    "made",
    "name_of",
    "objects",
]
