"""Small runs, and their exports for other programs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from words import sentences

import flambeau as fb


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of coloured digits of 16 × 16 pixels, `data/` of PNG files beside it."""
    folder = tmp_path_factory.mktemp("photos")
    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images[:120], digits.target, strict=False)):
        grey = (image * (255 / 16)).astype(np.uint8)
        file = folder / "data" / str(label) / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.stack([grey, np.roll(grey, 1, 0), 255 - grey], -1)).resize((16, 16)).save(file)
    data = fb.Dataset.from_folder(folder / "data")
    fb.Learner(data, model="lenet", epochs=2, baseline=False, run=folder / "run", quiet=True).fit(check=False)
    return folder / "run"


@pytest.fixture(scope="session")
def topics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of sentences."""
    texts, labels = sentences()
    run = tmp_path_factory.mktemp("topics") / "run"
    data = fb.Dataset({"text": texts, "topic": labels}, target="topic")
    fb.Learner(data, run=run, epochs=1, baseline=False, quiet=True).fit(check=False)
    return run
