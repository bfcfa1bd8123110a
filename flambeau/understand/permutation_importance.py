"""What each input brings: how much worse a model is when one input comes from other rows.

Breiman, "Random forests", 2001, measures the importance of a variable so: the values stay what they are, but belong to
nobody. An input that nothing gets worse without is not used, or says what another one says too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from flambeau.core.randomness import generator
from flambeau.core.reporter import QUIET, Reporter
from flambeau.data.batches import Batches
from flambeau.data.dataset import Dataset
from flambeau.data.grouping import PRESENT
from flambeau.data.store.store import Gathered, Store
from flambeau.objectives import Objective
from flambeau.training import Prepare, evaluate
from flambeau.training.engine import Engine

MOST_ROWS = 5000
MOST_COLUMNS = 40


class Shuffled:
    """Batches in which one input of each row is that of another row.

    Args:
        batches: in their own order.
        partner: int64 (N), for each row the one that the input is taken from.
        name: the input.
        at: of a table, the numbers of one column in an encoded row; None for the whole input.
    """

    def __init__(self, batches: Batches, partner: Tensor, name: str, at: slice | None = None):
        self.batches, self.partner, self.name, self.at = batches, partner, name, at

    def count(self, epoch: int = 0) -> int:
        """As the batches."""
        return self.batches.count(epoch)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Gathered]]:
        """As the batches, with one input exchanged."""
        column = self.batches.store.columns[self.name]
        for rows, gathered in self.batches.epoch(epoch, start):
            other: Any = column.gather(self.partner[rows.cpu()].to(rows.device))
            if self.at is not None:
                mixed = gathered[self.name].clone()
                mixed[:, self.at] = other[:, self.at]
                other = mixed
            yield rows, {**gathered, self.name: other}


def importance(
    objective: Objective, engine: Engine, dataset: Dataset, store: Store, rows: Tensor, prepare: Prepare,
    batch_size: int, reporter: Reporter = QUIET,
) -> dict[str, Any]:  # fmt: skip
    """{metric, whole, without: {input: value}} as plain JSON: a metric on at most MOST_ROWS of some rows, as they are
    and with each input shuffled; of a table, with each column. Empty where there is one input and no table.

    Args:
        rows: held-out rows, int64.
    """
    parts = _parts(dataset)
    if len(parts) < 2 or len(rows) < 2 or not objective.monitor:
        return {}
    rows = rows[:: -(-len(rows) // MOST_ROWS)]
    batches = Batches(store, rows, batch_size)
    metric = objective.monitor
    whole = evaluate(objective, engine, batches, prepare)[metric]
    partner = torch.arange(len(dataset))
    without = {}
    with reporter.bar("shuffling each input", len(parts)) as bar:
        for done, (label, (name, at)) in enumerate(parts.items(), 1):
            partner[rows] = rows[torch.randperm(len(rows), generator=generator(0, "shuffled", done))]
            without[label] = evaluate(objective, engine, Shuffled(batches, partner, name, at), prepare)[metric]
            bar.update(done)
    return {"metric": metric, "more_is_better": objective.higher_is_better, "whole": whole, "without": without}


def _parts(dataset: Dataset) -> dict[str, tuple[str, slice | None]]:
    """What is shuffled: each input; of a table each column, where they are not too many."""
    names: Sequence[str] = [name for name in dataset.inputs if name != PRESENT]
    parts: dict[str, tuple[str, slice | None]] = {}
    for name in names:
        if 0 < len(places := dataset.fields[name].column_places) <= MOST_COLUMNS:
            parts |= {column: (name, place) for column, place in places.items()}
        else:
            parts[name] = (name, None)
    return parts
