"""Masks of pictures that are larger than what a model sees: trained on patches of them, told in tiles."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from forkserver import Forkserver
from PIL import Image

import flambeau as fb
from flambeau.ensembles import ensemble
from flambeau.fields.mask import UNKNOWN
from flambeau.fields.picture.patches import cut

TILED = ("--size", 32, "--set", "fields.image.resize=keep", "--set", "fields.mask.patch=24")


def scene(generator: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture of noise and discs, and its mask."""
    down, across = np.mgrid[:height, :width]
    mask = np.zeros((height, width), np.uint8)
    for y, x in generator.uniform(0, 1, (max(1, height * width // 600), 2)) * (height, width):
        mask[np.hypot(down - y, across - x) < 6] = 1
    picture = np.array([[90, 90, 90], [200, 60, 60]])[mask] + generator.integers(-20, 21, (height, width, 3))
    return picture.astype(np.uint8), mask


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures and masks of 30 to 60 pixels a side, and two others beside them."""
    folder, generator = tmp_path_factory.mktemp("tiles"), np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / "fields" / name).mkdir(parents=True)
    for i in range(24):
        picture, mask = scene(generator, *generator.integers(30, 60, 2))
        Image.fromarray(picture).save(folder / "fields" / "images" / f"{i}.png")
        Image.fromarray(mask).save(folder / "fields" / "masks" / f"{i}.png")
    for name, size in (("large", (70, 150)), ("small", (20, 45))):
        picture, mask = scene(generator, *size)
        Image.fromarray(picture).save(folder / f"{name}.png")
        Image.fromarray(mask).save(folder / f"{name}-mask.png")
    return folder


def test_a_mask_of_any_size_is_put_of_tiles(flambeau: Forkserver, fields: Path) -> None:
    options = ("--epochs", 12, "--batch-size", 4, "--learning-rate", 0.01, "--no-baseline", "--no-check")
    trained = flambeau("train", "fields", *TILED, *options, "--run", "run", cwd=fields)
    assert trained.status == 0, trained.err
    told = flambeau("predict", "run", "large.png", "small.png", "--out", "out", "--json", cwd=fields)
    assert told.status == 0, told.err
    for name in ("large", "small"):
        truth, said = (np.asarray(Image.open(fields / file)) for file in (f"{name}-mask.png", f"out/{name}.png"))
        assert truth.shape == said.shape
        assert (truth == said).mean() > 0.95
        seams = (truth == said)[:, 24:-24] if name == "large" else truth == said
        assert seams.mean() > 0.95, "also where tiles meet"
    predictor = fb.load(fields / "run", device="cpu")
    encoded = predictor.encode(fields / "large.png")["image"]
    (whole,) = predictor.outputs([{"image": encoded}])
    assert whole.shape == (2, 70, 150) and np.allclose(whole.sum(0), 1, atol=1e-5)
    shutil.copytree(fields / "run", fields / "again")
    ensemble([fields / "run", fields / "again"], fields / "both")
    joint = fb.load(fields / "both", device="cpu").predict([fields / "large.png", fields / "small.png"])
    assert all(np.array_equal(one.label, np.asarray(Image.open(fields / "out" / f"{name}.png")))
               for one, name in zip(joint, ("large", "small"), strict=True))  # fmt: skip
    stored = predictor.fields["image"].encode(fields / "large.png")  # of which an evaluation draws what it saw
    output = predictor.forward(predictor.prepare(torch.arange(1), {"image": torch.from_numpy(stored)[None]}))[0]
    shown = predictor.decode(output, value=str(fields / "large.png")).label
    assert (shown[:31, :31] != UNKNOWN).all() and (shown[34:, 34:] == UNKNOWN).all()


def test_a_patch_is_the_same_part_of_both() -> None:
    mask = torch.arange(2 * 9 * 7).view(2, 9, 7)
    picture, part = cut(mask[:, None].float(), mask, 4, torch.Generator().manual_seed(1))
    assert picture.shape == (2, 1, 4, 4) and torch.equal(picture[:, 0], part.float())
    narrow, beside = cut(mask[:, None].float(), mask, 8, torch.Generator().manual_seed(1))
    assert narrow.shape == (2, 1, 8, 7) and torch.equal(narrow[:, 0], beside.float()), "a side that is shorter stays"
    whole, same = cut(mask[:, None].float(), mask, 9, torch.Generator().manual_seed(1))
    assert whole.shape == (2, 1, 9, 7) and torch.equal(same, mask)
