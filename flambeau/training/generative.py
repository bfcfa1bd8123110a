"""Watches a generative training after each epoch, on the same noise and the same rows: what goes wrong is told as the
monitors tell, and the numbers go to the loggers. It costs 64 samples and a pass of one batch an epoch, and leaves
training as it would be without."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from flambeau.core.randomness import isolated
from flambeau.data.batch import Batch
from flambeau.objectives.generative import Generative, measures
from flambeau.objectives.generative.watched import RULES, Signs
from flambeau.training.measure import Source, some
from flambeau.training.samples import as_evaluated

if TYPE_CHECKING:
    from flambeau.training.trainer import Trainer

SAMPLES = 64
KEPT, BYTES = 2048, 2**25  # training rows that samples are looked for among


class GenerativeWatch:
    """Looks at a `Generative` objective.

    Attributes:
        course: what it showed after each epoch since the training began or was resumed.
    """

    def __init__(self, trainer: Trainer, objective: Generative):
        self._trainer, self._objective, self.course = trainer, objective, list[Signs]()
        self._samples: Tensor | None = None
        with isolated(0), torch.no_grad():
            self._batch, self._train = self._look_at(trainer.train)
            self._usual: Tensor | None = None
            if trainer.valid is not None and len(self._train):
                _, held_out = self._look_at(trainer.valid, SAMPLES)
                self._usual = measures.nearest(held_out, self._train)[0][:, 0]

    def _look_at(self, source: Source, most: int = KEPT) -> tuple[Batch | None, Tensor]:
        """The first batch, and some rows as numbers (N, F)."""
        first, rows, count = None, list[Tensor](), 0
        for batch in some(source, self._trainer.prepare, max(1, most // SAMPLES)):
            numbers = self._objective.numbers_of(batch.input).float().cpu()
            first = batch if first is None else first
            most = min(most, BYTES // (4 * numbers.shape[1]))
            rows.append(numbers[: max(most - count, SAMPLES)])
            count += len(numbers)
            if count >= most:
                break
        return first, torch.cat(rows) if rows else torch.zeros(0, 1)

    def __call__(self, epoch: int, metrics: dict[str, float]) -> None:
        if self._batch is None:
            return
        trainer, objective = self._trainer, self._objective
        with as_evaluated(trainer, hooks=False):  # the weights that play against one another, not their means
            signs = objective.signs(self._batch, trainer.history[-1].get("phases", {}))
        samples = None
        if objective.makes_of_noise:
            with as_evaluated(trainer), torch.inference_mode():
                samples = objective.numbers_of(objective.samples(SAMPLES)).float().cpu()
        self.course.append(replace(self._measured(signs, samples), step=trainer.state.step))
        self._samples = samples
        trainer.observer.record(trainer.state.step, self.course[-1].numbers())
        for rule in RULES:
            trainer.observer.tell(rule(self.course))

    def _measured(self, signs: Signs, samples: Tensor | None) -> Signs:
        if samples is None or len(self._train) < 2:
            return signs
        real, moved = self._train[:: max(1, len(self._train) // SAMPLES)][:SAMPLES], None
        if self._samples is not None:
            gone = (samples - self._samples).square().sum(1).mean().sqrt()
            moved = float(gone / (2 * samples.var(0).sum()).sqrt().clamp(min=1e-12))
        copied = None
        if self._usual is not None:
            copied = measures.copied(self._usual, measures.nearest(samples, self._train)[0][:, 0])
        return replace(
            signs, diversity=measures.diversity(real, samples), duplicates=measures.duplicates(real, samples),
            copied=copied, moved=moved,
        )  # fmt: skip
