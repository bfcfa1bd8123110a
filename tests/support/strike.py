"""A plug-in: sends one of several processes a signal after a step, once in a folder."""

from __future__ import annotations

import os
from pathlib import Path

from flambeau.objectives import Objective
from flambeau.techniques import TECHNIQUES, Technique


@TECHNIQUES.register("strike")
class Strike(Technique):
    """Sends the process `rank` the signal `number` after step `at`."""

    name = "strike"
    settings = ("at", "rank", "number")
    shards = True  # it looks at none

    def __init__(self, at: int = 12, rank: int = 0, number: int = 9):
        self.at, self.rank, self.number = at, rank, number

    def on_step_end(self, objective: Objective, step: int) -> None:
        struck = Path("struck")
        if step + 1 == self.at and os.environ.get("RANK") == str(self.rank) and not struck.exists():
            struck.touch()
            os.kill(os.getpid(), self.number)
