"""Signals, so that a training stops between two steps and not inside one."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from flambeau.core.errors import FlambeauError


class Interrupted(FlambeauError):
    """A training that was stopped by a signal after saving. `signal_number` says by which."""

    code = "stopped"

    def __init__(self, found: str, signal_number: int, **more: Any):
        super().__init__(found, **more)
        self.signal_number = signal_number


class Interrupts:
    """While entered, SIGINT and SIGTERM set `pending` and `received`; a second SIGINT stops at once.

    Args:
        shared: `received` is set by others, once all processes of a training know of the signal.
    """

    def __init__(self, shared: bool = False) -> None:
        self.pending: int | None = None
        self.received: int | None = None
        self._shared = shared
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.pending is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.pending = number
        if not self._shared:
            self.received = number

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
