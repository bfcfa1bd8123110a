"""Early stopping: Prechelt 1998, "Early stopping — but when?". Costs nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from flambeau.core.errors import require
from flambeau.techniques.base import TECHNIQUES, Technique

if TYPE_CHECKING:
    from flambeau.objectives import Objective


@TECHNIQUES.register("early_stopping")
class EarlyStopping(Technique):
    """Stops when the monitored metric has not improved for `patience` epochs."""

    settings = ("patience",)
    shards = True

    def __init__(self, patience: int = 3):
        require(patience >= 1, f"a patience of {patience}", "1 epoch or more")
        self.patience = patience
        self._best: float | None = None
        self._waited = 0

    def on_fit_start(self, objective: Objective) -> None:
        self._monitor, self._higher = objective.monitor, objective.higher_is_better
        self._best, self._waited = None, 0

    def on_epoch_end(self, epoch: int, metrics: dict[str, float]) -> str | None:
        if self._monitor not in metrics:
            return None
        value = metrics[self._monitor] * (1 if self._higher else -1)
        if math.isfinite(value) and (self._best is None or value > self._best):
            self._best, self._waited = value, 0
            return None
        self._waited += 1
        if self._waited < self.patience:
            return None
        return f"{self._monitor} has not improved for {self.patience} epochs"

    def state_dict(self) -> dict[str, Any]:
        return {"best": self._best, "waited": self._waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._best, self._waited = state["best"], state["waited"]
