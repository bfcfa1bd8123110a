"""Forecasts that need no epochs: the season before, and ridge regression on what was."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.core.shapes import Float
from flambeau.fields import PastFuture
from flambeau.models.fitted.base import Examples, FittedModel
from flambeau.models.spec import OWN, InputSpec

MOST_WINDOWS, MOST_CELLS = 100_000, 60_000_000
SEASONS = (1, 2, 3, 4, 5, 6, 7, 12, 14, 24, 28, 30, 48, 52, 60, 90, 96, 144, 168, 180, 288, 336, 365)
"""Steps of a cycle that are tried where none is given, as far as the window has them."""
PENALTIES = np.logspace(-2, 5, 15)
LEAST_SPREAD = 1e-3


class Ahead(FittedModel):
    """A forecast of each step ahead, and around it the quantiles of how far it was off on rows that it was not fitted
    to; on training rows where there are no others.

    Args:
        spec: a history (C, L, K, H).
        num_outputs: H·Q.

    Attributes:
        offsets: float64 (H, Q), by the spread of each window.

    Shapes: PastFuture, (B, C, L) and (B, K, H), to (B, H·Q). Subclasses give float64 (B, H) in `steps`.
    """

    offsets: Tensor

    def __init__(self, spec: InputSpec, num_outputs: int):
        super().__init__()
        self.channels, self.length, self.known, self.horizon = spec.shape
        self.quantiles = num_outputs // self.horizon
        self.register_buffer("offsets", torch.zeros(self.horizon, self.quantiles, dtype=torch.float64))

    def steps(self, x: PastFuture) -> Float[Tensor, "B H"]:
        """The middle of what is forecast."""
        raise NotImplementedError

    def learn(self, train: Examples, valid: Examples | None) -> str:
        """What `fit` does before the quantiles are known."""
        raise NotImplementedError

    def forward(self, x: PastFuture) -> Float[Tensor, "B HQ"]:
        out = self.steps(x)[:, :, None] + self.offsets * self.spread(x)[:, :, None]
        return out.flatten(1).float()

    def spread(self, x: PastFuture) -> Float[Tensor, "B 1"]:
        """How far each window's steps are from its mean."""
        target = x.past[:, 0].double()
        return (target - target.mean(1, keepdim=True)).square().mean(1, keepdim=True).sqrt().clamp_min(LEAST_SPREAD)

    def fit(self, train: Examples, valid: Examples | None) -> str:
        told = self.learn(train, valid)
        if self.quantiles > 1:
            self._measure(valid or train)
        return told

    def _measure(self, examples: Examples) -> None:
        """Quantiles of the errors at each step."""
        said, truth, _ = examples.gathered(lambda x: torch.cat((self.steps(x), self.spread(x)), 1), MOST_WINDOWS)
        errors = (truth - said[:, :-1]) / said[:, -1:]
        levels = np.asarray(examples.levels)
        with np.errstate(all="ignore"):
            found = np.nan_to_num(np.nanquantile(errors, levels, axis=0)).T
        middle = int(np.abs(levels - 0.5).argmin())  # the forecast itself, which lies between the others
        found[:, :middle], found[:, middle + 1 :] = found[:, :middle].clip(max=0), found[:, middle + 1 :].clip(min=0)
        found[:, middle] = 0.0
        self.keep(offsets=found)


