"""The figures of a training as one table of step, tag and value, which any spreadsheet reads."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from flambeau.training.loggers.base import LOGGERS, Logger

NAME = "figures.csv"


@LOGGERS.register("csv")
class Table(Logger):
    """Rows of `step,tag,value` in `figures.csv`. Of a step that a resume takes again the last row holds."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        begun = (folder / NAME).exists()
        self._file = (folder / NAME).open("a", encoding="utf-8", newline="")
        self._rows = csv.writer(self._file, lineterminator="\n")
        if not begun:
            self._rows.writerow(("step", "tag", "value"))

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        self._rows.writerows((step, tag, repr(value)) for tag, value in numbers.items())
        self._file.flush()

    def close(self) -> None:
        self._file.close()
