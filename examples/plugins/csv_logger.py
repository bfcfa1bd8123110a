"""The figures of a training as one table of step, tag and value.

flambeau train photos/ --plugin examples/plugins/csv_logger.py --set training.loggers=[csv]
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flambeau.training.loggers import LOGGERS, Logger


@LOGGERS.register("csv")
class CSV(Logger):
    """Lines of `step,tag,value` in `figures.csv`."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.file = (folder / "figures.csv").open("a", encoding="utf-8")

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        self.file.writelines(f"{step},{tag},{value:g}\n" for tag, value in numbers.items())

    def close(self) -> None:
        self.file.close()
