"""Recurrent forecasters: an LSTM (Hochreiter & Schmidhuber 1997) or a GRU (Cho et al. 2014) reads the past, and layers
behind it give all steps that follow."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flambeau.models.layers import activation as activation_of
from flambeau.models.series.parts import Forecaster
from flambeau.models.spec import OWN, InputSpec


@OWN.register("lstm-forecaster", kinds=("history",), cell=nn.LSTM)
@OWN.register("gru-forecaster", kinds=("history",), cell=nn.GRU)
class RecurrentForecaster(Forecaster):
    """All channels of the past through a recurrent layer; its last state beside what is known ahead through two layers.

    Args:
        spec, num_outputs, level: see `Forecaster`.
        cell: the recurrent layer's class.
        width: of its state.
        layers: how many, one on the other.
        dropout: probability, between layers and before the head.
        activation: of the head, a name of `flambeau.models.layers.ACTIVATIONS`.
    """

    def __init__(
        self, spec: InputSpec, num_outputs: int, width: int = 64, layers: int = 1, dropout: float = 0.1,
        level: str = "last", activation: str = "relu",
        cell: type[nn.LSTM] | type[nn.GRU] = nn.LSTM,
    ):  # fmt: skip
        super().__init__(spec, num_outputs, level)
        self.recurrent = cell(self.channels, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.head = nn.Sequential(
            nn.Linear(width + self.known * self.horizon, 2 * width), activation_of(activation), nn.Dropout(dropout),
            nn.Linear(2 * width, num_outputs),
        )  # fmt: skip

    def steps(self, past: Tensor, future: Tensor) -> Tensor:
        states, _ = self.recurrent(past.transpose(1, 2))
        out = self.head(torch.cat((states[:, -1], future.flatten(1)), 1))
        return out.view(out.shape[0], self.horizon, self.quantiles)
