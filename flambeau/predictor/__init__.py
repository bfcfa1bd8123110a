"""The Predictor: raw input in, decoded prediction out; of one model, of several together, and over several views."""

from flambeau.objectives.prediction import Prediction
from flambeau.predictor.base import Predictor, Reading
from flambeau.predictor.building import rows_of

__all__ = ["Prediction", "Predictor", "Reading", "rows_of"]
