"""What rivals see of a training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from flambeau.data.dataset import Dataset
from flambeau.data.store import Store
from flambeau.fields import Category, Field, MultiLabel

Guess = Callable[[np.ndarray], np.ndarray]
"""Rows to predictions: probabilities (n, K), or numbers (n), or (n, H), as the target's field encodes them."""
CHUNK = 1024  # rows whose inputs are in memory at once


class Rival(NamedTuple):
    """A simple model: what it is, in a few words, and how it is fitted."""

    name: str
    fit: Callable[[], Guess]


@dataclass
class Rows:
    """The dataset and its encoded columns, the rows to learn from, and the encoded target by row."""

    dataset: Dataset
    store: Store
    train: np.ndarray
    target: Field
    y: np.ndarray

    @property
    def classes(self) -> bool:
        """Whether there are classes to tell apart, one or several a row."""
        return isinstance(self.target, (Category, MultiLabel))

    def gathered(self, column: str, rows: np.ndarray) -> Iterator[Any]:
        """The encoded values of some rows, a part at a time."""
        for chunk in np.array_split(rows, max(1, -(-len(rows) // CHUNK))):
            yield self.store.columns[column].gather(torch.from_numpy(chunk).to(self.store.device))
