"""Models that fit themselves to the training rows at once, by scikit-learn, and answer by arrays and code of our own.
Importing this enters them in the registry."""

from flambeau.models.fitted.base import Examples, FittedModel, make_room
from flambeau.models.fitted.forecasts import RidgeLags, SeasonalNaive
from flambeau.models.fitted.nearest import Nearest
from flambeau.models.fitted.pooled import HogLinear, MelLinear, Ridge, Rocket
from flambeau.models.fitted.tfidf import TfidfLinear
from flambeau.models.fitted.trees import BoostedTrees

__all__ = [
    "BoostedTrees",
    "Examples",
    "FittedModel",
    "HogLinear",
    "MelLinear",
    "Nearest",
    "Ridge",
    "RidgeLags",
    "Rocket",
    "SeasonalNaive",
    "TfidfLinear",
    "make_room",
]
