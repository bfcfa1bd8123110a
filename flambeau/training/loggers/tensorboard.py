"""TensorBoard's event files, without torch.utils.tensorboard, whose import takes as long as a short training, and
without a thread, whose errors nobody would hear."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flambeau.training.loggers.base import LOGGERS, Logger


@LOGGERS.register("tensorboard")
class TensorBoard(Logger):
    """Scalars in an event file under `tensorboard/`."""

    def __init__(self, folder: Path):
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        super().__init__(folder / "tensorboard")
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():010.0f}.{socket.gethostname()}.{os.getpid()}.0"
        self._event, self._summary = Event, Summary
        self._writer = RecordWriter((self.folder / name).open("wb"))
        self._put(Event(wall_time=time.time(), file_version="brain.Event:2"))

    @classmethod
    def available(cls) -> bool:
        return find_spec("tensorboard") is not None

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        for tag, value in numbers.items():
            summary = self._summary(value=[self._summary.Value(tag=tag, simple_value=value)])
            self._put(self._event(wall_time=time.time(), step=step, summary=summary))
        self._writer.flush()

    def _put(self, event: Any) -> None:
        self._writer.write(event.SerializeToString())

    def close(self) -> None:
        self._writer.close()
