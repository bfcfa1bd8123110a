"""Scenes of stamps on photographs: what boxes and masks say is what is seen, and what is unseen was not trained on."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image
from realdata import scenes
from realdata.pictures import STAMP_CATEGORIES
from scipy import ndimage

from flambeau.core.errors import DataError, UsageError


def pixels(lengths: list[int], size: int) -> np.ndarray:
    """The mask of COCO's run lengths, bool (size, size)."""
    flat = np.concatenate([np.full(length, run % 2 == 1) for run, length in enumerate(lengths)])
    return flat.reshape(size, size, order="F")


def test_what_is_said_to_be_visible_is_what_is_in_the_picture():
    rings = [Image.new("RGBA", (70, 40), (255, 40 * label, 0, 255)) for label in range(4)]
    for ring in rings:
        ring.paste((0, 0, 0, 0), (30, 10, 50, 30))  # a hole: the mask must have it
    for seed in range(20):
        generator = np.random.default_rng(seed)
        black = Image.new("RGB", (90, 90))
        picture, things = scenes._scene([[ring] for ring in rings], [black], 96, generator)
        changed = np.asarray(picture).any(-1)
        seen = np.any([thing.visible for thing in things], axis=0)
        # Alpha between nothing and all: bicubic resampling, twice, reaches two pixels.
        edge = ndimage.binary_dilation(seen, iterations=2) & ~ndimage.binary_erosion(seen, iterations=2)
        assert 1 <= len(things) <= 5
        assert (changed == seen)[~edge].all()
        assert sum(thing.visible for thing in things).max() == 1
        for thing in things:
            left, top, right, bottom = thing.box
            inside = thing.visible[top:bottom, left:right]
            assert inside.sum() == thing.visible.sum()
            assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()
            assert (pixels(scenes._run_lengths(thing.visible), 96) == thing.visible).all()


@pytest.mark.network
def test_written_scenes_agree_in_all_their_forms(realdata, tmp_path):
    for package in ("tuxpaint-stamps-default", "lomiri-wallpapers-16.04", "mate-backgrounds"):
        realdata(package)
    folder = scenes.write_scenes(tmp_path / "a", 6, 128, seed=3)
    again = scenes.write_scenes(tmp_path / "b", 3, 128, seed=3)
    other = scenes.write_scenes(tmp_path / "c", 3, 128, seed=3, part="valid")
    for number in range(3):
        name = f"images/{number:05d}.jpg"
        assert (folder / name).read_bytes() == (again / name).read_bytes() != (other / name).read_bytes()
    coco = json.loads((folder / "annotations.json").read_text("utf-8"))
    names = {category["id"]: category["name"] for category in coco["categories"]}
    assert tuple(names.values()) == STAMP_CATEGORIES
    with (folder / "boxes.csv").open(encoding="utf-8", newline="") as handle:
        rows = {row["picture"]: json.loads(row["boxes"]) for row in csv.DictReader(handle)}
    for image in coco["images"]:
        with Image.open(folder / image["file_name"]) as picture:
            assert picture.size == (image["width"], image["height"]) == (128, 128)
        index = np.zeros((128, 128), np.uint8)
        boxes = []
        for thing in (a for a in coco["annotations"] if a["image_id"] == image["id"]):
            index[pixels(thing["segmentation"]["counts"], 128)] = thing["category_id"]
            x, y, width, height = thing["bbox"]
            boxes.append({"x1": x, "y1": y, "x2": x + width, "y2": y + height, "label": names[thing["category_id"]]})
        with Image.open(folder / "masks" / image["file_name"].replace("images/", "").replace("jpg", "png")) as mask:
            assert (np.asarray(mask) == index).all()
        assert rows[image["file_name"]] == boxes
    with pytest.raises(DataError, match="was not written here"):
        scenes.write_scenes(tmp_path / "a", 7, 128, seed=3)
    with pytest.raises(UsageError, match="did you mean 'test-seen'"):
        scenes.write_scenes(tmp_path / "d", 1, part="test_seen")


@pytest.mark.network
def test_unseen_stamps_are_no_training_stamps_in_every_class(realdata):
    realdata("tuxpaint-stamps-default")
    split = scenes.split_stamps()
    assert tuple(split["seen"]) == tuple(split["unseen"]) == STAMP_CATEGORIES
    for category in STAMP_CATEGORIES:
        seen, unseen = set(split["seen"][category]), set(split["unseen"][category])
        assert not seen & unseen
        assert 0.2 <= len(unseen) / len(seen | unseen) <= 0.25
    assert not set(scenes.TRAIN_BACKGROUNDS) & set(scenes.TEST_BACKGROUNDS)
