"""What the layers of a model do, written to the loggers at the end of each epoch: the setting `watch`. It costs a
forward and a backward pass of one batch an epoch, in evaluation mode, and leaves training as it would be without."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from flambeau.core.errors import first_line, shown
from flambeau.core.randomness import isolated
from flambeau.data.batch import Batch
from flambeau.diagnosis.watch import layers_of, watch
from flambeau.models.cut import evaluating
from flambeau.objectives import Objective
from flambeau.objectives.generative import Generative
from flambeau.objectives.language import LanguageModel
from flambeau.training.generative import GenerativeWatch
from flambeau.training.language import LanguageWatch
from flambeau.training.measure import some
from flambeau.training.samples import Samples

if TYPE_CHECKING:
    from flambeau.training.trainer import Trainer


def onlookers(trainer: Trainer) -> list[Callable[[int, dict[str, float]], None]]:
    """Who looks at the model after each epoch: what the settings ask for, and at one that makes samples its samples."""
    if not trainer.processes.first:
        return []
    looking: list[Callable[[int, dict[str, float]], None]] = []
    if trainer.settings.watch:
        looking.append(Watching(trainer.settings.watch, trainer))
    if trainer.folder and type(trainer.objective).sheet is not Objective.sheet:
        looking.append(Samples(trainer, trainer.folder))
    if trainer.settings.monitors and isinstance(trainer.objective, Generative):
        looking.append(GenerativeWatch(trainer, trainer.objective))
    if trainer.settings.monitors and isinstance(trainer.objective, LanguageModel):
        looking.append(LanguageWatch(trainer, trainer.objective))
    return looking


class Watching:
    """Looks at the first training batch, the same in every epoch.

    Args:
        asked: patterns of layers as `flambeau.diagnosis.watch.watch` takes them, in a list or between commas; or `all`.

    Raises:
        UsageError: a pattern fits no layer.
    """

    def __init__(self, asked: str | list[str], trainer: Trainer):
        listed = [name.strip() for name in asked.split(",")] if isinstance(asked, str) else asked
        patterns = tuple(name for name in listed if name != "all")
        objective, log, note = trainer.objective, trainer.log, trainer.note
        layers_of(objective.model, patterns)
        self._patterns, self._objective, self._engine = patterns, objective, trainer.engine
        self._log, self._state = log, trainer.state
        with isolated(0):
            self._batch: Batch | None = next(some(trainer.train, trainer.prepare, 1), None)
        if log.silent:
            note(f"watch={shown(asked)}: there is nothing to write to; pip install 'flambeau[track]', and keep a run")
        elif self._batch is not None:
            try:
                with evaluating(objective.model), isolated(0):
                    log.graph(objective.model, self._batch.input)
            except Exception as error:  # noqa: BLE001 -- a model may do what tracing cannot follow
                note(f"the loggers have no graph of the model: it cannot be traced ({first_line(error)})")

    def __call__(self, epoch: int, metrics: dict[str, float]) -> None:
        """Writes scalars of activations, gradients and weights, and histograms of activations and weights."""
        model, batch = self._objective.model, self._batch
        if batch is None or self._log.silent:
            return
        weights = {name: p for name, p in model.named_parameters() if p.requires_grad}
        devices = [self._engine.device] if self._engine.device.type == "cuda" else []
        with evaluating(model), isolated(0), torch.random.fork_rng(devices), watch(model, *self._patterns) as seen:
            with self._engine.autocast():
                loss = self._objective.loss(batch, self._objective.phases[0])
            torch.autograd.grad(loss, [*weights.values()], allow_unused=True)
        numbers: dict[str, float] = {}
        for name, both in seen.statistics().items():
            for what, figures in both.items():
                kind = "activations" if what == "output" else "gradients"
                numbers |= {f"{kind}/{name}/{figure}": value for figure, value in figures.items()}
        numbers |= {f"weights/{name}/norm": float(p.detach().float().norm()) for name, p in weights.items()}
        values: dict[str, Tensor] = {f"activations/{n}": w.output for n, w in seen.items() if w.output is not None}
        values |= {f"weights/{name}": parameter.detach() for name, parameter in weights.items()}
        self._log.look(self._state.step, numbers, values)
