"""Pictures with boxes and masks: Tux Paint's real cut-outs pasted on photographs, in any number, with exact truth."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from flambeau.core.errors import UsageError, nearest
from flambeau.core.files import write_json
from realdata import unpacked
from realdata.pictures import STAMP_CATEGORIES, write_once

Part = Literal["train", "valid", "test-unseen", "test-seen"]
PARTS: tuple[Part, ...] = ("train", "valid", "test-unseen", "test-seen")
# Photographs without an animal, a plant as a whole, a building or another thing of the eight classes.
TRAIN_BACKGROUNDS = (
    "Aqua.jpg",
    "Blinds.jpg",
    "Bridge_by_Sander_Klootwijk.jpg",
    "Dragonfly_by_Bolly.jpg",
    "Dune.jpg",
    "Storm.jpg",
    "analogpattern_by_Peter_Nerlich.jpg",
    "picosdeeuropa_by_Aitzol_Berasategi.jpg",
    "sunset_by_Aitzol_Berasategi.jpg",
)
TEST_BACKGROUNDS = (
    "GreenMeadow.jpg",
    "RainDrops.jpg",
    "Wood.jpg",
    "aitzgorri_by_Aitzol_Berasategi.jpg",
    "life_by_Aitzol_Berasategi.jpg",
)
UNSEEN_SHARE = 0.25  # of each class's stamps: they are never in training pictures
LARGEST, SMALLEST = 0.6, 0.2  # longest side of an object before it is turned, in shares of the picture's side
VISIBLE = 0.5  # of an object, the least: one that would hide more of itself or of another is put elsewhere
PLACES = 20  # tried for an object before it is left out


@dataclass(frozen=True)
class Thing:
    """One object of a scene: its class 0…7 and what is visible of it, bool (size, size), inside `box` alone."""

    label: int
    visible: np.ndarray

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of the visible part in pixels; right and bottom are the first pixels after it."""
        rows, columns = np.flatnonzero(self.visible.any(1)), np.flatnonzero(self.visible.any(0))
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def write_scenes(
    dest: Path | str,
    count: int = 1_000,
    size: int = 256,
    *,
    seed: int = 0,
    part: Part = "train",
    cache: Path | None = None,
) -> Path:
    """Scenes of 1 to 5 stamps of 8 classes on a photograph, scaled, turned and shaded, with boxes and masks.

    Writes `images/00000.jpg`, `masks/00000.png` (class 1…8 by pixel, 0 background, with a palette),
    `annotations.json` (COCO; masks as uncompressed RLE, categories 1…8 = the mask's) and `boxes.csv` (picture, boxes
    as JSON of {x1, y1, x2, y2, label} in pixels). Boxes and masks hold what is visible. A class is drawn first, then a
    stamp of it, so the classes are even. An object of which less than half would be visible is put elsewhere, or left
    out. Three quarters of each class's stamps and 9 photographs are for training; stamps whose names begin alike
    (drawings of one letter, one set of coins) are on one side.

    Args:
        count: how many; equal arguments give equal pixels, and the first of more are the same.
        size: width and height in pixels.
        part: "train" and "valid" are of the training stamps and photographs, told apart by their draws alone;
            "test-unseen" has other stamps over other photographs; "test-seen" training stamps over those others.

    Raises:
        UsageError: there is no such part, or the size is under 32.
        DataError: `dest` is there already, but was written otherwise. And as `fetch`.
    """
    if part not in PARTS:
        raise UsageError(f"no part called {part!r}", fix=nearest(part, PARTS))
    if size < 32:
        raise UsageError(f"scenes of {size} pixels were asked for", expected="at least 32")
    settings = {"set": "scenes", "count": count, "size": size, "seed": seed, "part": part}

    def write(folder: Path) -> None:
        stamps = split_stamps(cache=cache)["unseen" if part == "test-unseen" else "seen"]
        cutouts = [[_cutout(path, size) for path in paths] for paths in stamps.values()]
        photos = backgrounds(TEST_BACKGROUNDS if part.startswith("test") else TRAIN_BACKGROUNDS, size, cache=cache)
        for name in ("images", "masks"):
            (folder / name).mkdir()

        def write_one(number: int) -> list[Thing]:
            generator = np.random.default_rng([seed, PARTS.index(part), number])
            picture, things = _scene(cutouts, photos, size, generator)
            picture.save(folder / "images" / f"{number:05d}.jpg", quality=92, subsampling="4:4:4")
            _index_mask(things, size).save(folder / "masks" / f"{number:05d}.png")
            return things

        with ThreadPoolExecutor(2) as pool:
            scenes = list(pool.map(write_one, range(count)))
        write_json(folder / "annotations.json", _coco(scenes, size))
        with (folder / "boxes.csv").open("w", encoding="utf-8", newline="") as handle:
            rows = csv.writer(handle)
            rows.writerow(("picture", "boxes"))
            for number, things in enumerate(scenes):
                boxes = [
                    dict(zip(("x1", "y1", "x2", "y2"), thing.box, strict=True), label=STAMP_CATEGORIES[thing.label])
                    for thing in things
                ]
                rows.writerow((f"images/{number:05d}.jpg", json.dumps(boxes)))

    return write_once(Path(dest), settings, write)


