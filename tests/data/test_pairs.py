"""Pairs: pictures and their masks, or pictures to make, in folders or by a part of their names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from flambeau.core.errors import DataError, UsageError
from flambeau.data.sources.opening import from_path, from_source, source_of
from flambeau.data.sources.pairs import PairsSource
from flambeau.testing import check_source

H, W = 24, 32


def photo(path: Path, seed: int = 0, scale: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (H * scale, W * scale, 3))
    PILImage.fromarray(pixels.astype(np.uint8)).save(path)


def numbers() -> np.ndarray:
    """Class 0, in it a field of 1 and one of 2."""
    out = np.zeros((H, W), np.uint8)
    out[4:12, 4:20], out[14:20, 8:28] = 1, 2
    return out


def mask(path: Path, how: str = "index") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    out = PILImage.fromarray(np.asarray([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)[numbers()])
    if how != "colours":
        out = PILImage.fromarray(numbers())
        if how == "palette":
            out.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    out.save(path)


LAYOUTS = {
    "folders": ("images/{}.png", "masks/{}.png"),
    "train inside": ("imgs/train/{}.png", "labels/train/{}.png"),
    "train outside": ("train/images/{}.png", "train/gt/{}_mask.png"),
    "deeper": ("data/JPEGImages/{}.png", "data/SegmentationClass/{}.png"),
    "an end": ("{}.png", "{}_mask.png"),
    "both have ends": ("all/{}_image.png", "all/{}_label.png"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("how", ["index", "palette", "colours"])
def test_masks_are_paired_with_their_pictures(layout: str, how: str, tmp_path: Path) -> None:
    first, second = LAYOUTS[layout]
    for i in range(4):
        photo(tmp_path / first.format(f"p{i}"), i)
        mask(tmp_path / second.format(f"p{i}"), how)
    photo(tmp_path / first.format("alone"))
    root = tmp_path / "all" if layout.startswith("both") else tmp_path
    if how == "colours":
        (root / "classes.csv").write_text("name,r,g,b\nground,0,0,0\nfish,128,0,0\nplant,0,128,0\n")
    data = from_path(root)
    assert data.source["kind"] == "pairs" and len(data) == 4 and data.target == "mask"
    assert [f.places for f in data.findings if f.check == "unpaired"] == [[first.format("alone").removeprefix("all/")]]
    field = data.fields["mask"]
    for picture, value in zip(data.columns["image"], data.columns["mask"], strict=True):
        assert Path(value) == Path(str(picture).replace(*[str(tmp_path / n.format(Path(picture).stem.partition("_")[0]))
                                                          for n in (first, second)]))  # fmt: skip
    field.fit(data.columns["mask"])
    assert (np.asarray(field.pixels(data.columns["mask"][0])) == numbers()).all()
    if how == "colours":
        assert field.classes == ["ground", "fish", "plant"]


def test_folders_of_a_split_are_kept(tmp_path: Path) -> None:
    for part, count in (("train", 6), ("val", 2), ("test", 3)):
        for i in range(count):
            photo(tmp_path / part / "images" / f"{i}.jpg", i)
            mask(tmp_path / part / "masks" / f"{i}.png")
    data = from_path(tmp_path)
    assert [int((data.split == side).sum()) for side in range(3)] == [6, 2, 3]
    check_source("pairs", tmp_path)


def test_lists_of_pascal_voc_say_the_split(tmp_path: Path) -> None:
    for i in range(5):
        photo(tmp_path / "JPEGImages" / f"{i}.jpg", i)
    for i in range(4):
        mask(tmp_path / "SegmentationClass" / f"{i}.png", "palette")
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("0\n1\n2\n")
    (lists / "val.txt").write_text("3\n")
    data = from_path(tmp_path)
    assert data.split.tolist() == [0, 0, 0, 1] and data.target == "mask"


@pytest.mark.parametrize("name", ["labelmap.txt", "colours.json", "class_dict.csv", "palette.json"])
def test_names_and_colours_are_read_of_what_lies_beside(name: str, tmp_path: Path) -> None:
    texts = {
        "labelmap.txt": "# label:color_rgb:parts:actions\nground:0,0,0::\nfish:128,0,0::\nplant:0,128,0::\n",
        "colours.json": '{"ground": [0, 0, 0], "fish": "#800000", "plant": [0, 128, 0]}',
        "class_dict.csv": "name,r,g,b\nground,0,0,0\nfish,128,0,0\nplant,0,128,0\n",
        "palette.json": '[{"name": "ground", "color": [0, 0, 0]}, {"name": "fish", "color": [128, 0, 0]},'
        '{"name": "plant", "color": "#008000"}]',
    }
    for i in range(3):
        photo(tmp_path / "images" / f"{i}.png", i)
        mask(tmp_path / "masks" / f"{i}.png", "colours")
    (tmp_path / name).write_text(texts[name])
    data = from_path(tmp_path)
    field = data.fields["mask"]
    assert field.classes == ["ground", "fish", "plant"] and field.colours == ["#000000", "#800000", "#008000"]
    (tmp_path / name).write_text("ground:a,b,c::\n" if name.endswith("txt") else '{"ground": [1]}')
    with pytest.raises(DataError, match=f"{name}: the classes and their colours cannot be read"):
        from_path(tmp_path)


@pytest.mark.parametrize(("first", "named"), [(1, ["background", "fish", "plant"]), (0, ["fish", "plant", "rock"])])
def test_names_are_read_of_coco_annotations_where_masks_have_their_ids(
    first: int, named: list[str], tmp_path: Path
) -> None:
    for i in range(3):
        photo(tmp_path / "images" / f"{i}.png", i)
        mask(tmp_path / "masks" / f"{i}.png")
    pictures = [{"id": i, "file_name": f"images/{i}.png"} for i in range(3)]
    categories = [{"id": i, "name": name} for i, name in enumerate(named[first:], first)]
    document = {"images": pictures, "annotations": [], "categories": categories}
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    assert from_path(tmp_path, target="mask").fields["mask"].classes == named
    document["categories"] = [{"id": 7, "name": "fish"}]  # none of the numbers in the masks
    (tmp_path / "annotations.json").write_text(json.dumps(document))
    assert from_path(tmp_path, target="mask").fields["mask"].classes != ["fish"]


def test_a_pattern_says_what_the_files_of_a_pair_are_called(tmp_path: Path) -> None:
    for i in range(3):
        photo(tmp_path / "rgb/train" / f"p{i}_leftImg8bit.png", i)
        mask(tmp_path / "fine/train" / f"p{i}_fine_labelIds.png")
    photo(tmp_path / "rgb/train" / "p4_leftImg8bit.png")
    pattern = "{scene}_leftImg8bit.png,{scene}_fine_labelIds.png"
    data = from_path(tmp_path, pattern=pattern)
    assert data.target == "mask" and [Path(value).name[:2] for value in data.columns["mask"]] == ["p0", "p1", "p2"]
    assert [f.places for f in data.findings if f.check == "unpaired"] == [["rgb/train/p4_leftImg8bit.png"]]
    assert from_source(data.source).columns["mask"] == data.columns["mask"]
    with pytest.raises(UsageError, match="does not say what a pair is called"):
        from_path(tmp_path, pattern="{a}_leftImg8bit.png,{b}_fine_labelIds.png")


def test_pictures_to_make_are_told_from_masks(tmp_path: Path) -> None:
    for i in range(3):
        photo(tmp_path / "a" / "lr" / f"{i}.png", i)
        photo(tmp_path / "a" / "hr" / f"{i}.png", i, scale=2)
        photo(tmp_path / "b" / "input" / f"{i}.png", i)
        photo(tmp_path / "b" / "gt" / f"{i}.png", i + 9)
    larger, same = (from_path(tmp_path / name) for name in "ab")
    assert larger.target == same.target == "picture"
    assert (larger.fields["picture"].to_dict()["scale"], same.fields["picture"].to_dict()["scale"]) == (2, 1)


def test_folders_of_classes_and_flat_ones_are_no_pairs(digits_folder: Path, tmp_path: Path) -> None:
    for i in range(4):
        photo(tmp_path / "cat" / f"{i}.png", i)
        photo(tmp_path / "dog" / f"{i}_{i}.png", i + 9)
        photo(tmp_path / "blur" / "sharp" / f"s{i}.png", i)
        photo(tmp_path / "blur" / "blurred" / f"b{i}.png", i + 9)
    photo(tmp_path / "dog" / "my_image.png")
    for path in (digits_folder, digits_folder / "0", tmp_path, tmp_path / "dog", tmp_path / "blur"):
        assert PairsSource.claims(path, {}) == 0 and source_of(path, {}).of == "folders"
    with pytest.raises(DataError, match="no picture has a mask"):
        PairsSource.read(tmp_path)
