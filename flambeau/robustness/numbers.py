"""What happens to numbers: of a row, or of the steps of a series. They come in standard deviations of the measured
rows, not centred, as float64 of any shape; a missing one is NaN."""

from __future__ import annotations

import numpy as np

from flambeau.robustness.corruption import Corruptions

NUMBERS = Corruptions("corruption of numbers")
COPIES = "copies of training rows with such"
STEPS = Corruptions("corruption of series")


@STEPS.enter(
    "noise",
    (0.1, 0.2, 0.4, 0.7, 1),
    "noise of {level:g} standard deviations",
    "copies of training rows with such noise",
)
@NUMBERS.enter(
    "noise",
    (0.1, 0.2, 0.4, 0.7, 1),
    "noise of {level:g} standard deviations",
    "copies of training rows with such noise",
)
def noise(numbers: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Normal noise on each number."""
    return numbers + level * rng.standard_normal(numbers.shape)


@STEPS.enter("missing", (0.05, 0.1, 0.2, 0.4, 0.6), "{level:.0%} of the steps missing", f"{COPIES} gaps")
@NUMBERS.enter("missing", (0.05, 0.1, 0.2, 0.4, 0.6), "{level:.0%} of the cells missing", f"{COPIES} gaps")
def missing(numbers: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Some of the numbers gone."""
    return np.where(rng.random(numbers.shape) < level, np.nan, numbers)


@NUMBERS.enter(
    "drift", (0.1, 0.25, 0.5, 1, 2), "every number higher by {level:g} standard deviations",
    "newer training rows, and differences or shares in place of levels",
)  # fmt: skip
def shift(numbers: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """All numbers higher, as after a change of what is measured."""
    return numbers + level


@NUMBERS.enter(
    "units", (0.01, 0.03, 0.1, 0.2, 0.4), "{level:.0%} of the numbers a thousand times as large",
    "`flambeau check` on new rows before they are predicted",
)  # fmt: skip
def units(numbers: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Some numbers in another unit, such as metres in place of kilometres."""
    return np.where(rng.random(numbers.shape) < level, 1000 * numbers, numbers)


@STEPS.enter(
    "drift", (0.1, 0.25, 0.5, 1, 2), "rising by {level:g} standard deviations over its steps",
    "each series scaled on its own (its field's `scale: row`), or newer training rows",
)  # fmt: skip
def ramp(numbers: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """A sensor that drifts; steps are the last axis."""
    return numbers + level * np.linspace(0, 1, numbers.shape[-1])


@STEPS.enter(
    "gain", (0.95, 0.9, 0.75, 0.5, 0.25), "all values times {level:g}",
    "each series scaled on its own (its field's `scale: row`)",
)  # fmt: skip
def gain(numbers: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Another scale, as of another sensor."""
    return numbers * level


def spread_of(numbers: np.ndarray) -> np.ndarray:
    """The standard deviation of what is known of numbers (N, …), 1 where it is 0 or nothing is known."""
    known = np.isfinite(numbers)
    count = np.maximum(known.sum(0), 1)
    centred = np.where(known, numbers, 0.0) - np.where(known, numbers, 0.0).sum(0) / count
    spread = np.sqrt((np.where(known, centred, 0.0) ** 2).sum(0) / count)
    return np.where(spread > 0, spread, 1.0)
