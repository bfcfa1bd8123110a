"""Aim: figures, pictures and the recipe's settings, as a run in a repository of its own."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from PIL import Image

from flambeau.core.errors import RunError, first_line
from flambeau.core.files import read_json, write_json
from flambeau.training.loggers.base import LOGGERS, Logger
from flambeau.training.loggers.mlflow import settings_of

KEPT = "aim.json"  # which run of the repository a folder is, so that a resume goes on in it


@LOGGERS.register("aim")
class Aim(Logger):
    """A run of Aim; `aim up --repo runs` shows those of the folder `runs`.

    Args:
        repo: the folder that has its repository `.aim`, made where there is none, or the address of a server
            (aim://host:port); the folder that the run's lies in, if not given.
        experiment: whose run it is.
    """

    extra = "aim"

    def __init__(self, folder: Path, repo: str = "", experiment: str = "flambeau"):
        super().__init__(folder)
        import aim

        self._image, self._repo = aim.Image, repo or str(folder.resolve().parent)
        known: Any = read_json(folder / KEPT)["run"] if (folder / KEPT).exists() else None
        with self._telling():
            self._run = aim.Run(known, repo=self._repo, experiment=experiment, force_resume=bool(known),
                                system_tracking_interval=None, capture_terminal_logs=False)  # fmt: skip
            if known is None:
                self._run.name, self._run["settings"] = folder.resolve().name, settings_of(folder)
        write_json(folder / KEPT, {"run": self._run.hash})

    @classmethod
    def available(cls) -> bool:
        return find_spec("aim") is not None

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        with self._telling():
            for tag, value in numbers.items():
                self._run.track(value, name=tag, step=step)

    def picture(self, step: int, tag: str, size: tuple[int, int], png: bytes) -> None:
        with self._telling(), Image.open(io.BytesIO(png), formats=["PNG"]) as opened:
            self._run.track(self._image(opened.convert("RGB")), name=tag, step=step)

    def close(self) -> None:
        with self._telling():
            self._run.close()

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, OSError, ValueError) as error:  # it has no errors of its own
            fix = "give a folder that can be written to, repo=, or leave the logger out"
            told = f"the figures cannot be written ({first_line(error)})"
            raise RunError(told, where=self._repo, fix=fix) from None
