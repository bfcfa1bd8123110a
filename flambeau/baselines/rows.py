"""What rivals see of a training."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch

from flambeau.core.reporter import Bar
from flambeau.data.dataset import Dataset
from flambeau.data.store.store import Store
from flambeau.fields import Field
from flambeau.objectives.tasks import Task

LIMIT = 60.0  # seconds that a rival may be fitted for
CHUNK = 1024  # rows whose inputs are in memory at once


Features = Callable[["Rows", np.ndarray], Any]
"""Some rows to a matrix (n, D), dense or sparse."""


@dataclass
class Rows:
    """The dataset and its encoded columns, the rows to learn from, the target's field and task; and what a pretrained
    network makes of rows, where a training began with one."""

    dataset: Dataset
    store: Store
    train: np.ndarray
    target: Field
    task: Task
    pretrained: Features | None = None

    @cached_property
    def y(self) -> np.ndarray:
        """The encoded target by row."""
        y = self.store.columns[self.dataset.target or ""].gather(torch.arange(len(self.dataset)).to(self.store.device))
        assert isinstance(y, torch.Tensor)
        return y.cpu().numpy()

    @property
    def classes(self) -> bool:
        """Whether there are classes to tell apart, one or several a row."""
        return not self.task.numbers

    @property
    def single_class(self) -> bool:
        """Whether there is one class a row."""
        return self.classes and self.y.ndim == 1

    def gathered(self, column: str, rows: np.ndarray) -> Iterator[Any]:
        """The encoded values of some rows, a part at a time."""
        for chunk in np.array_split(rows, max(1, -(-len(rows) // CHUNK))):
            yield self.store.columns[column].gather(torch.from_numpy(chunk).to(self.store.device))


Guess = Callable[[Rows, np.ndarray], np.ndarray]
"""Some rows to predictions: probabilities (n, K), or numbers (n), or (n, H), as the target's field encodes them. They
may be of other data than those that were learned from."""


class Budget:
    """The time that a rival may be fitted for, and what is said where that is not enough."""

    def __init__(self, seconds: float = LIMIT, bar: Bar | None = None):
        self.seconds, self.bar = seconds, bar or Bar()
        self.notes: list[str] = []
        self._began = time.perf_counter()

    @property
    def spent(self) -> float:
        """Seconds since it began."""
        return time.perf_counter() - self._began

    def more(self, done: int, most: int, of: str) -> bool:
        """Whether there is time for another part of `most`; what was left out is noted."""
        self.bar.update(min(int(self.spent), int(self.seconds)), f"{done} of {most} {of}")
        if done >= most:
            return False
        if self.spent < self.seconds or not done:  # one part is always done, however long it takes
            return True
        self.notes.append(f"stopped at {self.seconds:.0f} s, after {done} of {most} {of}")
        return False


class Rival(NamedTuple):
    """A simple model: what it is, in a few words, how it is fitted, and whether it always says the same."""

    name: str
    fit: Callable[[Budget], Guess]
    constant: bool = False
