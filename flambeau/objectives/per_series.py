"""MASE of each series, and its mean over series."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy
import torch
from torch import Tensor

from flambeau.fields import Forecast, Views
from flambeau.fields.forecast import naive_error

LISTED = 1_000


class PerSeries:
    """The mean absolute error of each series over that of a seasonal naive forecast of its own training steps, and the
    mean of these over series: MASE as Hyndman & Koehler 2006 define it, where every series counts alike whatever its
    size. Memory grows with the number of series.

    Args:
        target: the column of a dataset, with the names of its series.
        train: its rows that were trained on, int64; where a series has none (other data than the training's), it is
            scaled by the training's error of all series together.
    """

    def __init__(self, field: Forecast, target: Views, train: np.ndarray):
        self.field, self.target = field, target
        covered = target.take(train).covered() if len(train) else np.zeros(len(target.flat), bool)
        flat = np.where(covered & np.isfinite(target.flat), target.flat, np.nan)
        edges = np.flatnonzero(np.diff(target.segments, prepend=-1, append=-1))
        own = np.zeros(int(target.segments.max(initial=0)) + 1)
        for start, end in itertools.pairwise(edges):
            own[target.segments[start]] = naive_error(flat[start:end], target.segments[start:end], field.season)
        self.naive = np.where(own > 0, own, field.naive_error)
        self.own = own > 0
        self.sums = torch.zeros(len(own), 2, dtype=torch.float64)  # steps, |e|

    def update(self, output: Tensor, target: Tensor, rows: Tensor) -> None:
        truth = torch.from_numpy(self.field.natural(target.cpu().numpy()))
        middle = torch.from_numpy(self.field.natural(output[..., self.field.middle].cpu().numpy()))
        known = ~truth.isnan()
        terms = torch.stack([known.sum(1).double(), ((middle - truth.nan_to_num()).abs() * known).sum(1)], 1)
        series = self.target.segments[self.target.starts[rows.cpu().numpy()]].astype(np.int64)
        self.sums.index_add_(0, torch.from_numpy(series), terms)

    def values(self) -> dict[str, float]:
        return {}

    def detail(self) -> dict[str, Any]:
        """{series: {mean_mase, interval, count, own, listed: [{series, mase, mae, steps}, …]}}, the worst first."""
        there = (self.sums[:, 0] > 0).numpy()
        steps, total = self.sums.numpy()[there].T
        mae, naive = total / steps, self.naive[there]
        mase = mae / naive
        names = [name for name, occurs in zip(self._names(), there, strict=True) if occurs]
        order = np.argsort(-mase, kind="stable")[:LISTED]
        listed = [
            {"series": names[i], "mase": float(mase[i]), "mae": float(mae[i]), "steps": int(steps[i])} for i in order
        ]
        mean, n = float(mase.mean()), len(mase)
        half = float(scipy.stats.t.ppf(0.975, n - 1) * mase.std(ddof=1) / n**0.5) if n > 1 else None
        interval = None if half is None else [max(mean - half, 0.0), mean + half]
        return {"series": {"mean_mase": mean, "interval": interval, "count": n, "own": bool(self.own[there].all()),
                           "listed": listed}}  # fmt: skip

    def _names(self) -> Sequence[str]:
        named = list(self.target.names) + [None] * len(self.sums)
        return [name or "the series" for name in named[: len(self.sums)]]
