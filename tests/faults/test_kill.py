"""`kill -9` at any instant: the resumed training ends with the same bytes as one that was left alone."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

LATER = ("step", "checkpoint", "validation")
SMALL = ("--epochs", "4", "--no-check", "--no-baseline", "--run", "run", "--set", "batch_size=4",
         "--set", "log_every=1", "--set", "checkpoint_minutes=0.001")  # fmt: skip
LARGER = ("--task", "super-resolution scale=2 noise=0.02", "--model", "edsr", "--set", "model.options.width=8",
          "--set", "model.options.blocks=1")  # fmt: skip
WAYS: dict[str, tuple[str, tuple[str, ...]]] = {
    "super-resolution": ("images", LARGER),
    "esrgan": ("images", (*LARGER, "--objective", "esrgan", "--set", "objective.width=4")),
    "segmentation on a pretrained backbone": (
        ".", ("--model", "timm:test_resnet", "--pretrained", "{scenes}/backbone.pth")),
    "a GAN with EMA and DiffAugment": ("images", (
        "--objective", "dcgan", "--set", "objective.width=8", "--set", "objective.diffaugment=true",
        "--set", "training.phases.generator.schedule=linear", "--technique", "ema")),
}  # fmt: skip
"""Of each name the data, in `scenes`, and what training is given."""


def kill_in(moment: str, training: Any, random: random.Random) -> str | None:
    """Starts or resumes, kills at a moment of this kind, and says by what was left behind which it really hit.

    None if the training came to its end first.
    """
    before = training.step()
    command = training.start()
    if moment == "encode":
        command.until(lambda: training.encoding(command))
        spin(random.uniform(0, 0.02))
    elif moment == "validation":
        command.until(lambda: training.step() > before and training.validating())
    else:
        at = before + random.randint(1, 6)
        command.until(lambda: training.step() >= at and training.saving(command) == (moment == "checkpoint"))
        spin(random.uniform(0, 0.001))
    if command.kill() == 0 or training.finished:
        return None
    assert command.status == -9, command.err
    if training.encoding(command):
        return "encode"
    if training.saving(command):
        return "checkpoint"
    return "validation" if training.validating() else "step"


def spin(seconds: float) -> None:
    """Lets a random time pass, so that kills fall on all parts of a moment."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def kill_all(moments: Sequence[str], make: Callable[..., Any], expected: Any, random: random.Random) -> Counter[str]:
    """Kills at each of the moments in turn, in as few trainings as they fit into; each must end as expected.

    Returns:
        how many kills fell on each kind of moment.
    """
    hits: Counter[str] = Counter()
    left, number, training = list(moments), 0, make("0")
    while left:
        if (left[0] == "encode" and training.commands) or training.finished or number > 3 * len(moments):
            assert training.finish().result() == expected
            number += 1
            assert number <= 3 * len(moments), f"only these were hit: {hits}"
            training = make(str(number))
        hit = kill_in(left[0], training, random)
        if hit is not None:
            hits[hit] += 1
            left.pop(0)
    assert training.finish().result() == expected
    return hits


def test_one_kill_of_each_kind(training: Callable[..., Any], undisturbed: Any) -> None:
    hits = kill_all(("encode", "checkpoint", "step", "validation"), training, undisturbed, random.Random(0))
    assert hits.total() == 4


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of a disc, what each of their pixels shows, and weights of a backbone."""
    folder, rng = tmp_path_factory.mktemp("scenes"), np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for i in range(24):
        down, across = np.mgrid[:32, :32]
        mask = (np.hypot(*(np.stack([down, across]) - rng.integers(8, 24, (2, 1, 1)))) < 8).astype(np.uint8)
        picture = 60 + 120 * mask[..., None] + rng.integers(-40, 41, (32, 32, 3))
        Image.fromarray(mask).save(folder / "masks" / f"{i}.png")
        Image.fromarray(picture.astype(np.uint8)).save(folder / "images" / f"{i}.png")
    torch.manual_seed(0)
    torch.save(timm.create_model("test_resnet").state_dict(), folder / "backbone.pth")
    return folder


@pytest.mark.parametrize("way", WAYS)
def test_kills_of_trainings_on_pictures(way: str, training: Callable[..., Any], scenes: Path) -> None:
    data, options = WAYS[way]
    make = partial(training, data=scenes / data, options=(*SMALL, *(o.format(scenes=scenes) for o in options)))
    alone = make("alone").finish()
    assert alone.step() > 12, "so that both kills fall into it"
    assert kill_all(("checkpoint", "step"), make, alone.result(), random.Random(0)).total() == 2


@pytest.mark.slow
def test_twenty_kills(training: Callable[..., Any], undisturbed: Any) -> None:
    chance = random.Random(20)
    moments = [m for _ in range(5) for m in ("encode", *chance.sample(LATER, 3))]
    hits = kill_all(moments, training, undisturbed, chance)
    assert hits.total() == 20
    assert all(hits[kind] >= 2 for kind in ("encode", *LATER)), hits
