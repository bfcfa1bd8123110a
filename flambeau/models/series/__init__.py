"""Our own networks for series, each readable in one sitting. Importing this enters them in the registry."""

from flambeau.models.series.convolutional import TCN, InceptionTime, ResNet1d
from flambeau.models.series.linear import DLinear
from flambeau.models.series.nbeats import NBeats
from flambeau.models.series.recurrent import RecurrentForecaster

__all__ = ["TCN", "DLinear", "InceptionTime", "NBeats", "RecurrentForecaster", "ResNet1d"]
