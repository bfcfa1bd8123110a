"""Trainings that take a tenth of a second: real digits, a small network with dropout, and ways to stop them."""

from __future__ import annotations

import os
import signal
from typing import Any

from flambeau.objectives import Objective, Supervised
from flambeau.testing import small
from flambeau.testing.small import CPU, ROWS, Stopped, digits, identical, network, stored, trainer, weights

__all__ = ["CPU", "ROWS", "Stop", "Stopped", "digits", "identical", "network", "stored", "supervised", "terminated_at",
           "trainer", "weights"]  # fmt: skip


def supervised(kind: str = "category", **options: Any) -> Supervised:
    """A fresh objective for `stored(kind)`."""
    target = stored(kind)[0].fields["y"]
    return Supervised(network(target.num_outputs, **options), target)


class Stop(small.Stop):
    """Ends a training after so many steps: by an exception, or by a signal to this process."""

    def __init__(self, step: int | None = None, by: int | None = None):
        super().__init__(step)
        self.by = by

    def on_step_end(self, objective: Objective, step: int) -> None:
        if self.by is None:
            super().on_step_end(objective, step)
        elif step + 1 == self.step:
            os.kill(os.getpid(), self.by)


def terminated_at(step: int) -> Stop:
    """SIGTERM at a step."""
    return Stop(step, signal.SIGTERM)
