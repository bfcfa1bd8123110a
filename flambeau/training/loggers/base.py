"""The contract of a Logger."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

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

    def close(self) -> None:
        """Writes what is left."""
