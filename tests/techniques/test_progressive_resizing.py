"""Pictures that grow in training: sizes by epoch, full ones elsewhere, the same after a resume."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_sample_image, load_wine
from small import identical, weights
from torch import nn

import flambeau as fb
from flambeau.core.errors import UsageError
from flambeau.data.batch import Batch
from flambeau.data.batches import Batches
from flambeau.data.prepare import Preparer
from flambeau.data.store.encode import encode
from flambeau.fields import Image
from flambeau.objectives import Supervised
from flambeau.techniques import ProgressiveResizing, Technique
from flambeau.testing.small import Stop, fit_until_stopped
from flambeau.training import Settings, Trainer
from flambeau.training.engine import Engine

SIDE = 64


@cache
def crops() -> tuple[np.ndarray, np.ndarray]:
    """Parts of two photos, uint8 (80, 64, 64, 3), and which photo they are of."""
    photos = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    parts = [photo[y : y + SIDE, x : x + SIDE] for photo in photos
             for y in range(0, 320, SIDE) for x in range(0, 512, SIDE)]  # fmt: skip
    return np.stack(parts), np.repeat([0, 1], len(parts) // 2)


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Dropout(0.2), nn.Linear(8, 2))  # fmt: skip


class Sizes(Technique):
    """Remembers the sides of the batches of each epoch."""

    name = "sizes"

    def __init__(self) -> None:
        self.seen: list[set[tuple[int, ...]]] = []

    def on_epoch_start(self, objective: Any, epoch: int) -> None:
        self.seen.append(set())

    def on_batch(self, batch: Batch, generator: torch.Generator) -> Batch:
        self.seen[-1].add(tuple(batch.input.shape[2:]))
        return batch


def trainer(folder: Path | None, techniques: list[Technique], augment: Any = None, epochs: int = 5) -> Trainer:
    data = fb.Dataset.from_arrays(*crops(), fields={"x": Image(augment=augment)})
    data.fit()
    store = encode(data)
    train, valid = (torch.from_numpy(data.rows(split)) for split in ("train", "valid"))
    settings = Settings(epochs=epochs, learning_rate=0.01, batch_size=16, checkpoint_minutes=0)
    return Trainer(
        Supervised(network(), data.fields["y"]), Engine(), settings,
        train=Batches(store, train, 16, seed=settings.seed), valid=Batches(store, valid, 16),
        prepare=Preparer(data.fields, data.inputs, "y", torch.device("cpu")), techniques=techniques, folder=folder,
        random=augment is not None,
    )  # fmt: skip


@pytest.mark.parametrize("augment", [None, {"randaugment": True, "horizontal_flip": 0.5}, {"random_crop": 4}])
def test_sides_grow_by_epoch_and_validation_sees_full_ones(augment: Any) -> None:
    sizes = Sizes()
    training = trainer(None, [ProgressiveResizing(0.5, 0.6), sizes], augment)
    measured = []
    training.objective.model[0].register_forward_pre_hook(  # type: ignore[index]
        lambda layer, args: None if layer.training else measured.append(tuple(args[0].shape[2:]))
    )
    training.fit()
    assert sizes.seen == [{(32, 32)}, {(44, 44)}, {(52, 52)}, {(SIDE, SIDE)}, {(SIDE, SIDE)}]
    assert set(measured) == {(32, 32), (SIDE, SIDE)} and measured.count((32, 32)) == 1, "one trial, all else is full"
    rows, gathered = next(iter(training.train.epoch(0)))
    after = training.prepare(rows, gathered, True, torch.Generator())
    assert after.input.shape[2:] == (SIDE, SIDE), "what is done afterwards is as before"


@pytest.mark.parametrize("augment", [{"randaugment": 12}, {"trivialaugment": True}, {"elastic": 0.02, "blur": 1}, None])
def test_a_resumed_training_is_the_same(augment: Any, tmp_path: Path) -> None:
    whole = trainer(None, [ProgressiveResizing()], augment)
    whole.fit()
    # in the middle of an epoch of small pictures, and at the end of one
    for step in (5, 8):
        folder = tmp_path / str(step)
        folder.mkdir()
        fit_until_stopped(trainer(folder, [ProgressiveResizing(), Stop(step)], augment))
        resumed = trainer(folder, [ProgressiveResizing(), Stop(None)], augment)
        torch.manual_seed(99)
        resumed.fit(resume=True)
        assert identical(weights(whole), weights(resumed))


def test_the_trial_of_the_model_leaves_no_trace() -> None:
    plain, tried = trainer(None, []), trainer(None, [ProgressiveResizing(start=1.0)])
    plain.objective.model[1].eval()  # type: ignore[index]
    plain.fit()
    tried.objective.model[1].eval()  # type: ignore[index]
    tried.fit()
    assert identical(weights(plain), weights(tried))


def test_models_of_one_size_and_other_data_are_refused(tmp_path: Path) -> None:
    digits, wine = load_digits(), load_wine()
    pictures = fb.Dataset.from_arrays(digits.images[:200] / 16, digits.target[:200])
    rows = fb.Dataset.from_arrays(wine.data, wine.target)
    common: dict[str, Any] = {"techniques": "progressive_resizing", "quiet": True, "epochs": 2}
    learner = fb.Learner(pictures, model="mlp", run=tmp_path / "run", **common)
    with pytest.raises(UsageError, match="the model takes pictures of one size, and not of 4×4"):
        learner.fit(check=False)
    assert not (tmp_path / "run").exists(), "before the first step"
    with pytest.raises(UsageError, match="progressive_resizing is for pictures, and no input is one; leave it out"):
        fb.Learner(rows, model="mlp", run=False, **common).fit(check=False)
    x, y = torch.rand(40, 3, 16, 16), torch.arange(40) % 2
    own = torch.utils.data.TensorDataset(x, y)
    with pytest.raises(UsageError, match="progressive_resizing is for pictures, and no input is one"):
        fb.Learner(own, model=network(), loss=nn.CrossEntropyLoss(), run=False, **common).fit(check=False)
