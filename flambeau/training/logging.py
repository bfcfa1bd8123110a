"""What a training writes down: `metrics.jsonl`, and what the loggers that are asked for make of the same figures."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from flambeau.core.errors import RunError
from flambeau.core.files import disk_full_named, parse_json, read_regular, to_json, write_atomic
from flambeau.core.registry import Asked
from flambeau.training.loggers import Logger, made

if TYPE_CHECKING:
    import polars as pl

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
    """Appends lines to `metrics.jsonl` under a run's folder, and gives their numbers to loggers.

    Args:
        folder: the run's folder; None to keep everything in memory only.
        loggers: as a recipe asks for them.
        resume_step, resume_epoch: lines of later steps, and of epochs that were not ended by then, are dropped: a
            resume does them again.
    """

    def __init__(
        self, folder: Path | None, resume_step: int | None = None, resume_epoch: int = 0, loggers: Sequence[Asked] = ()
    ):
        self.lines: list[dict[str, Any]] = []
        self._folder = folder or Path()
        self._file: Any = None
        self._loggers: list[Logger] = []
        if folder is None:
            return
        path = folder / "metrics.jsonl"
        if resume_step is not None and path.exists():
            self.lines = [
                line
                for line in read(path)
                if line["step"] <= resume_step and not ("train_loss" in line and line["epoch"] > resume_epoch)
            ]
            write_atomic(path, "".join(to_json(line, None) + "\n" for line in self.lines).encode())
        self._file = path.open("a" if resume_step is not None else "w", encoding="utf-8")
        self._loggers = [logger for asked in loggers if (logger := made(asked, folder)) is not None]

    def write(self, step: int, **values: Any) -> None:
        """One line of plain JSON; its numbers, nested ones too, go to the loggers."""
        line = {"step": step, **values}
        self.lines.append(line)
        if self._file is None:
            return
        with disk_full_named(Path(self._file.name)):
            self._file.write(to_json(line, None) + "\n")
            self._file.flush()
            numbers = _flat(values) if self._loggers else {}
            for logger in self._loggers:
                logger.write(step, numbers)

    def look(self, step: int, numbers: Mapping[str, float], values: Mapping[str, Tensor]) -> None:
        """Numbers and distributions that go to the loggers alone, by tag."""
        with disk_full_named(self._folder):
            for logger in self._loggers:
                logger.write(step, numbers)
                logger.histograms(step, values)

    def picture(self, step: int, tag: str, size: tuple[int, int], png: bytes) -> None:
        """A picture (width, height), to the loggers."""
        with disk_full_named(self._folder):
            for logger in self._loggers:
                logger.picture(step, tag, size, png)

    def graph(self, model: nn.Module, inputs: Any) -> None:
        """How a model's modules are connected, to the loggers."""
        with disk_full_named(self._folder):
            for logger in self._loggers:
                logger.graph(model, inputs)

    @property
    def silent(self) -> bool:
        """Whether no logger is there to write to."""
        return not self._loggers

    def close(self) -> None:
        """Writes what is left.

        Raises:
            RunError: the disk is full.
        """
        file, loggers, self._file, self._loggers = self._file, self._loggers, None, []
        if file is None:
            return
        with disk_full_named(Path(file.name)), contextlib.ExitStack() as closing:
            for logger in loggers:
                closing.callback(logger.close)
            closing.callback(file.close)
            os.fsync(file.fileno())


def history_of(lines: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Lines of `metrics.jsonl` as a tidy frame: step, epoch, split (`step` for what a step measured, else `train`,
    `valid` or what else an epoch has numbers of), metric, value.

    >>> history_of([{"step": 4, "epoch": 1, "train_loss": 0.5, "valid": {"accuracy": 0.75}}]).rows()
    [(4, 1, 'train', 'loss', 0.5), (4, 1, 'valid', 'accuracy', 0.75)]
    """
    import polars as pl

    rows = []
    for line in lines:
        for tag, value in _flat({n: v for n, v in line.items() if n not in ("step", "epoch")}).items():
            split, _, metric = tag.partition("/")
            if metric == "train_loss":
                metric = "loss"
            elif split == "train":
                split = "step"
            rows.append((line["step"], line.get("epoch"), split, metric, value))
    kinds = {"step": pl.Int64, "epoch": pl.Int64, "split": pl.String, "metric": pl.String, "value": pl.Float64}
    return pl.DataFrame(rows, kinds, orient="row")


def _flat(values: Mapping[str, Any]) -> dict[str, float]:
    """Numbers by tag: `train/loss`, `valid/accuracy`."""
    tagged: dict[str, Any] = {}
    for name, value in values.items():
        tagged |= {f"{name}/{k}": v for k, v in value.items()} if isinstance(value, dict) else {f"train/{name}": value}
    return {tag: float(number) for tag, number in tagged.items() if isinstance(number, (int, float))}


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
