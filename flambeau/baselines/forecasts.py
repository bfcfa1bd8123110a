"""Naive forecasts: what a window's own end says of the steps after it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flambeau.baselines.rows import Budget, Guess, Rival, Rows


def naive(rows: Rows) -> list[Rival]:
    """The last value; the values a season before, where the window is that long; the last value and the window's mean
    slope (drift). Hyndman & Athanasopoulos, "Forecasting: principles and practice", 2021, chapter 5.2."""
    name = rows.dataset.inputs[0]
    length, horizon = rows.dataset.fields[name].past_steps, rows.y.shape[1]
    if not length:
        return []
    ahead = np.arange(1, horizon + 1)

    def rival(rule: Callable[[np.ndarray], np.ndarray]) -> Callable[[Budget], Guess]:
        def guess(of: Rows, held_out: np.ndarray) -> np.ndarray:
            windows = of.gathered(name, held_out)
            return np.concatenate([rule(window[:, :length, 0].cpu().numpy()) for window in windows])

        return lambda budget: guess

    def seasonal(season: int) -> Callable[[np.ndarray], np.ndarray]:
        return lambda past: past[:, length - season + (ahead - 1) % season]

    def drift(past: np.ndarray) -> np.ndarray:
        slope = (past[:, -1:] - past[:, :1]) / max(length - 1, 1)
        return (past[:, -1:] + slope * ahead).astype(np.float32)

    found = [Rival("naive: the last value", rival(lambda past: np.repeat(past[:, -1:], horizon, 1)))]
    for season in rows.task.seasons:
        if 1 < season <= length:
            found.append(Rival(f"seasonal naive: {season} steps ago", rival(seasonal(season))))
    return [*found, Rival("drift", rival(drift))]
