"""Weights & Biases: figures and pictures as a run of a project; `mode=offline` writes them beside the run."""

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

KEPT = "wandb.json"  # which run of the project a folder is, so that a resume goes on in it


@LOGGERS.register("wandb")
class WandB(Logger):
    """A run of Weights & Biases, whose files lie under `wandb/` in the run's folder.

    Args:
        project: whose run it is.
        mode: online, offline (send it later by `wandb sync`) or disabled; as WANDB_MODE says, if not given.
    """

    extra = "wandb"

    def __init__(self, folder: Path, project: str = "flambeau", mode: str = ""):
        super().__init__(folder)
        import wandb

        kept = folder / KEPT
        known: Any = read_json(kept)["run"] if kept.exists() else None
        self._failed, self._image = wandb.Error, wandb.Image
        with self._telling():
            self._run = wandb.init(
                project=project, name=folder.resolve().name, dir=str(folder), id=known, mode=mode or None,
                resume="allow" if known else None, config=settings_of(folder), settings=wandb.Settings(silent=True),
            )  # fmt: skip
        write_json(kept, {"run": self._run.id})

    @classmethod
    def available(cls) -> bool:
        return find_spec("wandb") is not None

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        with self._telling():
            self._run.log(dict(numbers), step=step)

    def picture(self, step: int, tag: str, size: tuple[int, int], png: bytes) -> None:
        with self._telling(), Image.open(io.BytesIO(png), formats=["PNG"]) as opened:
            self._run.log({tag: self._image(opened.convert("RGB"))}, step=step)

    def close(self) -> None:
        with self._telling():
            self._run.finish()

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except (self._failed, OSError) as error:
            raise RunError(f"the figures cannot be written ({first_line(error)})", where="wandb",
                           fix="log in by `wandb login`, or say mode=offline") from None  # fmt: skip
