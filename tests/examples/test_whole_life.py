"""Plug-ins of one file, of the parts that everything hangs on: trained, killed and gone on with, measured, asked and
served, each by its name."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import yaml
from forkserver import Command, Forkserver
from PIL import Image
from safetensors.torch import load_file

PLUGINS = Path(__file__).parents[2] / "examples" / "plugins"
ROWS = 40
SETTINGS = ("--epochs", 4, "--no-check", "--no-baseline", "--set", "checkpoint_minutes=0")


def shapes(folder: Path, generator: np.random.Generator) -> None:
    for row in range(ROWS):
        kind = folder / "data" / ("ball", "box")[row % 2]
        kind.mkdir(parents=True, exist_ok=True)
        points = generator.normal(size=(90, 3))
        points /= (np.linalg.norm(points, axis=1) if row % 2 == 0 else np.abs(points).max(1))[:, None]
        np.savetxt(kind / f"{row}.xyz", points, fmt="%.4f")


def directions(folder: Path, generator: np.random.Generator) -> None:
    x, y = generator.normal(size=(2, ROWS))
    lines = [f"{a:.4f},{b:.4f},{math.degrees(math.atan2(b, a)) % 360:.2f}" for a, b in zip(x, y, strict=True)]
    (folder / "data.csv").write_text("\n".join(["x,y,direction", *lines]))


def classes(folder: Path, generator: np.random.Generator) -> None:
    x = generator.normal(size=ROWS)
    lines = [f"{a:.4f},{'ab'[row % 2]},{'yes' if a > 0 else 'no'}" for row, a in enumerate(x)]
    (folder / "data.csv").write_text("\n".join(["x,c,label", *lines]))


def captioned(folder: Path, generator: np.random.Generator) -> None:
    (folder / "data").mkdir()
    for row in range(ROWS):
        pixels = generator.integers(0, 90, (12, 12, 3)) + 120 * (row % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "data" / f"{row}.png")
        (folder / "data" / f"{row}.txt").write_text(("Dark", "Light")[row % 2])


class Life(NamedTuple):
    """How a plug-in is used: data, options of the training, what is asked, and the same as a body for HTTP."""

    make: Callable[[Path, np.random.Generator], None]
    data: str
    options: tuple[object, ...]
    asked: str = "data.csv"
    body: bytes | None = None


LIVES = {
    "points": Life(shapes, "data", ("--model", "pointnet"), "data/ball/0.xyz"),
    "angle": Life(
        directions,
        "data.csv",
        ("--target", "direction", "--read", "direction=angle"),
        body=b'{"inputs":[{"x":1,"y":0}]}',
    ),
    "r_drop": Life(classes, "data.csv", ("--objective", "r_drop"), body=b'{"inputs":[{"x":1,"c":"a"}]}'),
    "captions": Life(captioned, "data", ("--model", "mlp"), "data/0.png"),
}


def served(serving: Command, life: Life, file: Path) -> object:
    """What a server answers, once it is ready."""
    url = serving.address()
    kind = "application/json" if life.body else "application/octet-stream"
    data = life.body or file.read_bytes()
    request = urllib.request.Request(f"{url}/predict", data, {"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=30) as answer:
        (prediction,) = json.load(answer)["predictions"]
    serving.send(signal.SIGTERM)
    serving.wait()
    return prediction["label"]


@pytest.mark.parametrize("name", LIVES)
def test_it_lives_from_training_to_serving(name: str, flambeau: Forkserver, tmp_path: Path) -> None:
    life, plugin = LIVES[name], ("--plugin", PLUGINS / f"{name}.py")
    life.make(tmp_path, np.random.default_rng(0))
    command = ("train", life.data, *plugin, *life.options, *SETTINGS)
    trained = flambeau(*command, "--run", "run", cwd=tmp_path)
    assert trained.status == 0, trained.err
    assert yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())["plugins"] == [f"{name}.py"]

    begun = flambeau.start(*command, "--run", "killed", cwd=tmp_path)
    assert begun.until(lambda: len([*(tmp_path / "killed").glob("checkpoints/*")]) > 1)
    begun.kill()
    resumed = flambeau("resume", "killed", *plugin, cwd=tmp_path)
    assert resumed.status == 0, resumed.err
    first, second = (load_file(tmp_path / run / "model.safetensors") for run in ("run", "killed"))
    assert first.keys() == second.keys() and all(tensor.equal(second[key]) for key, tensor in first.items())

    kept = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    measured = flambeau("evaluate", "run", *plugin, "--json", cwd=tmp_path)
    assert measured.json["metrics"] == pytest.approx(kept["metrics"]), measured.err
    told = flambeau("predict", "run", life.asked, *plugin, "--json", cwd=tmp_path)
    assert told.status == 0, told.err
    serving = flambeau.start("serve", "run", *plugin, "--port", 0, "--json", cwd=tmp_path)
    label = served(serving, life, tmp_path / life.asked)
    assert life.body or label == told.json["predictions"][0]["label"]


def test_a_source_that_takes_no_split_is_split_as_asked(flambeau: Forkserver, tmp_path: Path) -> None:
    captioned(tmp_path, np.random.default_rng(0))
    command = ("train", "data", "--plugin", PLUGINS / "captions.py", "--model", "mlp", *SETTINGS)
    trained = flambeau(*command, "--valid", 0.5, "--run", "run", cwd=tmp_path)
    assert trained.status == 0 and "20 train, 20 validate" in trained.err
    code = f"""
from flambeau.core import plugins
from flambeau.testing import check_source
plugins.load([{str(PLUGINS / "captions.py")!r}])
check_source("captions", "data", lower=True)
"""
    checked = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_a_plugin_that_fails_later_is_named_with_the_line(flambeau: Forkserver, tmp_path: Path) -> None:
    code = (PLUGINS / "captions.py").read_text().replace("        pictures = [", "        1 / 0\n        pictures = [")
    (tmp_path / "mine.py").write_text(code)
    done = flambeau("check", tmp_path, "--plugin", "mine.py", cwd=tmp_path)
    last = done.err.splitlines()[-1]
    assert done.status == 2 and "mine.py, line" in last and "ZeroDivisionError" in last and "bug" not in done.err
