"""Kinds and plug-ins whose targets have a place in a picture, from the table of files to the files of answers."""

from __future__ import annotations

import base64
import io
import json
import signal
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forkserver import Forkserver
from PIL import Image
from safetensors.torch import load_file

from flambeau.fields import Picture

TARGETS = {"mask": ("mask", "mean_iou", 0.7), "picture": ("picture", "psnr", 19.0)}
AUGMENT = "augment={rotation: 20, horizontal_flip: 0.5, zoom: 0.1}"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of noisy pictures of a disc and a bar, what they are without noise, and what each pixel shows."""
    folder, rng = tmp_path_factory.mktemp("scenes"), np.random.default_rng(0)
    colours = np.array([[60, 60, 80], [200, 40, 40], [40, 200, 60]])
    rows = ["photo,mask,picture"]
    for i in range(30):
        h, w = rng.integers(24, 40, 2)
        down, across = np.mgrid[:h, :w]
        middle = rng.uniform(0.3, 0.7, 2) * (h, w)
        mask = (np.hypot(down - middle[0], across - middle[1]) < h / 4).astype(np.uint8)
        mask[:, :5] = 2
        noisy = colours[mask] + rng.integers(-40, 41, (h, w, 3))
        palette = Image.fromarray(mask)
        palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
        made = {"photo": Image.fromarray(noisy.clip(0, 255).astype(np.uint8)), "mask": palette,
                "picture": Image.fromarray(colours[mask].astype(np.uint8))}  # fmt: skip
        for name, picture in made.items():
            (folder / name).mkdir(exist_ok=True)
            picture.save(folder / name / f"{i}.png")
        rows.append(",".join(f"{name}/{i}.png" for name in made))
    (folder / "scenes.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture(scope="module", params=TARGETS)
def trained(request: pytest.FixtureRequest, flambeau: Forkserver, scenes: Path) -> tuple[str, Path, list[Any]]:
    """The name of a target, its run, and the command that trained it."""
    name = request.param
    target = TARGETS[name][0]
    command = ["train", "scenes.csv", "--target", target, "--read",
               f"{target}={target}", "--input", "photo", "--epochs", 12, "--batch-size", 4, "--learning-rate", 0.01,
               "--set", AUGMENT]  # fmt: skip
    done = flambeau(*command, "--run", name, cwd=scenes)
    assert done.status == 0, done.err
    return name, scenes / name, command


def test_it_is_trained_and_measured(trained: tuple[str, Path, list[Any]], flambeau: Forkserver) -> None:
    name, run, _ = trained
    _, metric, least = TARGETS[name]
    kept = json.loads((run / "evaluation.json").read_text())
    assert kept["metric"] == metric and kept["metrics"][metric] > least
    report = (run / "report.html").read_text()
    assert report.count("data:image/") >= 2
    if name == "mask":  # true, predicted and where they differ, and each class's IoU
        shown = [report.count(f'alt="{what}"') for what in ("true", "predicted", "difference")]
        assert shown == [len(kept["detail"]["pictures"])] * 3 and ">IoU</th>" in report and ">pixels</th>" in report
    measured = flambeau("evaluate", run, "--json", cwd=run.parent)
    # in batches of another size, in bf16 where the processor has it, which keeps 8 bits
    assert measured.json["metrics"] == pytest.approx(kept["metrics"], rel=2**-8), measured.err


def test_answers_are_files_of_the_size_of_what_was_asked(
    trained: tuple[str, Path, list[Any]], flambeau: Forkserver, scenes: Path
) -> None:
    name, run, _ = trained
    target = TARGETS[name][0]
    out = scenes / f"{name}-answers"
    told = flambeau("predict", run, scenes / "photo", "--out", out, "--json", cwd=scenes)
    assert told.status == 0 and len(told.json["predictions"]) == 30, told.err
    for entry in told.json["predictions"][:5]:
        truth = np.asarray(Image.open(scenes / target / Path(entry["file"]).name))
        answer = np.asarray(Image.open(entry["label"]))
        assert answer.shape == truth.shape
        right = answer == truth if name == "mask" else np.abs(answer.astype(int) - truth) < 50
        assert right.mean() > 0.8
    again = flambeau("predict", run, scenes / "photo" / "0.png", "--out", out, cwd=scenes)
    assert again.out.strip().endswith("0-2.png"), "none that is there is written over"
    unsaid = flambeau("predict", run, scenes / "photo" / "0.png", cwd=scenes)
    assert unsaid.status == 2 and "give --out" in unsaid.told
    served = flambeau("predict", run, scenes / "photo" / "0.png", "--json", cwd=scenes)
    content = base64.b64decode(served.json["predictions"][0]["label"])
    assert Image.open(io.BytesIO(content)).size == Image.open(scenes / "photo" / "0.png").size


def test_a_server_answers_with_the_same_files(
    trained: tuple[str, Path, list[Any]], flambeau: Forkserver, scenes: Path
) -> None:
    name, run, _ = trained
    file = scenes / "photo" / "1.png"
    serving = flambeau.start("serve", run, "--port", 0, "--json", cwd=scenes)
    url = serving.address()
    data = file.read_bytes()
    request = urllib.request.Request(f"{url}/predict", data, {"Content-Type": "image/png"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        (served,) = json.load(answer)["predictions"]
    told = flambeau("predict", run, file, "--json", cwd=scenes)
    assert served["label"] == told.json["predictions"][0]["label"]
    serving.send(signal.SIGTERM)
    serving.wait()


def test_a_training_that_is_killed_goes_on_to_the_same_weights(
    trained: tuple[str, Path, list[Any]], flambeau: Forkserver, scenes: Path
) -> None:
    name, run, command = trained
    begun = f"{name}-killed"
    started = flambeau.start(*command, "--set", "checkpoint_minutes=0", "--run", begun, cwd=scenes)
    assert started.until(lambda: len([*(scenes / begun).glob("checkpoints/*")]) > 1)
    started.kill()
    resumed = flambeau("resume", begun, cwd=scenes)
    assert resumed.status == 0, resumed.err
    first, second = (load_file(folder / "model.safetensors") for folder in (run, scenes / begun))
    assert first.keys() == second.keys() and all(tensor.equal(second[key]) for key, tensor in first.items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "lenet"), "lenet gives numbers for a sample"),
        (("--set", "fields.mask.classes=2"), "30 masks have values that are no class"),
        (("--metric", "accuracy"), "there is no metric 'accuracy' for a target of the kind mask"),
    ],
)
def test_what_does_not_go_with_a_mask_is_one_line(
    arguments: tuple[str, ...], message: str, flambeau: Forkserver, scenes: Path
) -> None:
    plugin = ("--target", "mask", "--read", "mask=mask", "--input", "photo")
    done = flambeau("train", "scenes.csv", *plugin, *arguments, "--run", "refused", cwd=scenes)
    assert done.status == 2 and message in done.told and not (scenes / "refused").exists()


def test_an_answer_as_json_is_no_thumbnail() -> None:
    large = Picture().portable(np.zeros((300, 400, 3), np.uint8))
    assert Image.open(io.BytesIO(base64.b64decode(large))).size == (400, 300)


def test_a_row_whose_mask_is_missing_is_left_out(flambeau: Forkserver, scenes: Path) -> None:
    lines = (scenes / "scenes.csv").read_text().splitlines()
    lines[3] = "photo/2.png,,"
    (scenes / "gaps.csv").write_text("\n".join(lines))
    plugin = ("--target", "mask", "--read", "mask=mask", "--input", "photo")
    done = flambeau("train", "gaps.csv", *plugin, "--epochs", 1, "--run", "gaps", cwd=scenes)
    assert done.status == 0 and "1 sample left out: the value is missing" in done.err


def test_masks_that_are_not_of_their_picture_are_told_of(flambeau: Forkserver, scenes: Path, tmp_path: Path) -> None:
    """One is turned, one has a class that is in no other, and of one nothing is known."""
    header, *lines = (scenes / "scenes.csv").read_text().splitlines()
    rows = [[str(scenes / cell) for cell in line.split(",")[:2]] for line in lines]
    masks = [np.asarray(Image.open(mask)).copy() for _, mask in rows[:3]]
    masks[0], masks[1][0, 0], masks[2][:] = np.zeros((40, 10), np.uint8), 9, 255
    for row, mask in enumerate(masks):
        Image.fromarray(mask).save(tmp_path / f"{row}.png")
        rows[row][1] = str(tmp_path / f"{row}.png")
    (tmp_path / "scenes.csv").write_text("\n".join(["photo,mask", *map(",".join, rows)]))
    command = ("scenes.csv", "--target", "mask", "--read", "mask=mask")
    checked = flambeau("check", *command, "--json", cwd=tmp_path)
    found = {finding["check"]: finding["rows"] for finding in checked.json["findings"]}
    assert (found["aspect"], found["stray-class"]) == ([0], [1])
    trained = flambeau("train", *command, "--epochs", 1, "--batch-size", 1, "--run", "run", cwd=tmp_path)
    assert trained.status == 0 and "nothing is known in the mask" in trained.err, trained.err
