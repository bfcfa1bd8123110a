"""Forecast: the next steps of a series, as a target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.core.errors import DataError, UsageError
from flambeau.fields.base import FIELDS, Encoding, Field
from flambeau.fields.columns import Views

QUANTILES = (0.1, 0.5, 0.9)


@FIELDS.register("forecast")
class Forecast(Field):
    """The next H steps of a series (H). Encoded as float32 (H), standardised by the training rows; NaN where a step is
    missing: it is neither learned nor measured.

    Args:
        quantiles: which quantiles of each step a model gives, each between 0 and 1, rising; the middle one is the
            forecast. `[0.5]` for one number a step.
        seasons: how many steps its cycles have, such as 48 and 336 for half-hours; the first is what MASE is scaled by,
            and 1 where there is none.
    """

    task = "forecast"
    target_only = True
    settings = ("quantiles", "seasons")
    fitted = ("horizon", "mean", "std", "naive_error")

    def __init__(self, quantiles: Sequence[float] = QUANTILES, seasons: Sequence[int] = ()):
        quantiles = [quantiles] if isinstance(quantiles, (int, float)) else [float(q) for q in quantiles]
        if not quantiles or sorted(set(quantiles)) != quantiles or not (quantiles[0] > 0 and quantiles[-1] < 1):
            raise UsageError(
                f"quantiles {quantiles} do not fit", expected="rising, between 0 and 1, such as [0.1, 0.5, 0.9]"
            )
        self.quantiles, self.seasons = quantiles, [int(s) for s in seasons]
        self.horizon = 1
        self.mean, self.std = 0.0, 1.0
        self.naive_error = 1.0
        """Mean absolute error, in natural units, of a seasonal naive forecast of the training steps."""

    @property
    def source_options(self) -> dict[str, Any]:
        return {"season": self.seasons, "quantiles": self.quantiles}

    @property
    def summary(self) -> str:
        return f"forecast of {self.reading_words}"

    @property
    def reading_words(self) -> str:
        return f"{self.horizon} step{'s' * (self.horizon > 1)}"

    @property
    def season(self) -> int:
        """Steps of the shortest cycle, or 1."""
        return self.seasons[0] if self.seasons else 1

    @property
    def middle(self) -> int:
        """Which of the quantiles is the forecast: the one nearest to 0.5."""
        return int(np.argmin(np.abs(np.asarray(self.quantiles) - 0.5)))

    def fit(self, values: Sequence[Any]) -> None:
        if not isinstance(values, Views):  # windows apart
            apart = [a for v in values if (a := _steps(v)) is not None]
            horizon = max((len(a) for a in apart), default=1)
            apart = [a for a in apart if len(a) == horizon]
            values = Views(np.concatenate([np.zeros(0), *apart]), np.arange(len(apart)) * horizon, horizon,
                           np.arange(len(apart)).repeat(horizon))  # fmt: skip
        self.horizon = values.length
        covered = values.covered()
        known = values.flat[covered]
        known = known[np.isfinite(known)]
        if not len(known):
            raise DataError("no target of the training rows is known")
        self.mean, self.std = float(known.mean()), float(known.std()) or 1.0
        flat = np.where(covered & np.isfinite(values.flat), values.flat, np.nan)
        self.naive_error = naive_error(flat, values.segments, self.season) or self.std

    @property
    def answer_shape(self) -> tuple[int, ...]:
        return (self.horizon,)

    @property
    def encoding(self) -> Encoding:
        return Encoding(np.dtype(np.float32), (self.horizon,))

    @property
    def num_outputs(self) -> int:
        return self.horizon * len(self.quantiles)

    def encode_flat(self, values: Views) -> np.ndarray:
        return ((values.flat - self.mean) / self.std).astype(np.float32)

    def encode(self, value: Any) -> np.ndarray:
        array = _steps(value)
        if array is None or len(array) != self.horizon:
            raise DataError(f"{value!r:.60} is no forecast", expected=f"{self.horizon} numbers")
        if np.isinf(array).any() or np.isnan(array).all():
            raise DataError("a step is infinite" if np.isinf(array).any() else "no step is known")
        return ((array - self.mean) / self.std).astype(np.float32)

    def natural(self, standard: np.ndarray) -> np.ndarray:
        """Encoded numbers in natural units, float64."""
        return np.asarray(standard, np.float64) * self.std + self.mean

    def decode(self, output: np.ndarray) -> np.ndarray:
        """Output (H, Q) to natural units."""
        return self.natural(output.reshape(self.horizon, len(self.quantiles)))


def _steps(value: Any) -> np.ndarray | None:
    """A raw value as float64 (H); None where it is none."""
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        return None
    return array if array.ndim == 1 and len(array) else None


def naive_error(flat: np.ndarray, segments: np.ndarray, season: int) -> float:
    """The mean absolute difference of steps `season` apart in the same series; 0 where there are none.

    What MASE is scaled by: Hyndman & Koehler, "Another look at measures of forecast accuracy", 2006.
    """
    if season >= len(flat):
        return 0.0
    difference = np.abs(flat[season:] - flat[:-season])[segments[season:] == segments[:-season]]
    difference = difference[np.isfinite(difference)]
    return float(difference.mean()) if len(difference) else 0.0
