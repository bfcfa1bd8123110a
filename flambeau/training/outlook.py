"""What techniques may know of the training that they take part in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from flambeau.data.batch import Batch
from flambeau.data.prepare import Preparer
from flambeau.objectives import Objective
from flambeau.training.measure import Prepare, Source, some
from flambeau.training.updates import Updates


@dataclass(frozen=True)
class Outlook:
    """The `Training` of the techniques' contract, before the first step; see `flambeau.techniques.Training`."""

    objective: Objective
    folder: Path | None
    epochs: int
    updates: Updates
    train: Source
    prepare: Prepare

    @property
    def steps(self) -> int:
        """How many there will be, as the schedule goes by them."""
        return self.updates.total

    def rate(self, step: int) -> float:
        """The factor of the learning rate at a step, from 0 on."""
        return self.updates.rate(step)

    def input_bounds(self) -> tuple[Tensor, Tensor] | None:
        """What the bounds of the input's values are in the model's input; None where it has none."""
        return self.prepare.input_bounds() if isinstance(self.prepare, Preparer) else None

    def train_at(self, share: float) -> bool:
        """Lets inputs that have a side be prepared for training at `share` of it from now on; whether there is one."""
        return isinstance(self.prepare, Preparer) and self.prepare.train_at(share)

    def batches(self, most: int) -> Iterator[Batch]:
        """Training batches as an evaluation would see them, spread over an epoch: fewer than twice `most`."""
        return some(self.train, self.prepare, most)
