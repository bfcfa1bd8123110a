"""Where the time of a step goes, sampled so that measuring costs nothing that one could measure."""

from __future__ import annotations

import time

from flambeau.training.engine import Engine

PARTS = ("data", "forward", "backward", "step")
EVERY = 8  # steps between two that are timed; each of those waits for the device after each part


class Stopwatch:
    """Shares of time in data, forward, backward and optimiser step, over every eighth step."""

    def __init__(self, engine: Engine):
        self._wait = engine.synchronise if engine.device.type != "cpu" else None
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._on = False
        self._since = 0.0

    def start(self, step: int) -> None:
        """At the beginning of each step, before its data is asked for."""
        self._on = step % EVERY == 0
        if self._on:
            if self._wait:
                self._wait()
            self._since = time.perf_counter()

    def lap(self, part: str) -> None:
        """After a part of the step."""
        if self._on:
            if self._wait:
                self._wait()
            now = time.perf_counter()
            self.seconds[part] += now - self._since
            self._since = now

    def shares(self) -> dict[str, float]:
        """Each part's share, together 1."""
        total = sum(self.seconds.values()) or 1.0
        return {part: round(seconds / total, 4) for part, seconds in self.seconds.items()}
