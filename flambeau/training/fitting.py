"""Fitting: what takes the place of the loop where a model fits itself to all training rows at once."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from flambeau.models import Examples, FittedModel
from flambeau.training import measure
from flambeau.training.logging import Log
from flambeau.training.measure import Source
from flambeau.training.state import State
from flambeau.training.trainer import Trainer


class Fitting(Trainer):
    """Fits a `FittedModel`, and measures it on validation rows: one epoch without a step. There is no checkpoint, for a
    fit that was stopped begins anew; arguments and attributes are those of a `Trainer`."""

    def fit(self, resume: bool = False, until: int | None = None) -> State:
        """Fits the model.

        Args:
            resume, until: mean nothing: a fit is whole or absent.
        """
        self.processes.start(self.objective, self.settings.seed)
        self.log = Log(self.folder if self.processes.first else None, None, 0, self.settings.loggers)
        try:
            self._fit()
        finally:
            self.processes.end(self.objective.model)
            self.observer.close()
            self.log.close()
        return self.state

    @property
    def done(self) -> bool:
        return self.state.epoch > 0

    def _fit(self) -> None:
        model, reporter = self.objective.model, self.reporter
        assert isinstance(model, FittedModel)
        train = self._examples(self.train)
        valid = None if self.valid is None else self._examples(self.valid)
        reporter.say(f"fitting it to {train.count:,} training samples at once")
        model.eval()
        began = time.perf_counter()
        self.note(model.fit(train, valid))
        seconds = time.perf_counter() - began
        line: dict[str, Any] = {"epoch": 1}
        if "loss" in (measured := self._measured(self.train)):
            line["train_loss"] = measured["loss"]
        if self.valid is not None:
            line["valid"] = self.state.metrics = self._measured(self.valid)
        line["speed"] = {"seconds": round(seconds, 2), "samples_per_second": round(train.count / max(seconds, 1e-6), 1)}
        self.log.write(0, **line)
        self.history.append({"step": 0, **line})
        told = "  ".join(f"{name} {value:.4f}" for name, value in self.state.metrics.items() if name != "loss")
        reporter.say(f"fitted in {seconds:.1f} s  {told}")
        self.state.epoch = 1

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.reporter.say(text)

    def _measured(self, source: Source) -> dict[str, float]:
        values = measure.evaluate(self.objective, self.engine, source, self.prepare, self.reporter)
        return {name: value for name, value in values.items() if math.isfinite(value)}

    def _examples(self, source: Source) -> Examples:
        task = self.objective.task

        def batches() -> Iterator[tuple[Any, Tensor, Tensor]]:
            for rows, gathered in source.epoch(0):
                inputs, target = self.objective.example(self.prepare(rows, gathered, False, None))
                weights = torch.ones(len(target), device=target.device)
                for technique in self.techniques.values() if source is self.train else ():
                    weights = weights * technique.row_weights(target)
                yield inputs, target, weights

        # of a row with windows each is a sample
        count = sum(len(target) for _, target, _ in batches())
        return Examples(batches, count, task.numbers, task.levels)
