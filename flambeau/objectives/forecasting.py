"""Forecasts: the loss of quantiles, and how good forecasts are beside what was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.core.shapes import Float
from flambeau.fields import Forecast
from flambeau.objectives.classification import Worst
from flambeau.objectives.intervals import GROUPS, Grouped, groups_of

NEIGHBOURS = 4  # horizons of windows one after another that are in one group
SHOWN = 4  # forecasts that the report draws, beside the worst
ENOUGH = 2  # validation steps that must lie outside a quantile for it to be moved: of 20 or more, for 0.9


class Pinball:
    """The quantile loss: Koenker & Bassett, "Regression quantiles", 1978. Steps without a target (NaN) do not count.

    Called with output (B, H·Q) and target (B, H); gives the mean, or one number a sample (`reduction="none"`).
    """

    __name__ = "pinball"

    def __init__(self, quantiles: list[float]):
        self.quantiles = quantiles

    def __call__(
        self, output: Float[Tensor, "B HQ"], target: Float[Tensor, "B H"], reduction: str = "mean"
    ) -> Float[Tensor, ""] | Float[Tensor, " B"]:
        output = output.view(*target.shape, len(self.quantiles))
        known = ~target.isnan()
        error = target.nan_to_num()[..., None] - output
        levels = torch.tensor(self.quantiles, dtype=output.dtype, device=output.device)
        loss = torch.maximum(levels * error, (levels - 1) * error).mean(-1) * known
        if reduction == "none":
            return loss.sum(1) / known.sum(1).clamp_min(1)
        return loss.sum() / known.sum().clamp_min(1)


def in_order(output: Tensor, field: Forecast, spread: Sequence[float]) -> Tensor:
    """Output (B, H·Q) as quantiles (B, H, Q), those that cross put in order, and their distance
    from the middle one scaled by `spread`."""
    quantiles = output.float().view(output.shape[0], -1, len(field.quantiles)).sort(-1).values
    if set(spread) == {1.0}:
        return quantiles
    middle = quantiles[..., field.middle, None]
    return (middle + (quantiles - middle) * torch.tensor(spread, device=output.device)).sort(-1).values


def spreads(output: np.ndarray, target: np.ndarray, quantiles: Sequence[float], middle: int) -> list[float]:
    """For each quantile the factor to its distance from the middle one with which it holds what it says.

    Split conformal prediction with a score relative to the width that the model gives: Romano, Patterson, Candès,
    "Conformalized quantile regression", 2019, https://arxiv.org/abs/1905.03222; each quantile for itself, all steps
    ahead together. As the quantile of n scores is taken at (n + 1) / n of its level there, it is here, n being how many
    windows do not overlap (and at most half way to 1): steps beside each other err alike, and later ones err more than
    those that the epoch was chosen by. Series change, so there is no guarantee as in that paper.

    Args:
        output: (N, H, Q), in order. target: (N, H), NaN where a step is missing.
    """
    error = (target - output[..., middle])[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = error / (output - output[..., middle, None])
    factors = []
    apart = max(len(output) / output.shape[1], 1.0)
    for i, quantile in enumerate(quantiles):
        level = max(quantile, 1 - quantile)
        known = ratio[..., i][np.isfinite(ratio[..., i])]
        few = len(known) * (1 - level) < ENOUGH
        at = min(level + level / apart, (1 + level) / 2)
        factors.append(1.0 if i == middle or few else max(float(np.quantile(known, at)), 0.0))
    return factors


class Forecasting(Grouped):
    """MASE, sMAPE, mean absolute and root mean squared error of the middle quantile, in natural units; and the share of
    steps that lie between the outer quantiles.

    MASE is the mean absolute error over that of a seasonal naive forecast of the training steps (Hyndman & Koehler
    2006), of all series together; sMAPE is 200·|y-ŷ| / (|y|+|ŷ|) in percent (Makridakis 1993).
    """

    def __init__(self, field: Forecast, detail: bool, spread: Sequence[float] = ()):
        self.field, self.keep, self.spread = field, detail, list(spread)
        self.sums = torch.zeros(GROUPS, 5, dtype=torch.float64)  # n, |e|, e², sMAPE, inside
        self.by_step = torch.zeros(2, field.horizon, dtype=torch.float64)  # n, |e|
        self.worst = Worst()
        self.shown: list[dict[str, Any]] = []
        self._seen, self._every = 0, 1
        self._points = False  # numbers, as of a simple rival, without quantiles around them

    def update(self, output: Tensor, target: Tensor, rows: Tensor) -> None:
        truth = torch.from_numpy(self.field.natural(target.cpu().numpy()))  # (B, H)
        guess = torch.from_numpy(self.field.natural(output.cpu().numpy()))
        guess = guess if guess.ndim == 3 else guess[..., None]  # a rival's, one number a step
        self._points |= guess.shape[-1] == 1
        middle = guess[..., self.field.middle if guess.shape[-1] > 1 else 0]
        known = ~truth.isnan()
        filled = truth.nan_to_num()
        error = (middle - filled).abs() * known
        spread = (middle.abs() + filled.abs()).clamp_min(1e-12)
        inside = (filled >= guess[..., 0]) & (filled <= guess[..., -1]) & known
        terms = (known, error, error.square(), 200 * error / spread, inside)
        # windows that overlap are not independent: neighbours are in one group
        groups = groups_of(rows, NEIGHBOURS * self.field.horizon)
        self.sums.index_add_(0, groups, torch.stack([term.double().sum(1) for term in terms], 1))
        self.by_step += torch.stack([known.sum(0).double(), error.sum(0)])
        if not self.keep:
            return
        mean = error.sum(1) / known.sum(1).clamp_min(1)

        def tell(i: int) -> dict[str, Any]:
            return {"true": _short(truth[i]), "predicted": _short(middle[i])}

        self.worst.offer(mean, rows, tell)
        for i, row in enumerate(rows.tolist()):
            # ever fewer of ever more, so that those kept lie evenly over all
            if self._seen % self._every == 0:
                quantiles = guess[i].T.tolist()
                self.shown.append(
                    {"row": row, "true": [None if v != v else v for v in truth[i].tolist()], "quantiles": quantiles}
                )
                if len(self.shown) >= 2 * SHOWN:
                    self.shown, self._every = self.shown[::2], 2 * self._every
            self._seen += 1

    @property
    def count(self) -> int:
        return int(self.sums[:, 0].sum())

    def score(self, sums: Tensor) -> dict[str, Tensor]:
        n, absolute, squared, relative, inside = sums.unbind(1)
        n = n.clamp_min(1)
        found = {
            "mase": absolute / n / self.field.naive_error,
            "smape": relative / n,
            "mae": absolute / n,
            "rmse": (squared / n).sqrt(),
        }
        return found | ({} if self._points else {"coverage": inside / n})

    def detail(self) -> dict[str, Any]:
        count, absolute = self.by_step.tolist()
        by_step = [a / max(c, 1.0) for c, a in zip(count, absolute, strict=True)]
        return {"kind": "forecast", "worst": self.worst.listed(), "forecasts": self.shown[:SHOWN], "by_step": by_step,
                "quantiles": self.field.quantiles, "naive_error": self.field.naive_error,
                "spread": self.spread}  # fmt: skip


def _short(values: Tensor) -> str:
    numbers = [f"{v:.4g}" for v in values[:3].tolist()]
    return ", ".join(numbers) + (", …" if len(values) > 3 else "")
