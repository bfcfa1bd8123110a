"""A generative training that fails in silence is told so; others are left in peace, and as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from forkserver import Forkserver
from safetensors.torch import load_file

import flambeau as fb

TRAIN = ("--no-check", "--no-baseline", "--epochs", 3)


def findings(run: Path) -> dict[str, dict[str, Any]]:
    lines = fb.Run.open(run).lines
    return {finding["check"]: finding for line in lines for finding in line.get("findings", ())}


@pytest.mark.parametrize(
    ("objective", "setting", "check", "said"),
    [
        ("vae", "objective.beta=100", "latent-ignored", "the code is ignored: its 16 numbers say"),
        ("dcgan", "training.phases.discriminator.learning_rate=0.004", "discriminator-wins", "its loss is"),
    ],
)
def test_what_is_planted_is_named_within_three_epochs(
    objective: str, setting: str, check: str, said: str, flambeau: Forkserver, digits_folder: Path, tmp_path: Path
) -> None:
    plain = ("objective.norm=none", "objective.diffaugment=false", "training.learning_rate=2e-4")
    more = [one for setting in plain for one in ("--set", setting)] if objective == "dcgan" else []
    command = ("train", digits_folder, *TRAIN, "--objective", objective, "--set", setting, *more)
    told = flambeau(*command, "--run", "run", cwd=tmp_path)
    assert told.status == 0, told.err
    found = findings(tmp_path / "run")
    assert [*found] == [check] and found[check]["places"][0] in ("step 79", "step 158", "step 237")
    assert found[check]["fix"].startswith("try ") and f"[{check}]" in told.err and said in found[check]["message"]


@pytest.mark.parametrize("objective", ["vae", "dcgan"])
def test_a_healthy_training_is_left_in_peace_and_as_it_is(
    objective: str, flambeau: Forkserver, digits_folder: Path, tmp_path: Path
) -> None:
    command = ("train", digits_folder, *TRAIN, "--objective", objective)
    watched, not_watched = (
        flambeau(*command, "--run", run, *more, cwd=tmp_path)
        for run, more in (("watched", ()), ("not", ("--set", "training.monitors=false")))
    )
    assert watched.status == not_watched.status == 0, watched.err
    lines = fb.Run.open(tmp_path / "watched").lines
    assert findings(tmp_path / "watched") == {}
    shown = [line["monitors"] for line in lines if "diversity" in line.get("monitors", {})]
    assert len(shown) == 3 and "moved" not in shown[0] and 0 < shown[-1]["moved"] < 1
    assert shown[-1]["copied"] < 0.1 and shown[-1].get("used_numbers_of_the_code", 16) > 4
    weights, others = (load_file(tmp_path / run / "model.safetensors") for run in ("watched", "not"))
    assert weights.keys() == others.keys() and all(others[name].equal(value) for name, value in weights.items())


HEALTHY = {
    "gan": 8, "dcgan": 5, "cgan": 8, "wgan-gp": 8, "vae": 5, "cvae": 5, "autoencoder": 4, "denoising": 4,
    "diffusion": 5, "flow-matching": 5,
}  # fmt: skip
"""Ten ways of training, with the epochs of each: past where a small one looks as ill as it ever does."""


@pytest.mark.long
@pytest.mark.parametrize("objective", HEALTHY)
def test_no_alarm_in_ten_healthy_trainings(
    objective: str, flambeau: Forkserver, digits_folder: Path, tmp_path: Path
) -> None:
    trained = flambeau("train", digits_folder, "--no-check", "--no-baseline", "--epochs", HEALTHY[objective],
                       "--objective", objective, "--run", "run", cwd=tmp_path)  # fmt: skip
    assert trained.status == 0, trained.err
    assert findings(tmp_path / "run") == {}
