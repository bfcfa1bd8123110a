"""What a training writes down: `metrics.jsonl` for programs, TensorBoard events for people."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from flambeau.core.files import disk_full_named, write_atomic


class Log:
    """Appends lines to `metrics.jsonl` and scalars to TensorBoard event files, both under a run's folder.

    Args:
        folder: the run's folder; None to keep everything in memory only.
        resume_step, resume_epoch: lines of later steps, and of epochs that were not ended by then, are dropped: a
            resume does them again.
    """

    def __init__(self, folder: Path | None, resume_step: int | None = None, resume_epoch: int = 0):
        self.lines: list[dict[str, Any]] = []
        self._file: Any = None
        self._board: Any = None
        if folder is None:
            return
        path = folder / "metrics.jsonl"
        if resume_step is not None and path.exists():
            self.lines = [
                line for line in read(path)
                if line["step"] <= resume_step and not ("train_loss" in line and line["epoch"] > resume_epoch)
            ]  # fmt: skip
            write_atomic(path, "".join(json.dumps(line) + "\n" for line in self.lines).encode())
        self._file = path.open("a" if resume_step is not None else "w", encoding="utf-8")
        self._board = _event_writer(folder / "tensorboard")

    def write(self, step: int, **values: Any) -> None:
        """One line of plain JSON; its numbers, nested ones too, go to TensorBoard."""
        line = {"step": step, **values}
        self.lines.append(line)
        if self._file is None:
            return
        with disk_full_named(Path(self._file.name)):
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
            if self._board is not None:
                for name, value in values.items():
                    for tag, number in ({f"{name}/{k}": v for k, v in value.items()} if isinstance(value, dict)
                                        else {f"train/{name}": value}).items():  # fmt: skip
                        if isinstance(number, (int, float)):
                            self._board(tag, float(number), step)
                self._board.flush()

    def close(self) -> None:
        """Writes what is left.

        Raises:
            RunError: the disk is full.
        """
        file, board, self._file, self._board = self._file, self._board, None, None
        if file is None:
            return
        with disk_full_named(Path(file.name)), contextlib.ExitStack() as closing:
            if board is not None:
                closing.callback(board.close)
            closing.callback(file.close)
            os.fsync(file.fileno())


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a `metrics.jsonl`; a last line cut short by a crash is left out."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


class _Events:
    """TensorBoard scalars without torch.utils.tensorboard, whose import takes as long as a short training, and
    without a thread, whose errors nobody would hear."""

    def __init__(self, folder: Path):
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():010.0f}.{socket.gethostname()}.{os.getpid()}.0"
        self._event, self._summary = Event, Summary
        self._writer = RecordWriter((folder / name).open("wb"))
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def __call__(self, tag: str, value: float, step: int) -> None:
        summary = self._summary(value=[self._summary.Value(tag=tag, simple_value=value)])
        self._write(self._event(wall_time=time.time(), step=step, summary=summary))

    def _write(self, event: Any) -> None:
        self._writer.write(event.SerializeToString())

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def _event_writer(folder: Path) -> _Events | None:
    from importlib.util import find_spec

    return _Events(folder) if find_spec("tensorboard") else None