def write_scene_parts(dest: Path | str, *, cache: Path | None = None) -> Path:
    """All four parts as `dest/<part>`: 1,000 pictures of 256 pixels for training, 200 for each of the others."""
    for part in PARTS:
        write_scenes(Path(dest) / part, 1_000 if part == "train" else 200, part=part, cache=cache)
    return Path(dest)


def split_stamps(*, cache: Path | None = None) -> dict[str, dict[str, list[Path]]]:
    """The stamps that have an alpha channel, "seen" and "unseen", each by class. Raises as `fetch`.

    Mirror images are left out. By the hash of what the names begin with, so that it is the same everywhere.
    """
    pattern = "usr/share/tuxpaint/stamps/*.png"
    root = unpacked("tuxpaint-stamps-default", [pattern], label="png", cache=cache) / Path(pattern).parent
    split: dict[str, dict[str, list[Path]]] = {"seen": {}, "unseen": {}}
    for category in STAMP_CATEGORIES:
        families: dict[str, list[Path]] = {}
        for path in sorted((root / category).rglob("*.png")):
            with Image.open(path, formats=["PNG"]) as picture:
                usable = picture.mode in ("RGBA", "LA") and not path.stem.endswith("_mirror")
            if usable:
                begins = re.search("[a-z]+", path.stem.lower())
                families.setdefault(begins.group() if begins else path.stem, []).append(path)
        order = sorted(families, key=lambda name: hashlib.sha256(f"{category}/{name}".encode()).digest())
        wanted = UNSEEN_SHARE * sum(map(len, families.values()))
        sides: dict[str, list[Path]] = {"seen": [], "unseen": []}
        for name in order:
            fits = len(sides["unseen"]) + len(families[name]) <= wanted
            sides["unseen" if fits else "seen"] += families[name]
        for side, paths in sides.items():
            split[side][category] = sorted(paths)
    return split


def backgrounds(names: tuple[str, ...], size: int, *, cache: Path | None = None) -> list[Image.Image]:
    """Those photographs, RGB, made smaller where their shorter side is over 4 × size. Raises as `fetch`."""
    lomiri = unpacked("lomiri-wallpapers-16.04", ["usr/share/backgrounds/*.jpg"], cache=cache)
    mate = unpacked("mate-backgrounds", ["usr/share/backgrounds/mate/nature/*.jpg"], label="nature", cache=cache)
    files = {path.name: path for folder in (lomiri, mate) for path in folder.rglob("*.jpg")}
    photos = []
    for name in names:
        photo = Image.open(files[name], formats=["JPEG"])
        photo.draft("RGB", (4 * size, 4 * size))
        shrink = max(1.0, min(photo.size) / (4 * size))
        photos.append(photo.convert("RGB").resize((round(photo.width / shrink), round(photo.height / shrink))))
    return photos


def _cutout(path: Path, size: int) -> Image.Image:
    """A stamp, RGBA, cropped to what is not transparent, its longer side at most the largest that is pasted."""
    picture = Image.open(path, formats=["PNG"]).convert("RGBA")
    box = picture.getchannel("A").point(lambda alpha: 255 * (alpha > 127)).getbbox()
    picture = picture.crop(box)
    picture.thumbnail((round(LARGEST * size),) * 2, Image.Resampling.LANCZOS)
    return picture