@OWN.register("seasonal-naive", kinds=("history",), fitted=True)
class SeasonalNaive(Ahead):
    """What was a season before: Hyndman & Athanasopoulos, "Forecasting: principles and practice", 2021, chapter 5.2.

    Args:
        season: steps of a cycle; chosen by the training rows if not given; 1 for the last value.

    Attributes:
        cycle: of its length, the season.

    Raises:
        UsageError: a window has no whole season.
    """

    cycle: Tensor

    def __init__(self, spec: InputSpec, num_outputs: int, season: int | None = None):
        super().__init__(spec, num_outputs)
        if season is not None and not 1 <= season <= self.length:
            raise UsageError(f"season={season} does not fit", expected=f"1 to {self.length}, as long as a window")
        self.season = season
        self.register_buffer("cycle", torch.zeros(season or 1))

    def steps(self, x: PastFuture) -> Float[Tensor, "B H"]:
        return self._ahead(x, self.cycle.shape[0])

    def _ahead(self, x: PastFuture, season: int) -> Tensor:
        places = self.length - season + torch.arange(self.horizon, device=x.past.device) % season
        return x.past[:, 0].double()[:, places]

    def learn(self, train: Examples, valid: Examples | None) -> str:
        if self.season is not None:
            return f"a season of {self.season} steps"
        tried = [season for season in SEASONS if season <= self.length]
        most = min(MOST_WINDOWS, max(1000, MOST_CELLS // (len(tried) * self.horizon)))
        said, truth, _ = train.gathered(lambda x: torch.stack([self._ahead(x, s) for s in tried], 1), most)
        errors = np.nanmean(np.abs(said - truth[:, None]), axis=(0, 2))
        best = tried[int(np.argmin(errors))]
        self.keep(cycle=np.zeros(best))
        return f"a season of {best} step{'s' * (best > 1)}, which errs least on training rows"


@OWN.register("ridge-lags", kinds=("history",), fitted=True)
class RidgeLags(Ahead):
    """Ridge regression of each step ahead on all that a window has, and on what is known of the steps ahead; the last
    value of each window is taken out and put back, so that a forecast follows a series wherever it wanders.

    Args:
        lags: steps of the window's end that are looked at; all if not given.

    Attributes:
        mean, scale: float64 (D) of the features; matrix float64 (D, H), bias float64 (H).

    Raises:
        UsageError: it looks at no step.
    """

    mean: Tensor
    scale: Tensor
    matrix: Tensor
    bias: Tensor

    def __init__(self, spec: InputSpec, num_outputs: int, lags: int | None = None):
        super().__init__(spec, num_outputs)
        if lags is not None and not 1 <= lags <= self.length:
            raise UsageError(f"lags={lags} do not fit", expected=f"1 to {self.length}, as long as a window")
        self.lags = lags or self.length
        width = self.channels * self.lags + self.known * self.horizon
        for name, value in (
            ("mean", torch.zeros(width)),
            ("scale", torch.ones(width)),
            ("matrix", torch.zeros(width, self.horizon)),
            ("bias", torch.zeros(self.horizon)),
        ):
            self.register_buffer(name, value.double())

    def features(self, x: PastFuture) -> Float[Tensor, "B D"]:
        """The window without its level, then the other channels, then what is known ahead."""
        past = x.past.double()[:, :, -self.lags :]
        around = past[:, :1] - past[:, :1, -1:]
        return torch.cat((around.flatten(1), past[:, 1:].flatten(1), x.future.double().flatten(1)), 1)

    def steps(self, x: PastFuture) -> Float[Tensor, "B H"]:
        ahead = (self.features(x) - self.mean) / self.scale @ self.matrix + self.bias
        return ahead + x.past.double()[:, 0, -1:]

    def learn(self, train: Examples, valid: Examples | None) -> str:
        most = min(MOST_WINDOWS, max(1000, MOST_CELLS // len(self.mean)))
        x, y, level = self._known(train, most)
        mean, deviation = x.mean(0), x.std(0)
        scale = np.where(deviation > 1e-9, deviation, np.inf)
        x, bias = (x - mean) / scale, (y - level).mean(0)
        held = (x[:0], y[:0], level[:0]) if valid is None else self._known(valid, most)
        held_x = (held[0] - mean) / scale
        best: tuple[float, Any] = (np.inf, None)
        values, vectors = np.linalg.eigh(x.T @ x)
        rotated = vectors.T @ (x.T @ (y - level - bias))
        for penalty in PENALTIES if len(held_x) else (1.0,):
            matrix = vectors @ (rotated / (values.clip(0)[:, None] + penalty))
            error = float(np.abs(held_x @ matrix + bias + held[2] - held[1]).mean()) if len(held_x) else 0.0
            if error < best[0]:
                best = error, (penalty, matrix)
        penalty, matrix = best[1]
        self.keep(mean=mean, scale=scale, matrix=matrix, bias=bias)
        return f"{len(mean):,} numbers of a window, penalty {penalty:.3g}"

    def _known(self, examples: Examples, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Features, targets and levels (N, 1) of the windows whose steps ahead are all known."""

        def both(x: PastFuture) -> Tensor:
            return torch.cat((self.features(x), x.past.double()[:, 0, -1:]), 1)

        x, y, _ = examples.gathered(both, most)
        whole = np.isfinite(y).all(1)
        x, y = x[whole], y[whole].astype(np.float64)
        return x[:, :-1], y, x[:, -1:]
