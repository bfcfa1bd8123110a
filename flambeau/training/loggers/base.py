"""The contract of a Logger."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from flambeau.core.registry import Registry

LOGGERS: Registry[type[Logger]] = Registry("logger")


class Logger:
    """Where the figures of a training go.

    Args:
        folder: the run's; what a logger keeps is kept below it.
    """

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
