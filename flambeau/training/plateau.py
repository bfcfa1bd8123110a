"""A schedule that follows what each epoch reaches: the rate falls where that no longer improves. By torch's
ReduceLROnPlateau, on an optimiser that has the factor for its rate; its state is part of a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from flambeau.core.errors import UsageError


class Plateau:
    """A factor of the learning rate, called with the share of the training that is done.

    Args:
        make: from an optimiser to the scheduler; if not given, the factor is multiplied by `factor` when the monitored
            metric has not improved for more than `patience` epochs.
        warmup: the share of the training in which the factor rises from 0.

    Raises:
        UsageError: a factor or a patience does not fit.
    """

    def __init__(self, make: Callable[[Any], ReduceLROnPlateau] | None = None, *, patience: int = 2,
                 factor: float = 0.1, warmup: float = 0.0):  # fmt: skip
        if not (0 < factor < 1 and patience >= 0 and 0 <= warmup < 1):
            raise UsageError(
                f"the schedule plateau does not take patience={patience}, factor={factor}, warmup={warmup}",
                expected="epochs from 0 on, a factor between 0 and 1, a share below 1",
            )
        self._warmup, self._by_merit = warmup, make is None
        self._optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        self.scheduler = make(self._optimizer) if make is not None else ReduceLROnPlateau(
            self._optimizer, mode="max", factor=factor, patience=int(patience), threshold=0.0, threshold_mode="abs"
        )  # fmt: skip

    def __call__(self, done: float) -> float:
        rising = min(1.0, done / self._warmup) if self._warmup else 1.0
        return float(self._optimizer.param_groups[0]["lr"]) * rising

    def end_epoch(self, metrics: Mapping[str, float], monitor: str, higher_is_better: bool) -> None:
        """Follows the monitored metric; a scheduler of the user's that wants more of what is better as less, or the
        other way round, follows the loss."""
        score = metrics.get(monitor, -metrics["loss"] if higher_is_better else metrics["loss"])
        if self._by_merit:
            value = score if higher_is_better else -score
        else:
            value = score if (self.scheduler.mode == "max") == higher_is_better else metrics["loss"]
        self.scheduler.step(value)

    def state_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"scheduler": self.scheduler.state_dict(), "factor": self._optimizer.param_groups[0]["lr"]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        self.scheduler.load_state_dict(state["scheduler"])
        self._optimizer.param_groups[0]["lr"] = state["factor"]
