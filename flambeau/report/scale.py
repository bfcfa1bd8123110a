"""Axes: from numbers to pixels, and the round numbers to write beside them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


def ticks(low: float, high: float, most: int = 5, whole: bool = False) -> list[float]:
    """Round numbers from `low` to `high`, about `most` of them; whole ones only if asked.

    >>> ticks(0, 1), ticks(1, 7, whole=True)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [2.0, 4.0, 6.0])
    """
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= raw * 0.999)
    if whole:
        step = float(max(1, math.ceil(step)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten, or the powers alone where that would be too many."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        candidates = [f * 10.0**e for e in exponents for f in factors if low <= f * 10.0**e <= high]
        if len(candidates) <= 7:
            break
    return candidates[:: math.ceil(len(candidates) / 7)] if candidates else [low, high]


def short(value: float) -> str:
    """A number in few characters.

    >>> short(0.25), short(12000.0), short(3e-05), short(-0.0)
    ('0.25', '12k', '3e-5', '0')
    """
    if value == 0:
        return "0"
    size = abs(value)
    if 1e4 <= size < 1e6:
        return f"{value / 1e3:.4g}k"
    if 1e6 <= size < 1e9:
        return f"{value / 1e6:.4g}M"
    shown = f"{value:.4g}"
    mantissa, e, exponent = shown.partition("e")
    return f"{mantissa}e{int(exponent)}" if e else shown


@dataclass(frozen=True)
class Scale:
    """A straight or logarithmic map of `low`…`high` to pixels `start`…`end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    whole: bool = False

    @classmethod
    def around(
        cls, values: Iterable[float], start: float, end: float, *, log: bool = False, room: float = 0.05,
        floor: float | None = None, ceiling: float | None = None, whole: bool = False,
    ) -> Scale:  # fmt: skip
        """The scale that holds all finite values and a little room, yet not beyond floor and ceiling."""
        finite = [v for v in values if math.isfinite(v) and (v > 0 or not log)] or [0.1, 1.0]
        low, high = min(finite), max(finite)
        if log:
            factor = (high / low) ** room if high > low else 1.5
            return cls(low / factor, high * factor, start, end, log=True)
        margin = (high - low) * room or abs(high) * 0.1 or 0.5
        low = low - margin if floor is None else max(low - margin, min(floor, low))
        high = high + margin if ceiling is None else min(high + margin, max(ceiling, high))
        if low == high:
            high = low + margin
        return cls(low, high, start, end, whole=whole)

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, most: int = 5) -> list[float]:
        """Where to write numbers."""
        if self.log:
            return log_ticks(self.low, self.high)
        return ticks(self.low, self.high, most, self.whole)

    def shows(self, value: float) -> bool:
        """Whether a value can be drawn."""
        return math.isfinite(value) and (value > 0 or not self.log)
