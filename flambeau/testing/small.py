"""Trainings that take a tenth of a second: real digits, a small network with dropout, and a way to stop them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flambeau.data.batch import Batch
from flambeau.data.batches import Batches
from flambeau.data.dataset import Dataset
from flambeau.data.prepare import Preparer
from flambeau.data.store.encode import encode
from flambeau.data.store.store import Store
from flambeau.fields import Category, Field, MultiLabel, Number
from flambeau.models import InputSpec, OutputSpec, auto, build
from flambeau.objectives import Context, Objective, Supervised
from flambeau.techniques import Technique
from flambeau.training import Settings, Trainer
from flambeau.training.engine import Engine

ROWS = 200
CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Target:
    """A target of digits that is made of raw values in turn, in a fresh field."""

    make: Callable[[], Field]
    samples: Sequence[Any]


Kind = str | Target
"""A target of digits: category, number or multilabel, or one's own."""


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Real digits: floats in 0…1 (200, 8, 8), and classes (200)."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images[:ROWS] / 16, bunch.target[:ROWS]


@cache
def stored(kind: Kind = "category") -> tuple[Dataset, Store]:
    """Digits with a target of a kind, fitted and encoded. Nobody may change them."""
    x, y = digits()
    if isinstance(kind, Target):
        values = [kind.samples[row % len(kind.samples)] for row in range(ROWS)]
        columns: dict[str, Any] = {"x": x, "y": values}
        data = Dataset(columns, target="y", fields={"y": kind.make()})
        data.fit()
        return data, encode(data)
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


def context(kind: Kind = "category") -> Context:
    """What an objective on `stored(kind)` may be made from; its model is `network`, or the first that is entered for
    an output of another layout."""
    data = stored(kind)[0]
    target, seen = data.fields["y"], InputSpec.of([data.fields["x"]])

    def model(wanted: int | OutputSpec | None = None) -> nn.Module:
        if not isinstance(wanted, OutputSpec) or wanted.layout == "vector":
            size = wanted.size if isinstance(wanted, OutputSpec) else wanted
            return network(size or target.num_outputs)
        torch.manual_seed(0)
        return build(auto.choose(seen, ROWS, output=wanted)[0], seen, wanted).model

    return Context(data.fields, data.inputs, target, model)


def trainer(
    objective: Objective | None = None, folder: Path | None = None, *, techniques: Sequence[Technique] = (),
    kind: Kind = "category", batch_size: int = 32, **settings: Any,
) -> Trainer:  # fmt: skip
    """A Trainer on `stored(kind)`: 2 epochs of 5 steps unless told otherwise. Techniques have built."""
    data, store = stored(kind)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    chosen = Settings(**{"epochs": 2, "learning_rate": 0.01, "batch_size": batch_size, "log_every": 2, **settings})
    train, valid = (torch.from_numpy(data.rows(split)) for split in ("train", "valid"))
    objective = objective or Supervised.build(context(kind))
    for technique in techniques:
        technique.on_build(objective)
    return Trainer(
        objective, Engine(), chosen,
        train=Batches(store, train, batch_size, seed=chosen.seed), valid=Batches(store, valid, 16),
        prepare=Preparer(data.fields, data.inputs, "y", CPU), techniques=techniques, folder=folder,
    )  # fmt: skip


class Stopped(Exception):
    """A training was stopped on purpose."""


class Stop(Technique):
    """Ends a training as a crash would, after so many steps; never if None."""

    name = "stop"

    def __init__(self, step: int | None = None):
        self.step = step

    def on_step_end(self, objective: Objective, step: int) -> None:
        if step + 1 == self.step:
            raise Stopped


def weights(holder: Any) -> dict[str, Tensor]:
    """A copy of the weights of a Trainer, an objective or a model."""
    holder = getattr(holder, "objective", holder)
    model = holder if isinstance(holder, nn.Module) else holder.model
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def identical(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    """Whether two sets of weights are equal to the last bit."""
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


def batches(kind: Kind, sizes: Sequence[int]) -> list[Batch]:
    """Rows 0, 1, 2, … of `stored(kind)` in batches of some sizes."""
    data, store = stored(kind)
    prepare = Preparer(data.fields, data.inputs, "y", CPU)
    rows = torch.arange(sum(sizes)).split(list(sizes))
    return [prepare(r, store.gather(r)) for r in rows]


def evaluated(objective: Objective, kind: Kind, sizes: Sequence[int], detail: bool = False) -> dict[str, float]:
    """The metrics of the first rows, given in batches of some sizes."""
    objective.start_evaluation(detail)
    objective.model.eval()
    with torch.inference_mode():
        for batch in batches(kind, sizes):
            objective.evaluate(batch)
    return objective.metrics()


def fit_until_stopped(training: Trainer) -> None:
    """Trains until its `Stop` ends it."""
    try:
        training.fit()
    except Stopped:
        return
    raise AssertionError("the training was to be stopped")
