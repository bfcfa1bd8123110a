"""What the models of forecasts share: the level and the spread of each window are taken out, and put back."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.core.shapes import Float
from flambeau.fields import PastFuture
from flambeau.models.spec import InputSpec

LEVELS = ("last", "mean")
LEAST_SPREAD = 1e-3


class Forecaster(nn.Module):
    """A model that forecasts around each window's own level: the target's past without its level and over its spread
    goes in, and what comes out is scaled and shifted back. So a forecast follows a series wherever it wanders.

    Kim, Kim, Tae, Park, Choi, Choo, "Reversible instance normalization for accurate time-series forecasting against
    distribution shift", 2022; the last value as the level is Zeng et al.'s NLinear, 2022, arXiv:2205.13504.

    Args:
        spec: a history (C, L, K, H).
        num_outputs: H·Q.
        level: `last` for the last value, `mean` for the mean of the window.

    Shapes: PastFuture, (B, C, L) and (B, K, H), to (B, H·Q). Subclasses give (B, H, Q) in `steps`.
    """

    def __init__(self, spec: InputSpec, num_outputs: int, level: str):
        super().__init__()
        if level not in LEVELS:
            raise UsageError(f"no level is called '{level}'", expected=", ".join(LEVELS))
        self.channels, self.length, self.known, self.horizon = spec.shape
        self.quantiles = num_outputs // self.horizon
        self.level = level

    def steps(self, past: Float[Tensor, "B C L"], future: Float[Tensor, "B K H"]) -> Float[Tensor, "B H Q"]:
        """(B, C, L) and (B, K, H) to (B, H, Q), around the window's level."""
        raise NotImplementedError

    def forward(self, x: PastFuture) -> Float[Tensor, "B HQ"]:
        target = x.past[:, 0]
        mean = target.mean(1, keepdim=True)
        level = target[:, -1:] if self.level == "last" else mean
        spread = (target - mean).square().mean(1, keepdim=True).sqrt().clamp_min(LEAST_SPREAD)
        around = ((target - level) / spread)[:, None]
        past = torch.cat((around, x.past[:, 1:]), 1) if self.channels > 1 else around
        out = self.steps(past, x.future)
        return (out * spread[..., None] + level[..., None]).flatten(1)
