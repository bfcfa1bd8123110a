"""The newest figures of a training in a file that Prometheus's node exporter collects.

flambeau train photos/ --plugin examples/plugins/textfile_logger.py --log-to textfile
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from flambeau.training.loggers import LOGGERS, Logger


@LOGGERS.register("textfile")
class Textfile(Logger):
    """Lines of `flambeau_TAG VALUE` in `newest.prom`."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.newest: dict[str, float] = {}

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        self.newest |= {re.sub(r"\W", "_", tag): value for tag, value in numbers.items()} | {"step": step}
        lines = (f"flambeau_{tag} {value:g}\n" for tag, value in self.newest.items())
        part = self.folder / "newest.prom.tmp"
        part.write_text("".join(lines), encoding="utf-8")
        part.replace(self.folder / "newest.prom")
