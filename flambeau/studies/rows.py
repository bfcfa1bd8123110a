"""The same rows for several runs: which these are, and what each run says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.core.errors import DataError, UsageError
from flambeau.core.reporter import QUIET, Reporter
from flambeau.data.dataset import Dataset
from flambeau.data.packing import batches
from flambeau.data.split import NAMES, TRAIN
from flambeau.data.store.encode import EncodeOptions
from flambeau.evaluation import LONGEST, opened, trained_on
from flambeau.fields.tags import NO_TAG
from flambeau.objectives.intervals import Grouped, Interval
from flambeau.objectives.metrics import Metric
from flambeau.objectives.tasks import Task
from flambeau.predictor import Predictor, Reading
from flambeau.run import Run

MOST_NUMBERS = 100_000_000  # of one run's answers, that are held at once


@dataclass
class Answers:
    """What a run says of N rows.

    Attributes:
        rows: their numbers in its data, int64 (N).
        output: answers after their activation, float32 (N, …).
        target: as the run's own fields encode it, (N, …).
    """

    run: Run
    predictor: Predictor
    dataset: Dataset
    rows: Tensor
    output: Tensor
    target: Tensor

    @property
    def task(self) -> Task:
        """What follows from its target."""
        return self.predictor.objective.task

    @cached_property
    def errors(self) -> np.ndarray | None:
        """How wrong each answer is, float64 (N); see `Task.row_errors`."""
        errors = self.task.row_errors(self.output, self.target)
        return None if errors is None else errors.numpy()

    def measured(self, metric: str, at: Any = slice(None)) -> list[Metric]:
        """The metrics of some of the rows by their positions, which may come twice."""
        metrics = self.task.measured_by(False, metric, self.run.recipe.objective.metrics)
        for one in metrics:
            one.update(self.output[at], self.target[at], self.rows[at])
        return metrics

    def values(self, metric: str, at: Any = slice(None)) -> dict[str, float]:
        """The values of those metrics by name."""
        return {name: value for one in self.measured(metric, at) for name, value in one.values().items()}

    def intervals(self, metric: str) -> dict[str, Interval]:
        """95 % intervals of all rows by metric."""
        grouped = [one for one in self.measured(metric) if isinstance(one, Grouped)]
        return {name: both for one in grouped for name, both in one.intervals().items()}

    def label(self, at: int) -> str:
        """The answer to a row, in words."""
        value = {name: self.dataset.columns[name][int(self.rows[at])] for name in self.predictor.inputs}
        said = self.predictor.decode(self.output[at].numpy(), value=value).label
        return self.dataset.fields[self.predictor.target or ""].caption(said)[:LONGEST]

    def truth(self, at: int) -> str:
        """What is true of a row, in words."""
        target = self.predictor.target or ""
        return self.dataset.fields[target].caption(self.dataset.columns[target][int(self.rows[at])])[:LONGEST]


def answers(
    runs: Sequence[Run], data: str | Path | Dataset | None = None, *, options: EncodeOptions | None = None,
    device: str = "auto", reporter: Reporter = QUIET, **source_options: Any,
) -> tuple[list[Answers], str, list[str]]:  # fmt: skip
    """What several runs say of the same rows: those that all of them held out; or all rows of other data, or what a
    Dataset holds out.

    Returns:
        the answers, in the order of the runs; the split of the rows, `all` for other data; what a person should know.

    Raises:
        RunError: a run has no weights. UsageError: the runs do not answer the same question, or hold out other rows.
        DataError: no row is left, or the data cannot be read.
    """
    loaded = [Predictor.load(run, device=device, reporter=reporter) for run in runs]
    _check_targets(runs, loaded)
    task = loaded[0].objective.task
    if not task.tells_rows:
        kind = "of this objective" if task.field is None else f"of the kind {task.field.kind}"
        raise UsageError(f"answers {kind} are not compared row by row",
                         fix="measure each run on the same rows: flambeau evaluate RUN DATA")  # fmt: skip
    notes: list[str] = []
    if data is None:
        datasets = _held_out(runs)
        split = datasets[0].evaluation_split
        rows = [dataset.rows(split) for dataset in datasets]
        if split == NAMES[TRAIN]:
            notes.append("the data was not split: the runs are measured on what they trained on")
    else:
        pairs = zip(runs, loaded, strict=True)
        datasets = [opened(data, *pair, dict(source_options)) for pair in pairs]
        split = datasets[0].evaluation_split if isinstance(data, Dataset) else NAMES[TRAIN]
        rows = [dataset.rows(split) if split != NAMES[TRAIN] else np.arange(len(dataset)) for dataset in datasets]
        split = "all" if split == NAMES[TRAIN] else split
        if len({len(dataset) for dataset in datasets}) > 1:
            raise DataError("the runs do not read the same rows of this data", where=data)
        notes += filter(None, map(_note_of_training, runs, datasets)) if split == "all" else ()
    readings = [p.read(d, options, reporter) for p, d in zip(loaded, datasets, strict=True)]
    keep = np.logical_and.reduce([np.isin(r, reading.good) for r, reading in zip(rows, readings, strict=True)])
    if not keep.any():
        raise DataError("no row is left to compare on", where=data)
    if lost := int((~keep).sum()):
        notes.append(f"{lost:,} rows that not every run can read are left out")
    rows = [of_run[keep] for of_run in rows]
    return [
        _answered(*parts) for parts in zip(runs, loaded, readings, rows, strict=True)
    ], split, notes  # fmt: skip


def _check_targets(runs: Sequence[Run], loaded: Sequence[Predictor]) -> None:
    """Raises UsageError where two runs do not answer the same question."""
    fields = []
    for run, predictor in zip(runs, loaded, strict=True):
        if predictor.target is None:
            raise UsageError("the run has no target with a field, so its rows cannot be compared", where=run.path,
                             fix="flambeau evaluate measures each run alone")  # fmt: skip
        fields.append(predictor.fields[predictor.target])
    for run, field in zip(runs[1:], fields[1:], strict=True):
        if type(field) is not type(fields[0]):
            found = f"{runs[0].path} answers with a {fields[0].kind}, {run.path} with a {field.kind}"
            raise UsageError(found, expected="the same target")
        if odd := sorted({*field.classes} ^ {*fields[0].classes}, key=str):
            raise UsageError(f"{runs[0].path} and {run.path} have other classes, such as '{odd[0]}'",
                             expected="the same classes")  # fmt: skip


def _held_out(runs: Sequence[Run]) -> list[Dataset]:
    """The data of each run, where all hold out the same rows.

    Raises:
        DataError: it was in memory, or is gone. UsageError: they hold out other rows.
    """
    read: dict[str, Dataset] = {}
    datasets = []
    for run in runs:
        source = run.recipe.data
        if source.get("kind", "memory") == "memory":
            raise DataError("this run was trained on data in memory", where=run.path,
                            fix="give the data to compare on")  # fmt: skip
        key = str({name: value for name, value in source.items() if name != "fingerprint"})
        datasets.append(read[key] if key in read else read.setdefault(key, trained_on(run)))
    first = _places(datasets[0], datasets[0].evaluation_split)
    for run, dataset in zip(runs[1:], datasets[1:], strict=True):
        split = dataset.evaluation_split
        places = _places(dataset, split)
        if [*places] != [*first] or split != datasets[0].evaluation_split:
            shared = len(first.keys() & places.keys())
            trained = len(first.keys() & _places(dataset, NAMES[TRAIN]).keys())
            found = (
                f"{runs[0].path} was measured on {len(first):,} {datasets[0].evaluation_split} rows, {run.path} on "
                f"{len(places):,} {split} rows, of which {shared:,} are the same"
                + (f", and it was trained on {trained:,} of the first" if trained else "")
            )
            raise UsageError(found, fix="compare them on other data with --data, or train with the same --split-seed")
        _check_truth(datasets[0], dataset, [*first.values()], [*places.values()], run)
    return datasets


def _check_truth(first: Dataset, other: Dataset, rows: list[int], of_other: list[int], run: Run) -> None:
    """Raises UsageError where rows of one place are not the same rows: what is true of them differs."""
    for one, two in zip(rows, of_other, strict=True):
        told = [d.fields[d.target or ""].caption(d.columns[d.target or ""][r]) for d, r in ((first, one), (other, two))]
        if told[0] != told[1]:
            raise UsageError(f"{run.path} was trained on other data: {first.place(one)} is '{told[0]}' in one and "
                             f"'{told[1]}' in the other", fix="compare them on other data with --data")  # fmt: skip


def _places(dataset: Dataset, split: str) -> dict[str, int]:
    return {dataset.place(int(row)): int(row) for row in dataset.rows(split)}


def _note_of_training(run: Run, dataset: Dataset) -> str | None:
    """What is to be said where a run was trained on some of these rows."""
    if run.recipe.data.get("kind", "memory") == "memory" or run.recipe.data.get("path") != dataset.source.get("path"):
        return None
    own = trained_on(run)
    trained = _places(own, NAMES[TRAIN]).keys() & {dataset.place(row) for row in range(len(dataset))}
    if not trained:
        return None
    return f"{run.path} was trained on {len(trained):,} of these {len(dataset):,} rows, so its figures are too good"


def _answered(run: Run, predictor: Predictor, reading: Reading, rows: np.ndarray) -> Answers:
    """Asks a run about rows of what it has read."""
    training = run.recipe.training
    tokens = None if training.max_tokens is None else 2 * training.max_tokens
    source = batches(reading.store, torch.from_numpy(rows), 2 * (training.batch_size or 32), tokens=tokens)
    outputs: list[tuple[Tensor, Tensor, Tensor]] = []
    for numbers, gathered in source.epoch(0):
        batch = reading.prepare(numbers, gathered, False, None)
        output = torch.from_numpy(predictor.forward(batch))
        outputs.append((numbers.cpu(), output, batch.target.cpu()))
        if output[0].numel() * len(rows) > MOST_NUMBERS:
            raise UsageError(f"{len(rows):,} rows of {output[0].numel():,} numbers are too many to compare",
                             fix="compare on fewer rows, with --data")  # fmt: skip
    order = torch.cat([numbers for numbers, _, _ in outputs]).argsort()  # batches of texts are by length
    output, target = (_padded([parts[i] for parts in outputs], fill)[order] for i, fill in ((1, 0), (2, NO_TAG)))
    return Answers(run, predictor, reading.dataset, torch.from_numpy(np.sort(rows)), output, target)


def _padded(parts: Sequence[Tensor], fill: float) -> Tensor:
    """Batches (B, …) of which some may be shorter, together."""
    shape = [max(part.shape[i] for part in parts) for i in range(1, parts[0].ndim)]
    out = parts[0].new_full((sum(map(len, parts)), *shape), fill)
    at = 0
    for part in parts:
        out[(slice(at, at + len(part)), *(slice(0, n) for n in part.shape[1:]))] = part
        at += len(part)
    return out
