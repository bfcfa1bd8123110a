"""Objectives that make samples anew, from the command line: trained without labels, measured, asked, resumed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from forkserver import Forkserver
from PIL import Image
from safetensors.torch import load_file

WAYS: dict[str, list[Any]] = {
    "vae": ["--set", "objective.beta=0.5", "--set", "objective.code=4", "--set", "model.options.width=8"],
    "flow-matching": ["--set", "objective.width=8", "--set", "objective.steps=2"],
    "wgan-gp": ["--set", "objective.width=8", "--set", "training.phases.generator.schedule=linear"],
}
"""By objective, what training is given beside it."""
Way = tuple[str, Path, list[Any]]


@pytest.fixture(scope="module")
def photos(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each digit."""
    folder = tmp_path_factory.mktemp("generative") / "photos"
    for of_class in digits_folder.iterdir():
        (folder / of_class.name).mkdir(parents=True)
        for file in sorted(of_class.iterdir())[:12]:
            shutil.copy(file, folder / of_class.name)
    return folder


@pytest.fixture(scope="module")
def flat(photos: Path) -> Path:
    """The same pictures in one folder, which says nothing of them."""
    folder = photos.parent / "flat"
    folder.mkdir()
    for i, file in enumerate(sorted(photos.glob("*/*"))):
        shutil.copy(file, folder / f"{i}{file.suffix}")
    return folder


@pytest.fixture(scope="module", params=WAYS)
def way(request: pytest.FixtureRequest, flambeau: Forkserver, flat: Path) -> Way:
    """A way of training, its run, and the options that it was trained with."""
    name = request.param
    options = ["--objective", name, "--epochs", 3, *WAYS[name]]
    trained = flambeau("train", flat, *options, "--run", name, cwd=flat.parent)
    assert trained.status == 0, trained.err
    return name, flat.parent / name, options


def test_it_is_trained_without_labels_measured_and_got_back_by_its_name(
    way: Way, flambeau: Forkserver, flat: Path, photos: Path
) -> None:
    name, run, _ = way
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    assert recipe["objective"]["name"] == name
    assert name != "vae" or (recipe["objective"]["beta"], recipe["model"]["name"]) == (0.5, "conv-coder")
    turns = {"generator": {"every": 5, "schedule": "linear"}}
    assert name != "wgan-gp" or recipe["training"]["phases"] == turns
    kept = json.loads((run / "evaluation.json").read_text())
    assert kept["detail"]["kind"] == "pictures" and "baselines" not in kept
    assert (run / "report.html").read_text().count("data:image/png") > 8
    (told,) = (r for r in flambeau("runs", ".", "--json", cwd=run.parent).json["runs"] if r["run"] == name)
    assert told["status"] == "finished", "the list needs no plug-in"

    measured = flambeau("evaluate", run, "--json", cwd=run.parent)
    assert measured.json["metrics"] == pytest.approx(kept["metrics"]), measured.err
    other = flambeau("evaluate", run, photos, "--json", cwd=run.parent)
    assert other.json["samples"] == len([*flat.iterdir()]), other.err
    assert other.json["metrics"].keys() == kept["metrics"].keys()
    said = flambeau("predict", run, flat, "--json", cwd=run.parent).json["predictions"]
    assert len(said) == len([*flat.iterdir()]) and all(isinstance(row["label"], float) for row in said)
    written = flambeau("predict", run, flat, "--out", "told", cwd=run.parent)
    assert written.status == 2 and "--out is for answers that are files, and what is told is none" in written.told


def test_it_generates_pictures(way: Way, flambeau: Forkserver, tmp_path: Path) -> None:
    _, run, _ = way
    made = [
        flambeau("generate", run, "--count", 5, "--out", out, "--seed", seed, cwd=tmp_path)
        for out, seed in (("one", 1), ("again", 1), ("other", 2))
    ]
    assert [command.status for command in made] == [0, 0, 0], made[0].err
    one, again, other = (
        [Image.open(tmp_path / out / f"000{i}.png") for i in range(1, 6)] for out in ("one", "again", "other")
    )
    assert [p.size for p in one] == [(8, 8)] * 5 and [p.tobytes() for p in one] == [p.tobytes() for p in again]
    assert one[0].tobytes() not in {p.tobytes() for p in (*one[1:], *other)}


def test_one_that_is_killed_goes_on_to_the_same_weights(way: Way, flambeau: Forkserver, flat: Path) -> None:
    name, run, options = way
    begun = f"{name}-killed"
    often = [*options, "--set", "checkpoint_minutes=0"]
    command = flambeau.start("train", flat, *often, "--run", begun, cwd=flat.parent)
    assert command.until(lambda: len([*(flat.parent / begun).glob("checkpoints/*")]) > 1)
    command.kill()
    resumed = flambeau("resume", begun, cwd=flat.parent)
    assert resumed.status == 0, resumed.err
    first, second = (load_file(folder / "model.safetensors") for folder in (run, flat.parent / begun))
    assert first.keys() == second.keys() and all(tensor.equal(second[key]) for key, tensor in first.items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "objective.bata=2"), "there is no setting 'objective.bata'; did you mean 'beta'"),
        (("--model", "lenet"), "lenet gives numbers for a sample, the target wants"),
        (("--set", "loss=mse"), "the objective vae has a loss of its own"),
        (("--metric", "accuracy"), "VAE has no metric 'accuracy'; expected loss"),
        (("--objective", "vea"), "no objective is called 'vea'; did you mean 'vae'"),
        (("--set", "objective.likelihood=normal"), "no likelihood is called 'normal'"),
    ],
)
def test_what_does_not_go_with_it_is_one_line(
    arguments: tuple[str, ...], message: str, flambeau: Forkserver, flat: Path, tmp_path: Path
) -> None:
    done = flambeau("train", flat, "--objective", "vae", *arguments, "--run", tmp_path / "run", cwd=tmp_path)
    assert done.status == 2 and message in done.told and not (tmp_path / "run").exists()
