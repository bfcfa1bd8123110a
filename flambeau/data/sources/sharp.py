"""A folder of sharp pictures alone: what a model is to make them from is made of them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from flambeau.core.errors import DataError
from flambeau.core.findings import Finding, Severity
from flambeau.core.registry import Asked
from flambeau.data.annotations.files import is_picture, size_of
from flambeau.data.dataset import Dataset
from flambeau.data.sources.base import SOURCES, Source, described
from flambeau.data.sources.walk import walk
from flambeau.data.split import Split
from flambeau.fields import Field, Image, Picture
from flambeau.fields.columns import Column
from flambeau.fields.decoding import decode
from flambeau.fields.picture.degradation import Degradation

SIDE = 128  # pixels of the input of a tile
PATCH = 64  # and of what is cut from it at random in training
MOST_TILES = 8_000
FLIPS = {"horizontal_flip": 0.5, "vertical_flip": 0.5}


class Tiles(Column[np.ndarray]):
    """Tiles of photos, uint8 (h, w, C), cut when they are asked for.

    Args:
        files: of the photos.
        boxes: int64 (N, 5): which photo, top, left, height and width.
        made: what is made of each, the same each time; the tile itself if not given.
        channels: C.
    """

    def __init__(self, files: Sequence[str], boxes: np.ndarray, made: Degradation | None = None, channels: int = 3):
        self.files, self.boxes, self.degradation, self.channels = files, boxes, made, channels

    def __len__(self) -> int:
        return len(self.boxes)

    def take(self, rows: np.ndarray) -> Tiles:
        return Tiles(self.files, self.boxes[rows], self.degradation, self.channels)

    def made(self, start: int, end: int) -> list[np.ndarray]:
        return [self._tile(*box) for box in self.boxes[start:end].tolist()]

    def _tile(self, photo: int, top: int, left: int, height: int, width: int) -> np.ndarray:
        sharp = _decoded(self.files[photo], self.channels)[top : top + height, left : left + width]
        if self.degradation is None:
            return sharp
        key = zlib.crc32(f"{Path(self.files[photo]).name} {top} {left}".encode())
        planes = torch.from_numpy(sharp.copy()).permute(2, 0, 1)[None].float() / 255
        spoilt = self.degradation(planes, torch.Generator().manual_seed(key))
        return (spoilt[0] * 255).round().byte().permute(1, 2, 0).numpy()


@lru_cache(maxsize=4)
def _decoded(file: str, channels: int) -> np.ndarray:
    return decode(file, channels)


def from_sharp(
    path: str | Path, *, task: Asked, split: Split | str = "auto", fields: Mapping[str, Field] | None = None
) -> Dataset:
    """Sharp pictures in a folder, whatever lies in folders below it, to learn to restore them.

    A row is a tile of at most 128 pixels a side of the input, all tiles of a photo on one side of the split. In
    training a patch of it is cut at random and spoilt anew at each step; rows that are held out are spoilt once, the
    same each time. Tiles are in memory: 0.25 MB each at ×2, 8,000 at most.

    Args:
        task: `super-resolution`, `denoise` or `colourise`, with options or without: `{name: super-resolution, scale: 3,
            blur: 1.5, noise: 0.05, jpeg: 40}`; see `flambeau.fields.picture.degradation`.
        split: see `Split`; photos are split.
        fields: `image` and `sharp`, set by hand.

    Raises:
        DataError: there is no such folder, or no picture in it that is large enough.
        UsageError: there is no such task.
    """
    made, root = Degradation.of(task), Path(path)
    if not root.is_dir():
        raise DataError("there is no such folder", where=path, fix="give a folder of sharp pictures", code="not-found")
    files = [str(root / file) for file in sorted(walk(root).files) if is_picture(file)]
    if not files:
        raise DataError("the folder holds no pictures", where=path)
    findings, least = list[Finding](), 8 * made.scale
    sides = [size_of(file) or (0, 0) for file in files]
    small = [i for i, pair in enumerate(sides) if min(pair) < least]
    if small:
        findings.append(Finding("unusable", Severity.WARNING,
                                f"{len(small)} pictures cannot be read or have less than {least} pixels a side, and "
                                "are left out", places=[files[i] for i in small]))  # fmt: skip
    usable = [i for i, pair in enumerate(sides) if min(pair) >= least]
    if not usable:
        raise DataError(f"no picture can be read that has {least} pixels a side", where=path)
    usual = int(np.median([min(sides[i]) for i in usable])) // made.scale
    side = max(8, min(SIDE, usual // 8 * 8))
    boxes = np.asarray([(i, *box) for i in usable for box in tiled(sides[i], side * made.scale, made.scale)], np.int64)
    if len(boxes) > MOST_TILES:
        boxes = boxes[np.sort(np.random.default_rng(0).permutation(len(boxes))[:MOST_TILES])]
        findings.append(Finding("many-tiles", Severity.NOTE, f"of so many tiles {MOST_TILES:,} are drawn"))
    how = Split.of(split)
    if how.method == "auto" and how.by is None:
        how = replace(how, by="photo") if len({*boxes[:, 0].tolist()}) > 1 else Split.of("none")
    patch = PATCH if side > PATCH else None
    own = {
        "image": Image([side, side], "grey" if made.grey else "rgb", "keep", augment=dict(FLIPS)),
        "sharp": Picture(made.scale, degradation=made.to_dict(), patch=patch, colour="rgb", resize="keep"),
    }
    columns: dict[str, Any] = {
        "image": Tiles(files, boxes, made),
        "sharp": Tiles(files, boxes),
        "photo": [str(Path(files[i]).relative_to(root)) for i in boxes[:, 0].tolist()],
    }
    keys = [f"{name} {top} {left}" for name, (_, top, left, *_) in zip(columns["photo"], boxes.tolist(), strict=True)]
    source = described("sharp", root, task=made.to_dict(), split=split, fields=fields)
    return Dataset(columns, inputs=["image"], target="sharp", fields={**own, **(fields or {})}, split=how, keys=keys,
                   source=source, findings=findings, places=keys.__getitem__)  # fmt: skip


def tiled(sides: tuple[int, int], size: int, multiple: int) -> list[tuple[int, int, int, int]]:
    """Tiles (top, left, height, width) that cover a picture, of `size` pixels a side where it has so many, evenly
    spread; sides and places are multiples of a number."""
    lines = []
    for side in sides:
        side = side // multiple * multiple
        length, count = min(size, side), -(-side // size)
        starts = np.linspace(0, side - length, count) // multiple * multiple
        lines.append([(int(start), length) for start in starts])
    return [(top, left, height, width) for top, height in lines[0] for left, width in lines[1]]


@SOURCES.register("sharp")
class SharpSource(Source):
    """A folder of sharp pictures alone."""

    of = "folders of sharp pictures"
    sign = "--task super-resolution, denoise or colourise"

    @staticmethod
    def claims(path: Path, options: Mapping[str, Any]) -> float:
        return 0.9 if options.get("task") is not None and not path.is_file() else 0.0

    read = staticmethod(from_sharp)
