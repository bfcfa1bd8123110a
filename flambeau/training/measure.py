"""One pass over held-out batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from flambeau.core.reporter import QUIET, Reporter
from flambeau.data.batch import Batch
from flambeau.objectives import Objective
from flambeau.training.engine import Engine
from flambeau.training.interrupts import Interrupts
from flambeau.training.memory import in_parts, is_out_of_memory, let_go

CALIBRATED = 200  # batches, at most, that certainty is measured on
PRIMED = 1000  # batches, at most about twice as many, that a model counts in before training
Prepare = Callable[[Tensor, Any, bool, torch.Generator | None], Batch]


class Source(Protocol):
    """Where batches come from: `Batches`, or a user's own DataLoader."""

    def count(self, epoch: int = 0) -> int: ...

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Any]]: ...


def evaluate(
    objective: Objective, engine: Engine, source: Source, prepare: Prepare, reporter: Reporter = QUIET, *,
    detail: bool = False, interrupts: Interrupts | None = None,
) -> dict[str, float]:  # fmt: skip
    """Measures the objective over a source of batches, in inference mode; with `detail`, also for the report."""
    objective.start_evaluation(detail)
    objective.model.eval()
    with torch.inference_mode(), engine.autocast(), reporter.bar("evaluating", source.count(0)) as bar:
        for i, (rows, gathered) in enumerate(source.epoch(0)):
            _evaluate(objective, prepare(rows, gathered, False, None))
            bar.update(i + 1)
            if interrupts is not None and interrupts.pending is not None:
                break
    return objective.metrics()


def _evaluate(objective: Objective, batch: Batch) -> None:
    """One batch; where memory runs out on it, its halves."""
    try:
        objective.evaluate(batch)
        return
    except (RuntimeError, MemoryError) as error:
        if len(halves := in_parts(batch, 2)) == 1 or not is_out_of_memory(error):
            raise
        let_go(error)
    for half in halves:
        _evaluate(objective, half)


def initialise(objective: Objective, source: Source, prepare: Prepare) -> None:
    """Lets the objective's model count in the training rows what it begins with, or in a share of very many."""
    with torch.no_grad():
        objective.initialise_from_data(some(source, prepare, PRIMED))


def calibrate(
    objective: Objective, engine: Engine, source: Source, prepare: Prepare, reporter: Reporter = QUIET
) -> None:
    """Lets the objective mend what its model says of its own certainty, on batches of validation rows."""
    objective.model.eval()
    parts, largest = 1, 0
    while True:
        batches = list[int]()
        try:
            with torch.inference_mode(), engine.autocast():
                said = objective.calibrate(_cut(some(source, prepare, CALIBRATED), parts, batches))
            break
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or max(batches, default=0) in (0, 1, largest):
                raise
            let_go(error)
        parts, largest = 2 * parts, max(batches)
    if said:
        reporter.say(said)


def _cut(batches: Iterator[Batch], count: int, sizes: list[int]) -> Iterator[Batch]:
    """The parts of batches; `sizes` is told how large they are."""
    for batch in batches:
        for part in in_parts(batch, count):
            sizes.append(len(part))
            yield part


def some(source: Source, prepare: Prepare, most: int) -> Iterator[Batch]:
    """Every n-th batch, as an evaluation sees it, fewer than twice `most`; nothing is planned or gathered for who does
    not ask."""
    every = max(1, source.count(0) // most)
    for i, (rows, gathered) in enumerate(source.epoch(0)):
        if i % every == 0:
            yield prepare(rows, gathered, False, None)