def _scene(
    cutouts: list[list[Image.Image]], photos: list[Image.Image], size: int, generator: np.random.Generator
) -> tuple[Image.Image, list[Thing]]:
    """One picture, RGB (size, size), and its objects, the hindmost first."""
    picture = _background(photos[generator.integers(len(photos))], size, generator)
    things: list[Thing] = []
    whole: list[int] = []  # pixels of each object, hidden ones and ones beyond the edge too
    for _ in range(generator.integers(1, 6)):
        label = int(generator.integers(len(cutouts)))
        pasted = _varied(cutouts[label][generator.integers(len(cutouts[label]))], size, generator)
        area = int((np.asarray(pasted.getchannel("A")) > 127).sum())
        for _ in range(PLACES if area else 0):
            corner = [round(generator.uniform(-0.25 * side, size - 0.75 * side)) for side in pasted.size]
            alpha = Image.new("L", (size, size))
            alpha.paste(pasted.getchannel("A"), (corner[0], corner[1]))
            over = np.asarray(alpha) > 127
            left = [Thing(thing.label, thing.visible & ~over) for thing in things] + [Thing(label, over)]
            shares = (thing.visible.sum() / pixels for thing, pixels in zip(left, [*whole, area], strict=True))
            if all(share >= VISIBLE for share in shares):
                picture.paste(pasted, (corner[0], corner[1]), pasted)
                things, whole = left, [*whole, area]
                break
    return picture, things


def _background(photo: Image.Image, size: int, generator: np.random.Generator) -> Image.Image:
    """A square crop at a random place, of 25 to 100 % of the shorter side, mirrored by half, shaded."""
    side = min(photo.size) * generator.uniform(0.25, 1.0)
    left, top = generator.uniform(0, photo.width - side), generator.uniform(0, photo.height - side)
    crop = photo.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    if generator.random() < 0.5:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _shaded(crop, generator)


def _varied(cutout: Image.Image, size: int, generator: np.random.Generator) -> Image.Image:
    """The cut-out scaled (even in the logarithm), turned by up to 30 degrees, shaded. RGBA."""
    side = SMALLEST * size * (LARGEST / SMALLEST) ** generator.random()
    scale = side / max(cutout.size)
    scaled = cutout.resize((max(1, round(cutout.width * scale)), max(1, round(cutout.height * scale))))
    turned = scaled.rotate(generator.uniform(-30, 30), Image.Resampling.BICUBIC, expand=True)
    return _shaded(turned, generator)


def _shaded(picture: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Brightness times 0.6 to 1.2, each colour times 0.9 to 1.1 of that; alpha as it is."""
    factors = generator.uniform(0.6, 1.2) * generator.uniform(0.9, 1.1, 3)
    colours, alpha = picture.split()[:3], picture.split()[3:]
    bands = [
        band.point([min(255, round(factor * value)) for value in range(256)])
        for band, factor in zip(colours, factors, strict=True)
    ]
    return Image.merge(picture.mode, [*bands, *alpha])


def _index_mask(things: list[Thing], size: int) -> Image.Image:
    """Class + 1 by pixel, 0 background, as a PNG with a palette. No two objects are visible in one pixel."""
    index = np.zeros((size, size), np.uint8)
    for thing in things:
        index[thing.visible] = thing.label + 1
    mask = Image.fromarray(index).convert("P")
    colours = [(0, 0, 0)] + [tuple(np.random.default_rng(label).integers(64, 256, 3)) for label in range(8)]
    mask.putpalette([int(value) for colour in colours for value in colour])
    return mask


def _coco(scenes: list[list[Thing]], size: int) -> dict[str, Any]:
    """The scenes as a COCO file's object. Source: cocodataset.org, "Data format"."""
    annotations = []
    for number, things in enumerate(scenes):
        for thing in things:
            left, top, right, bottom = thing.box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number + 1,
                    "category_id": thing.label + 1,
                    "bbox": [left, top, right - left, bottom - top],
                    "area": int(thing.visible.sum()),
                    "iscrowd": 0,
                    "segmentation": {"size": [size, size], "counts": _run_lengths(thing.visible)},
                }
            )
    return {
        "images": [
            {"id": number + 1, "file_name": f"images/{number:05d}.jpg", "width": size, "height": size}
            for number in range(len(scenes))
        ],
        "annotations": annotations,
        "categories": [{"id": label + 1, "name": name} for label, name in enumerate(STAMP_CATEGORIES)],
    }


def _run_lengths(mask: np.ndarray) -> list[int]:
    """COCO's uncompressed RLE: lengths of runs by columns, the first of background (0 where there is none)."""
    flat = mask.ravel(order="F").astype(np.int8)
    starts = np.flatnonzero(np.diff(flat, prepend=0))  # a mask that begins in its first pixel starts at 0
    return np.diff(starts, prepend=0, append=flat.size).tolist()
