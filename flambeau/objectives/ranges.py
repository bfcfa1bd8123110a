"""Errors of numbers by range: whether small numbers are told as well as large ones, and in which direction it errs."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.fields import Number
from flambeau.objectives.intervals import Z

MOST = 2**16  # rows that are kept; of more an even share
BINS, LEAST = 10, 8
"""Ranges of equally many rows, each of at least so many."""


class ByRange:
    """Mean error, mean absolute error and root mean squared error by range of the truth, and by range of what was
    predicted, in the target's own units; of up to 65,536 rows, chosen by their numbers."""

    def __init__(self, field: Number):
        self.field = field
        self.every = 1
        self.kept = torch.zeros(0, 3, dtype=torch.float64)  # hash of the row, true, predicted

    def update(self, output: Tensor, target: Tensor, rows: Tensor) -> None:
        truth, guess = (
            torch.from_numpy(np.asarray(self.field.natural(x.cpu().double().reshape(target.shape).numpy())))
            for x in (target, output)
        )
        mixed = ((rows.cpu().long() * 2654435761) % 2**32 >> 8).double()  # as in `groups_of`
        self.kept = torch.cat([self.kept, torch.stack([mixed, truth.reshape(-1), guess.reshape(-1)], 1)])
        self._thin()

    def _thin(self) -> None:
        self.kept = self.kept[self.kept[:, 0] % self.every == 0]
        while len(self.kept) > MOST:
            self.every *= 2
            self.kept = self.kept[self.kept[:, 0] % self.every == 0]

    def values(self) -> dict[str, float]:
        return {}

    def detail(self) -> dict[str, Any]:
        """{ranges: {true, predicted: [{low, high, count, bias, mae, mae_interval, rmse}, …]}}; empty for few rows."""
        _, truth, guess = self.kept[self.kept.isfinite().all(1)].numpy().T
        found = {name: _ranges(by, guess - truth) for name, by in (("true", truth), ("predicted", guess))}
        return {"ranges": found} if len(truth) >= 2 * LEAST else {}


def _ranges(by: np.ndarray, error: np.ndarray) -> list[dict[str, Any]]:
    edges = np.unique(np.quantile(by, np.linspace(0, 1, min(BINS, len(by) // LEAST) + 1))) if len(by) else by
    places = np.searchsorted(edges[1:-1], by, side="right")
    found = []
    for i, (low, high) in enumerate(itertools.pairwise(edges)):
        e = error[places == i]
        if not len(e):
            continue
        mae = float(np.abs(e).mean())
        half = Z * float(np.abs(e).std(ddof=1)) / len(e) ** 0.5 if len(e) > 1 else 0.0
        found.append({"low": float(low), "high": float(high), "count": len(e), "bias": float(e.mean()), "mae": mae,
                      "mae_interval": [max(mae - half, 0.0), mae + half],
                      "rmse": float(np.sqrt(np.square(e).mean()))})  # fmt: skip
    return found
