"""What many raw values are like, in a few numbers as plain JSON: how often each name is there, how numbers lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

BINS = 24


def counted(names: Iterable[str]) -> dict[str, Any]:
    """How often each name is there, the most frequent first.

    >>> counted(["b", "a", "b"])
    {'counts': {'b': 2, 'a': 1}}
    """
    return {"counts": dict(Counter(names).most_common())}


def spread(values: np.ndarray, unit: str = "") -> dict[str, Any]:
    """How numbers lie: {low, high, median, bins: counts in bins of equal width, unit}; empty for none that is finite.

    `low` and `high` hold all but the outermost half percent of each end, so that a few cannot hide how the rest lie;
    the first and the last bin hold those too.

    >>> spread(np.array([0.0, 1.0, 2.0, np.nan]))["median"]
    1.0
    """
    known = values[np.isfinite(values)].astype(np.float64)
    if not len(known):
        return {}
    low, median, high = np.quantile(known, (0.005, 0.5, 0.995)).tolist()
    whole = bool((known == np.round(known)).all())
    if whole and high - low < BINS:  # a bar for each whole number
        low, high = np.floor(low) - 0.5, np.ceil(high) + 0.5
        count = round(high - low)
    else:
        count = BINS if high > low else 1
    bins, _ = np.histogram(np.clip(known, low, high), count, (low, high) if high > low else None)
    ends = {"least": float(known.min()), "most": float(known.max())}
    return {"low": float(low), "high": float(high), "median": median, **ends, "bins": bins.tolist(), "unit": unit}
