"""The contract of a Logger."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from flambeau.core.errors import MissingExtra
from flambeau.core.registry import Asked, Registry, looked_up

LOGGERS: Registry[type[Logger]] = Registry("logger")


class Logger:
    """Where the figures of a training go. Arguments of the constructor behind `folder` are options, with defaults.

    Args:
        folder: the run's; what a logger keeps is kept below it.
    """

    extra: ClassVar[str] = ""
    """That its package comes with, where a training that asks for it cannot do without."""

    def __init__(self, folder: Path):
        self.folder = folder

    @classmethod
    def available(cls) -> bool:
        """Whether what it needs is installed."""
        return True

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Figures after a step, by tag, such as `train/loss` or `valid/accuracy`. A resume may write a step again."""
        raise NotImplementedError

    def histograms(self, step: int, values: Mapping[str, Tensor]) -> None:
        """The distribution of values after a step, by tag; a logger may leave them out."""

    def picture(self, step: int, tag: str, size: tuple[int, int], png: bytes) -> None:
        """A picture (width, height) after a step, as the bytes of a PNG; a logger may leave it out."""

    def graph(self, model: nn.Module, inputs: Any) -> None:
        """How the modules of a model are connected, seen with one input; a logger may leave it out.
        Raises what the model or the tracing of it raises."""

    def close(self) -> None:
        """Writes what is left."""


def check(asked: Asked) -> None:
    """Raises UsageError where there is no such logger or it has no such option, MissingExtra where it needs a package
    that is not here."""
    name, logger, _ = looked_up(LOGGERS, asked, 1)
    if logger.extra and not logger.available():
        raise MissingExtra(name, logger.extra, f"the logger {name}")


def made(asked: Asked, folder: Path) -> Logger | None:
    """The logger that a recipe asks for: a name, or {name: …, option: …}; None where it does without."""
    _, logger, options = looked_up(LOGGERS, asked, 1)
    return logger(folder, **options) if logger.available() else None
