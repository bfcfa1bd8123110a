"""What a training writes down: `metrics.jsonl` for programs, TensorBoard events for people."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from flambeau.core.errors import RunError
from flambeau.core.files import disk_full_named, parse_json, read_regular, to_json, write_atomic

Numbers = dict[str, float | None]  # None: it was not finite


class Line(BaseModel):
    """What a line of `metrics.jsonl` holds: of some steps, or of an epoch."""

    model_config = ConfigDict(strict=True, extra="allow")
    step: int
    epoch: int
    loss: float | None = None
    learning_rate: float = 0.0
    train_loss: float | None = None
    valid: Numbers = {}
    speed: Numbers = {}


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
            write_atomic(path, "".join(to_json(line, None) + "\n" for line in self.lines).encode())
        self._file = path.open("a" if resume_step is not None else "w", encoding="utf-8")
        self._board = _event_writer(folder / "tensorboard")

    def write(self, step: int, **values: Any) -> None:
        """One line of plain JSON; its numbers, nested ones too, go to TensorBoard."""
        line = {"step": step, **values}
        self.lines.append(line)
        if self._file is None:
            return
        with disk_full_named(Path(self._file.name)):
            self._file.write(to_json(line, None) + "\n")
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
    """The lines of a `metrics.jsonl`; last lines that a crash has cut short are left out.

    Raises:
        RunError: another line is damaged; it names which.
    """
    lines: list[dict[str, Any]] = []
    bad: tuple[int, str] | None = None
    for number, text in enumerate(read_regular(path).splitlines(), 1):
        try:
            line = parse_json(text)
            Line.model_validate(line)
            line = {n: numbers(v) if n in ("valid", "speed") else v for n, v in line.items()}
            line |= numbers({n: line[n] for n in ("loss", "train_loss") if n in line})
        except ValueError as error:
            bad = bad or (number, " ".join(str(error).split())[:120])
            continue
        if bad is not None:
            raise RunError(f"line {bad[0]} is damaged ({bad[1]})", where=path, fix="take that line out of the file")
        lines.append(line)
    return lines


def numbers(values: Mapping[str, float | None]) -> dict[str, float]:
    """Numbers as they were before JSON, which has none that is not finite."""
    return {name: math.nan if value is None else value for name, value in values.items()}


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
