"""Trainings that take a tenth of a second: real digits, a small network with dropout, and ways to stop them."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flambeau.data.batches import Batches
from flambeau.data.dataset import Dataset
from flambeau.data.encode import encode
from flambeau.data.prepare import Preparer
from flambeau.data.store import Store
from flambeau.fields import Category, MultiLabel, Number
from flambeau.objectives import Objective, Supervised
from flambeau.techniques import Technique
from flambeau.training import Settings, Trainer
from flambeau.training.engine import Engine

ROWS = 200
CPU = torch.device("cpu")


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Real digits: floats in 0…1 (200, 8, 8), and classes (200)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images[:ROWS] / 16, bunch.target[:ROWS]


@cache
def stored(kind: str = "category") -> tuple[Dataset, Store]:
    """Digits with a target of a kind, fitted and encoded. Nobody may change them."""
    x, y = digits()
    target: Any = {
        "category": y,
        "number": x.sum((1, 2)),
        "multilabel": [[n for n, on in (("even", d % 2 == 0), ("small", d < 5)) if on] for d in y.tolist()],
    }[kind]
    field = {"category": Category, "number": Number, "multilabel": MultiLabel}[kind]()
    data = Dataset.from_arrays(x, target, fields={"y": field})
    data.fit()
    return data, encode(data)


def network(outputs: int = 10, dropout: float = 0.2, seed: int = 0) -> nn.Module:
    """64 pixels to `outputs`, with dropout, so that global randomness counts; always the same weights."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, outputs))


def supervised(kind: str = "category", **options: Any) -> Supervised:
    """A fresh objective for `stored(kind)`."""
    target = stored(kind)[0].fields["y"]
    return Supervised(network(target.num_outputs, **options), target)


def trainer(
    objective: Objective | None = None, folder: Path | None = None, *, techniques: Sequence[Technique] = (),
    kind: str = "category", batch_size: int = 32, **settings: Any,
) -> Trainer:  # fmt: skip
    """A Trainer on `stored(kind)`: 2 epochs of 5 steps unless told otherwise."""
    data, store = stored(kind)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    chosen = Settings(**{"epochs": 2, "learning_rate": 0.01, "batch_size": batch_size, "log_every": 2, **settings})
    train, valid = (torch.from_numpy(data.rows(side)) for side in ("train", "valid"))
    return Trainer(
        objective or supervised(kind), Engine(), chosen, train=Batches(store, train, batch_size, seed=chosen.seed),
        valid=Batches(store, valid, 16), prepare=Preparer(data.fields, data.inputs, "y", CPU), techniques=techniques,
        folder=folder,
    )  # fmt: skip


class Stopped(Exception):
    """What `Stop` raises: a training that ends as if its process had died."""


class Stop(Technique):
    """Ends a training at a step: by an exception, or by a signal to this process."""

    name = "stop"

    def __init__(self, step: int | None = None, by: int | None = None):
        self.step, self.by = step, by

    def on_step_end(self, objective: Objective, step: int) -> None:
        if self.step is not None and step + 1 == self.step:
            if self.by is None:
                raise Stopped
            os.kill(os.getpid(), self.by)


def terminated_at(step: int) -> Stop:
    """SIGTERM at a step."""
    return Stop(step, signal.SIGTERM)


def weights(trained: Trainer | nn.Module) -> dict[str, Tensor]:
    """A copy of all weights and buffers."""
    model = trained.objective.model if isinstance(trained, Trainer) else trained
    return {k: v.detach().clone() for k, v in model.state_dict().items()}


def identical(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    """Whether all tensors are equal to the last bit."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
