"""A run as attacks see it: a function of values in 0…1 to raw output, its held-out rows, and how changed ones are
measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.core.randomness import generator
from flambeau.core.reporter import QUIET, Reporter
from flambeau.data.batch import Batch
from flambeau.data.batches import Batches
from flambeau.data.dataset import Dataset
from flambeau.data.prepare import Preparer
from flambeau.evaluation import held_out
from flambeau.objectives import Supervised
from flambeau.predictor import Prediction, Predictor
from flambeau.run import Run
from flambeau.training import evaluate

BATCH = 64


class Victim:
    """A run with one input.

    Args:
        data: other data than its held-out rows.
        rows: how many are drawn of them.
        tta: views that answers are measured by, such as a filter, which an attack knows nothing of.

    Attributes:
        drawn: numbers of the rows that are attacked, int64, ascending.
        others: of those that are not, in random order.

    Raises:
        RunError: there is no such run. UsageError: it has several inputs or members, or no loss of a target.
    """

    def __init__(
        self, run: str | Path | Run, data: str | Path | Dataset | None, *, rows: int, seed: int, tta: Any = None,
        device: str = "auto", reporter: Reporter = QUIET, **source_options: Any,
    ):  # fmt: skip
        self.run = run if isinstance(run, Run) else Run.open(run)
        self.predictor = predictor = Predictor.load(self.run, device=device, reporter=reporter)
        if len(predictor.parts) > 1:
            raise UsageError("an ensemble is several models", where=self.run.path, fix="attack the run of a member")
        if len(predictor.inputs) != 1:
            raise UsageError(f"this run has {len(predictor.inputs)} inputs", where=self.run.path, expected="one")
        if not isinstance(predictor.objective, Supervised) or predictor.target is None:
            raise UsageError("this run has no target to be led away from", where=self.run.path)
        self.objective: Supervised = predictor.objective
        self.measuring = predictor if tta is None else predictor.with_tta(tta)
        self.name, self.target = predictor.inputs[0], predictor.target
        self.field, self.target_field = predictor.fields[self.name], predictor.fields[self.target]
        self.seed, self.device = seed, predictor.engine.device
        reading, good, self.split = held_out(self.run, predictor, data, None, reporter, **source_options)
        self.dataset, self._store = reading.dataset, reading.store
        order = good[torch.randperm(len(good), generator=generator(seed, "attacked")).numpy()]
        self.drawn, self.others = np.sort(order[:rows]), order[rows:]
        self._prepare = Preparer(predictor.fields, predictor.inputs, predictor.target, self.device)
        bounds = self.field.input_bounds
        self._bounds = None if bounds is None else tuple(bound.to(self.device) for bound in bounds)
        for parameter in self.objective.model.parameters():
            parameter.requires_grad_(False)
        self.objective.model.eval()

    def generator(self, *keys: int | str) -> torch.Generator:
        """One that follows from the seed."""
        return generator(self.seed, *keys)

    def batches(self, rows: np.ndarray | None = None) -> Iterator[Batch]:
        """Some rows, the drawn ones if not given, as the model sees them."""
        chosen = torch.from_numpy(self.drawn if rows is None else rows)
        for numbers, gathered in Batches(self._store, chosen, BATCH).epoch(0):
            yield self._prepare(numbers, gathered, False, None)

    def labels(self, batch: Batch, target: str | None = None) -> Tensor:
        """What is learned of a batch; or the class that a target names, for each of its rows."""
        if target is None:
            learned = self.objective.task.learned(batch)
            if not isinstance(learned, Tensor):
                raise UsageError(f"answers of the kind {self.target_field.kind} are not attacked", where=self.run.path,
                                 fix="see what flambeau stress says")  # fmt: skip
            return learned
        return torch.full((len(batch),), self.class_number(target), device=self.device)

    def class_number(self, target: str) -> int:
        """The number of a class.

        Raises:
            UsageError: there is none of that name.
        """
        self.need_classes("a target class")
        number = self.target_field.index.get(target)
        if number is None:
            shown = ", ".join(map(str, self.target_field.classes[:12]))
            raise UsageError(f"there is no class '{target}'", expected=shown)
        return number

    def need_classes(self, what: str) -> None:
        """Raises UsageError where answers are not one class each."""
        if not (self.target_field.has_classes and self.objective.class_numbers):
            raise UsageError(f"{what} needs answers that are one class of several", where=self.run.path)

    # -- values in 0…1 ------------------------------------------------------------------------------------------

    def need_bounds(self) -> None:
        """Raises UsageError where values have no bounds that an epsilon could be measured by."""
        if self._bounds is None:
            words = "; a text is attacked by --method words" if self.field.token_names else ""
            raise UsageError(
                f"values of the kind {self.field.summary} have no bounds that an epsilon could be a share of",
                where=self.run.path, expected=f"pictures in rgb or grey{words}",
            )  # fmt: skip

    def units(self, batch: Batch) -> Tensor:
        """The pictures of a batch, float32 (B, C, H, W) in 0…1."""
        low, high = self._bounds or ()
        return ((batch.input - low) / (high - low)).clamp(0, 1)

    def prepared(self, units: Tensor) -> Tensor:
        """Pictures in 0…1 as the model takes them."""
        low, high = self._bounds or ()
        return low + units * (high - low)

    def model(self, units: Tensor) -> Tensor:
        """Raw output (B, …) for pictures in 0…1."""
        return self.predictor.raw_of(self.prepared(units))

    def answers(self, units: Tensor) -> Tensor:
        """Class numbers (B) for pictures in 0…1."""
        with torch.no_grad():
            return self.model(units).argmax(1)

    # -- what is measured ---------------------------------------------------------------------------------------

    def measured(self, values: Sequence[Any]) -> tuple[dict[str, float], list[Prediction]]:
        """Metrics of raw values in place of those of the drawn rows, and what is answered to each."""
        columns = {self.name: list(values), self.target: self.dataset.take(self.target, self.drawn)}
        fields = {self.name: self.field, self.target: self.target_field}
        changed = Dataset(columns, target=self.target, fields=fields, split="none")
        reading = self.measuring.read(changed)
        source = Batches(reading.store, torch.from_numpy(reading.good), BATCH)
        metrics = evaluate(self.measuring.objective, self.measuring.engine, source, reading.prepare)
        return metrics, self.measuring.predict(list(values))
