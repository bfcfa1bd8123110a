"""Annotations through the command line: converted between formats, trained on, and written of what a model finds."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from forkserver import Forkserver
from PIL import Image as PILImage

from flambeau.data.annotations import FORMATS, Annotations, Picture
from flambeau.data.annotations.form import box
from flambeau.data.sources.opening import from_path
from flambeau.evaluation import evaluate_run

SIDE = 32


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 pictures of one bright square each, with its box, segment and split."""
    folder, generator = tmp_path_factory.mktemp("coco"), np.random.default_rng(0)
    pictures = []
    for i in range(40):
        pixels = generator.integers(0, 90, (SIDE, SIDE, 3)).astype(np.uint8)
        x, y = (int(at) for at in generator.integers(0, SIDE - 12, 2))
        pixels[y : y + 12, x : x + 12] = (220, 60, 40) if i % 2 else (40, 60, 220)
        file = folder / "raw" / f"{i:02}.png"
        file.parent.mkdir(exist_ok=True)
        PILImage.fromarray(pixels).save(file)
        ring = [x, y, x + 12, y, x + 12, y + 12, x, y + 12]
        boxes = [box(None, "red" if i % 2 else "blue", "", mask=[[float(at) for at in ring]])]
        pictures.append(Picture(file.name, str(file), (SIDE, SIDE), boxes if i else [], int(i >= 30)))
    FORMATS["coco"].save(Annotations(pictures, ["blue", "red"]), folder / "data")
    return folder / "data"


@pytest.fixture(scope="module")
def run(coco: Path, flambeau: Forkserver) -> Path:
    done = flambeau(
        "train",
        coco,
        "--epochs",
        16,
        "--batch-size",
        8,
        "--learning-rate",
        0.003,
        "--run",
        "run",
        "--no-baseline",
        cwd=coco.parent,
    )
    assert done.status == 0, done.err
    assert "image (image) → boxes (boxes)" in done.err and "30 train, 10 validate" in done.err, done.err
    return coco.parent / "run"


def test_from_each_format_to_each_other_the_boxes_stay(coco: Path, flambeau: Forkserver, tmp_path: Path) -> None:
    names, source = ["yolo", "cvat", "labelme", "label-studio", "voc", "box-table", "coco"], coco
    before = from_path(coco)
    for name in names:
        done = flambeau("convert", source, name, "--to", name, "--json", cwd=tmp_path)
        assert done.status == 0, done.err
        told = done.json
        assert (told["pictures"], told["boxes"], told["classes"]) == (40, 39, {"blue": 19, "red": 20})
        assert told["lost"] == (["39 masks"] if name == "voc" else []), name
        source = FORMATS[name].entry(tmp_path / name)
    after = from_path(source)
    assert [Path(file).name for file in after.columns["image"]] == [Path(file).name for file in before.columns["image"]]
    assert (after.split == before.split).all()
    for was, now in zip(before.columns["boxes"], after.columns["boxes"], strict=True):
        assert [b["label"] for b in now] == [b["label"] for b in was]
        for left, right in zip(was, now, strict=True):
            assert all(right[c] == pytest.approx(left[c], abs=1e-3) for c in ("x1", "y1", "x2", "y2"))


