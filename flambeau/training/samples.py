"""What a model makes of the same noise after each epoch, as small pictures in the run: `samples/epoch-0001.png`, … At
most `MOST` of them are kept, from all over the training. It costs one pass of the model that makes them an epoch, and
leaves training as it would be without."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from PIL import Image

from flambeau.core.files import write_atomic
from flambeau.core.randomness import isolated
from flambeau.models.cut import evaluating

if TYPE_CHECKING:
    from pathlib import Path

    from flambeau.training.trainer import Trainer

FOLDER = "samples"
MOST = 60


class Samples:
    """Draws them with the weights that an evaluation has, and gives them to the loggers too."""

    def __init__(self, trainer: Trainer, folder: Path):
        self._trainer, self._folder = trainer, folder / FOLDER
        self._every = -(-(trainer.settings.epochs or 1) // MOST)
        for path in samples_in(folder):  # of epochs that are to be trained again
            if epoch_of(path) > trainer.state.epoch:
                path.unlink(missing_ok=True)

    def __call__(self, epoch: int, metrics: dict[str, float]) -> None:
        if epoch % self._every and epoch not in (1, self._trainer.settings.epochs):
            return
        if (picture := self._drawn()) is None:
            return
        held = io.BytesIO()
        picture.save(held, "png", optimize=True)
        self._folder.mkdir(exist_ok=True)
        write_atomic(self._folder / f"epoch-{epoch:04}.png", held.getvalue())
        self._trainer.log.picture(self._trainer.state.step, "samples", picture.size, held.getvalue())

    def _drawn(self) -> Image.Image | None:
        with as_evaluated(self._trainer), torch.inference_mode():
            return self._trainer.objective.sheet()


@contextlib.contextmanager
def as_evaluated(trainer: Trainer, hooks: bool = True) -> Iterator[None]:
    """While entered, the model is set to evaluation, and what is drawn at random leaves the training as it was.

    Args:
        hooks: with the weights that an evaluation has, such as their means.
    """
    objective, acting = trainer.objective, trainer.hooks["on_evaluation"] if hooks else []
    for hook in acting:
        hook(objective, True)
    devices = [trainer.engine.device] if trainer.engine.device.type == "cuda" else []
    with evaluating(objective.model), isolated(0), torch.random.fork_rng(devices), trainer.engine.autocast():
        yield
    for hook in reversed(acting):
        hook(objective, False)


def samples_in(run: Path) -> list[Path]:
    """The pictures that a run has, by epoch."""
    return sorted((run / FOLDER).glob("epoch-*.png"), key=epoch_of)


def epoch_of(path: Path) -> int:
    """The epoch, from 1 on, of a picture in a run; 0 of another file."""
    number = path.stem.removeprefix("epoch-")
    return int(number) if number.isdecimal() else 0
