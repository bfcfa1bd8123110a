"""`deploy/cpp`: the two programs are built, and print the numbers that Python has."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from outside import HEADERS, unpacked
from PIL import Image as PILImage
from sklearn.datasets import load_sample_image

import flambeau as fb
from flambeau.fields.decoding import decode

SOURCE = Path(__file__).parents[2] / "deploy" / "cpp"
NEAR = 1e-4
TEXTS = ["Don't stop: the Debugger's “breakpoint”, l'été 7½ हिन्दी", "print(x)  # a string", "天气好"]
TURNS = range(1, 9)
pytestmark = [pytest.mark.slow, pytest.mark.network]


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that both are built in."""
    needed = (
        "cmake",
        "g++",
        "/usr/include/jpeglib.h",
        "/usr/include/unicode/regex.h",
        "/usr/include/nlohmann/json.hpp",
    )
    missing = [one for one in needed if not (shutil.which(one) or Path(one).exists())]
    if missing:
        pytest.skip(f"left out, there is no {missing[0]} here")
    folder = tmp_path_factory.mktemp("cpp")
    headers = unpacked(HEADERS, ".h", folder / "include")
    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    (folder / "libonnxruntime.so.1").symlink_to(library)  # the name that programs look for
    for command in (
        ["cmake", "-S", SOURCE, "-B", folder, f"-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}",
         f"-DONNXRUNTIME_INCLUDE={headers}", f"-DONNXRUNTIME_LIBRARY={folder / 'libonnxruntime.so.1'}"],
        ["cmake", "--build", folder, "--parallel", "2"],
    ):  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder


def answers(program: Path, export: Path, *files: Path, texts: Sequence[str] = ()) -> list[dict[str, float]]:
    """The classes with their chances, of each input."""
    done = subprocess.run([program, export, *files], input="\n".join(texts), capture_output=True, text=True, check=True)
    lines = [[line.split(" ", 1) for line in part.splitlines()] for part in done.stdout.split("\n\n") if part]
    return [{label: float(chance) for chance, label in part} for part in lines]


@pytest.mark.parametrize("format", ["onnx", "compiled"])
def test_pictures_get_the_numbers_of_python(format: str, programs: Path, photos: Path, tmp_path: Path) -> None:
    export, run = fb.export(photos, format=format, out=tmp_path / "photos").path, fb.load(photos)
    china = PILImage.fromarray(load_sample_image("china.jpg"))
    files = []
    for turn in TURNS:  # of the size that the model takes, however the camera was held
        exif = PILImage.Exif()
        exif[0x0112] = turn
        files.append(tmp_path / f"{turn}.jpg")
        china.crop((20 * turn, 60, 20 * turn + 16, 76)).save(files[-1], exif=exif)
    large = tmp_path / "large.jpg"
    china.crop((40, 60, 341, 260)).save(large)
    given = answers(programs / f"flambeau-{format}", export, *files, large)
    for file, chances in zip(files, given, strict=False):
        assert chances == pytest.approx(run.predict(file).probabilities, abs=NEAR)
    exported = fb.load(export)  # of another size the graph itself makes it what the model takes
    (expected,) = exported.runtimes["predict"]({"image": decode(large, 3, None)[None]})["probabilities"]
    assert given[-1] == pytest.approx(dict(zip(run.classes, expected.tolist(), strict=True)), abs=NEAR)
    assert len({tuple(np.round([*chances.values()], 4)) for chances in given}) == len(given)


@pytest.mark.parametrize("format", ["onnx", "compiled"])
def test_lines_of_text_get_the_numbers_of_python(format: str, programs: Path, topics: Path, tmp_path: Path) -> None:
    export, run = fb.export(topics, format=format, out=tmp_path / "topics").path, fb.load(topics)
    given = answers(programs / f"flambeau-{format}", export, texts=TEXTS)
    for text, chances in zip(TEXTS, given, strict=True):
        assert chances == pytest.approx(run.predict(text).probabilities, abs=NEAR)


def test_what_cannot_be_read_is_one_line(programs: Path, photos: Path, tmp_path: Path) -> None:
    export = fb.export(photos, format="onnx", out=tmp_path / "photos").path
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8 no more")
    for program, arguments, told in (
        ("onnx", (export, broken), "is no JPEG that can be read"),
        ("onnx", (export, tmp_path / "none.jpg"), "none.jpg cannot be read"),
        ("onnx", (photos,), "export.json cannot be read"),
        ("compiled", (export,), "take --format compiled"),
    ):
        done = subprocess.run([programs / f"flambeau-{program}", *arguments], capture_output=True, text=True)
        assert done.returncode == 2 and told in done.stderr and done.stderr.count("\n") == 1