def test_what_a_model_finds_is_written_in_each_format_and_drawn(
    run: Path, coco: Path, flambeau: Forkserver, tmp_path: Path
) -> None:
    pictures = coco / "images" / "valid"
    told = flambeau("predict", run, pictures, "--json", cwd=tmp_path).json["predictions"]
    assert any(row["label"] for row in told), "it found something"
    for name in ("coco", "voc", "yolo", "labelme"):
        done = flambeau(
            "predict", run, os.path.relpath(pictures, tmp_path), "--format", name, "--out", name, "--draw", cwd=tmp_path
        )
        assert done.status == 0, done.err
        assert "10 pictures with" in done.err and ("confidences" in done.err) == (name == "voc"), done.err
        (tmp_path / name / "images").mkdir(exist_ok=True)
        for file in pictures.iterdir():  # which are left where they are
            where = {"voc": "JPEGImages", "labelme": "."}.get(name, "images")
            (tmp_path / name / where).mkdir(exist_ok=True)
            (tmp_path / name / where / file.name).write_bytes(file.read_bytes())
        drawn = sorted((tmp_path / name / "drawn").iterdir())
        assert [file.stem for file in drawn] == sorted(file.stem for file in pictures.iterdir())
        for file in drawn:
            file.unlink()
        found = {picture.name: picture for picture in FORMATS[name].parse(tmp_path / name).pictures}
        for row in told:
            boxes = found[Path(row["file"]).name].boxes
            assert [b["label"] for b in boxes] == [b["label"] for b in row["label"]]
            for one, other in zip(boxes, row["label"], strict=True):
                assert one["x1"] == pytest.approx(other["x1"], abs=0.1)
                assert one.get("confidence") == (
                    None if name == "voc" else pytest.approx(other["confidence"], abs=1e-3)
                )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("convert", "data", "out", "--to", "coca"), "there is no format 'coca'; did you mean 'coco'?"),
        (("convert", "absent", "out", "--to", "coco"), "absent: there is no such file or folder"),
        (("convert", "raw", "out", "--to", "coco"), "raw: there are no annotations in it"),
        (("convert", "data", "raw", "--to", "voc"), "raw: there is something already"),
        (("convert", "data", "out", "--to", "voc", "--from", "yolo"), "no picture has a .txt of its boxes"),
        (("convert", "data", "out", "--to", "voc", "--pictures", "move"), "there is no way with pictures 'move'"),
        (("predict", "run", "raw", "--format", "coco"), "where is what --format writes to lie?; give --out"),
        (("predict", "run", "raw", "--format", "cocoa", "--out", "out"), "did you mean 'coco'?"),
        (("predict", "run", "raw", "--format", "coco", "--out", "raw"), "raw: there is something already"),
        (("predict", "run", "raw", "--out", "out"), "--out is for answers that are files"),
    ],
)
def test_what_does_not_fit_is_said_in_a_line(
    arguments: tuple[str, ...], message: str, run: Path, coco: Path, flambeau: Forkserver
) -> None:
    done = flambeau(*arguments, cwd=coco.parent)
    assert done.status == 2 and message in done.err and "Traceback" not in done.err, done.err
    assert not (coco.parent / "out").exists()


def test_masks_are_painted_and_learned_from_the_same_files(coco: Path, flambeau: Forkserver) -> None:
    done = flambeau(
        "train", coco, "--target", "mask", "--epochs", 1, "--run", "masks", "--no-baseline", cwd=coco.parent
    )
    assert done.status == 0, done.err
    assert json.loads((coco.parent / "masks" / "fields.json").read_text())["fields"]["mask"]["classes"] == [
        "background", "blue", "red"
    ]  # fmt: skip
    drawn = flambeau("predict", "masks", "raw/03.png", "--out", "painted", "--draw", "--json", cwd=coco.parent)
    assert drawn.status == 0, drawn.err
    assert {file.name for file in (coco.parent / "painted").rglob("*.*")} == {"03.png", "03.jpg"}
    formats = ("coco", "yolo", "labelme", "cvat", "label-studio")
    for name in formats:
        FORMATS[name].save(FORMATS["coco"].parse(coco), coco.parent / "other" / name)
    measured = [evaluate_run(coco.parent / "masks", coco.parent / "other" / name, baseline=False) for name in formats]
    assert [one["metric"] for one in measured] == ["mean_iou"] * len(formats), "read of any format"
    assert [one["metrics"] for one in measured[1:]] == [pytest.approx(measured[0]["metrics"], abs=0.02)] * 4


def test_boxes_are_measured_on_an_archive(run: Path, coco: Path) -> None:
    packed = shutil.make_archive(str(coco.parent / "packed"), "zip", coco)
    unpacked, archived = (evaluate_run(run, path, baseline=False)["metrics"] for path in (coco, packed))
    assert archived == unpacked
