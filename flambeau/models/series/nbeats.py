"""N-BEATS: blocks of fully connected layers, each of which explains a part of the past and adds to the forecast.

Oreshkin, Carpov, Chapados, Bengio, "N-BEATS: neural basis expansion analysis for interpretable time series
forecasting", 2019, arXiv:1905.10437, in its generic form; what else is known goes in beside the past as in Olivares,
Challu, Marcjasz, Weron, Dubrawski, "Neural basis expansion analysis with exogenous variables: NBEATSx", 2021,
arXiv:2104.05522.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flambeau.models.layers import activation as activation_of
from flambeau.models.series.parts import Forecaster
from flambeau.models.spec import OWN, InputSpec


class Block(nn.Module):
    """What is left of the past (B, L), and all else that is known (B, E), to a part of the past and one of the
    forecast: (B, L) and (B, H·Q)."""

    def __init__(self, length: int, extra: int, outputs: int, width: int, layers: int, dropout: float, activation: str):
        super().__init__()
        body: list[nn.Module] = []
        for i in range(layers):
            body += [nn.Linear(width if i else length + extra, width), activation_of(activation)]
        self.body = nn.Sequential(*body, nn.Dropout(dropout))
        self.backcast = nn.Linear(width, length)
        self.forecast = nn.Linear(width, outputs)
        nn.init.zeros_(self.forecast.weight)  # a block adds nothing until it has learned something
        nn.init.zeros_(self.forecast.bias)

    def forward(self, past: Tensor, extra: Tensor) -> tuple[Tensor, Tensor]:
        x = self.body(torch.cat((past, extra), 1))
        return self.backcast(x), self.forecast(x)


@OWN.register("nbeats", kinds=("history",))
class NBeats(Forecaster):
    """Blocks one behind the other, each given what the ones before left of the past; their forecasts are summed, with
    one linear map of the past.

    Args:
        spec, num_outputs, level: see `Forecaster`.
        blocks: how many.
        width, layers: of each block's fully connected part.
        dropout: probability, behind it.
        context: steps of the past that other channels than the target are taken from, the last ones; as many as the
            horizon if not given.
        activation: a name of `flambeau.models.layers.ACTIVATIONS`.
    """

    def __init__(
        self, spec: InputSpec, num_outputs: int, blocks: int = 3, width: int = 128, layers: int = 3,
        dropout: float = 0.3, context: int | None = None, level: str = "last", activation: str = "relu",
    ):  # fmt: skip
        super().__init__(spec, num_outputs, level)
        self.context = min(self.horizon if context is None else context, self.length)
        # what is known ahead is known of the past too, and told of the future only
        self.others = self.channels - 1 - self.known
        extra = self.others * self.context + self.known * self.horizon
        self.blocks = nn.ModuleList(
            Block(self.length, extra, num_outputs, width, layers, dropout, activation) for _ in range(blocks)
        )
        self.linear = nn.Linear(self.length, num_outputs)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def steps(self, past: Tensor, future: Tensor) -> Tensor:
        others = past[:, 1 : 1 + self.others, self.length - self.context :]
        extra = torch.cat((others.flatten(1), future.flatten(1)), 1)
        left = past[:, 0]
        out = self.linear(left)
        for block in self.blocks:
            explained, part = block(left, extra)
            left, out = left - explained, out + part
        return out.view(out.shape[0], self.horizon, self.quantiles)
