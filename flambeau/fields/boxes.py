"""Boxes: any number of things in a picture, where each lies and what it is."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image as PILImage
from PIL import ImageDraw
from torch import Tensor

from flambeau.core.errors import DataError, shown
from flambeau.core.findings import Finding
from flambeau.core.shapes import Bool
from flambeau.fields.base import FIELDS, Encoding, Field, Ragged, Recognition
from flambeau.fields.category import class_name, natural, unknown_class
from flambeau.fields.decoding import upright
from flambeau.fields.describing import counted
from flambeau.fields.image import Image
from flambeau.fields.picture.instances import (
    area_of,
    assembled,
    bits,
    instance_masks,
    moved,
    packed,
    together,
    unpacked,
    words,
)
from flambeau.fields.picture.overlap import area
from flambeau.fields.pieces import Pieces
from flambeau.fields.placement import Placement
from flambeau.fields.wanted import Wanted

FAR = 1e6  # pixels, beyond which nothing is
CORNERS = ("x1", "y1", "x2", "y2")
COLUMNS = (*CORNERS, "class", "crowd", "area")
"""What the first numbers of an encoded box are."""
EXPECTED = "a list of {x1, y1, x2, y2, label} or [x1, y1, x2, y2, label] in pixels, [] for none"
SEEN = 0.25  # of a box: with less of it in the model's input it is gone
MOST = 0.9  # of the values that are lists of boxes, so that the column is taken for them
SIZES = {"small": 32**2, "medium": 96**2, "large": math.inf}
"""Square pixels of the raw picture that things have at most, by which COCO tells them apart."""
COLOURS = ("#ffff00", "#00ffff", "#ff00ff", "#00ff00", "#ffa500", "#ffffff", "#7fb2ff", "#ff6b6b", "#b388ff", "#b5a642")


class Box(NamedTuple):
    """One thing: the corners of the upright box about it, in pixels of the picture as people see it, and its class.

    Attributes:
        crowd: whether it is a group of such things that nobody told apart, as in COCO: nothing is learned of it, and
            what is found there is neither right nor wrong.
        area: square pixels of the thing itself, by which COCO tells small from large; those of the mask, or else of the
            box, if not given.
        mask: the pixels of the thing as COCO writes them (polygons, or run lengths of the picture), or an array (H, W)
            of the picture's size; None where it is not known.
    """

    x1: float
    y1: float
    x2: float
    y2: float
    label: str
    crowd: bool = False
    area: float | None = None
    mask: Any = None

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        return self.x1, self.y1, self.x2, self.y2

    @property
    def in_order(self) -> bool:
        """Whether the first corner is the top left one, or there is no area at all."""
        return self.x1 <= self.x2 and self.y1 <= self.y2

    @property
    def key(self) -> tuple[Any, ...]:
        """What two boxes have in common that are the same."""
        return (*self.corners, self.label, self.crowd)

    @property
    def pixels(self) -> float:
        """Its area in square pixels: what is said of it, or else that of the box."""
        return self.area or abs((self.x2 - self.x1) * (self.y2 - self.y1))

    @property
    def has_area(self) -> bool:
        """Whether both sides have a length."""
        return self.x1 != self.x2 and self.y1 != self.y2


def read(value: Any) -> list[Box]:
    """The boxes of a raw value as they are written: JSON, or a list of mappings or of [x1, y1, x2, y2, label].

    Raises:
        DataError: it is no list of boxes, or a corner is no number.
    """
    try:
        listed = json.loads(value) if isinstance(value, str) else value
        if isinstance(listed, Mapping):
            raise TypeError("one mapping")
        boxes = [_box(one) for one in listed]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise DataError(f"{shown(value)} are no boxes", expected=EXPECTED) from None
    for box in boxes:
        if not all(-FAR < x < FAR for x in box.corners):
            raise DataError(f"the box {[*box.corners]} of '{box.label}' is out of this world", expected=EXPECTED)
    return boxes


def _box(one: Any) -> Box:
    if isinstance(one, Mapping):
        size = one.get("area")
        x1, y1, x2, y2 = (float(one[corner]) for corner in CORNERS)
        size = None if size is None or not math.isfinite(size) else float(size)
        return Box(x1, y1, x2, y2, class_name(one["label"]), bool(one.get("crowd")), size, one.get("mask"))
    *corners, label = one
    x1, y1, x2, y2 = map(float, corners)
    return Box(x1, y1, x2, y2, class_name(label))


def mended(boxes: Iterable[Box]) -> list[Box]:
    """Boxes with their corners in order; without those that have no area, and each once."""
    ordered = (
        box._replace(x1=min(box.x1, box.x2), y1=min(box.y1, box.y2), x2=max(box.x1, box.x2), y2=max(box.y1, box.y2))
        for box in boxes
        if box.has_area
    )
    return list({box.key: box for box in ordered}.values())


def readable(values: Iterable[Any]) -> Iterator[list[Box]]:
    """Those of the values that can be read; the others are named when the store is built."""
    for value in values:
        with suppress(DataError):
            yield read(value)


@FIELDS.register("boxes")
class Boxes(Field):
    """Any number of boxes of K classes in the picture of another column.

    A raw value is a list of {x1, y1, x2, y2, label}, or of [x1, y1, x2, y2, label], or JSON of that, in pixels of the
    picture as people see it, turned as its EXIF says; [] where there is none. A box may also say `crowd`, `area`
    and `mask`, see `Box`. Corners that are swapped are put in order; a box without area, or that is there twice, is
    left out; what lies beside the picture is cut off. `check` says where.

    Encoded as float32 (M, 7), ragged: `COLUMNS`, which are left, top, right and bottom in pixels of the raw picture,
    the class, whether it is a crowd (0 or 1), and its area in square pixels of the raw picture. `follow` brings the
    first four to 0…1 of the model's input, and makes the class -1 where too little of a box is left in it; behind a
    row's end all are 0. With `masks` each box has its mask behind these, see `flambeau.fields.picture.instances`; it is
    moved too.

    Args:
        classes: the classes in order; found in the training rows if not given.
        masks: the side in cells of the mask that each box has, a multiple of 4, as 56; none if not given.
    """

    kind = task = "boxes"
    target_only = follows = annotates = True
    settings = ("classes", "masks")

    def __init__(self, classes: Sequence[str] | None = None, masks: int | None = None) -> None:
        self.classes: list[str] = [str(c) for c in classes] if classes else []
        self.masks = masks or None
        self._width = len(COLUMNS) + (words(masks) if masks else 0)
        self._given = bool(classes)

    @classmethod
    def suit(cls, column: str, settings: Mapping[str, Any], wanted: Wanted) -> dict[str, tuple[Any, str]]:
        if wanted.masks is None or settings.get("masks") is not None:
            return {}
        return {"masks": (wanted.masks, f"{wanted.model} learns the masks of things, not their boxes alone")}

    @classmethod
    def recognise(cls, values: Sequence[Any]) -> Recognition:
        good = list(readable(values))
        likely = any(good) and len(good) > MOST * len(values)
        return Recognition(0.98 * likely, f"{len(good)} of {len(values)} values are lists of boxes")

    def fit(self, values: Sequence[Any]) -> None:
        if not self._given:
            self.classes = sorted({box.label for boxes in readable(values) for box in boxes}, key=natural)
        self.__dict__.pop("index", None)

    def check(self, values: Sequence[Any]) -> list[Finding]:
        from flambeau.fields.picture.box_findings import findings

        return findings(values, self.classes if self._given else (), bool(self.masks))

    def check_in(self, values: Sequence[Any], leader: Field, pictures: Sequence[Any]) -> list[Finding]:
        from flambeau.fields.picture.box_findings import findings_in

        return findings_in(values, leader, pictures)

    def describe(self, values: Sequence[Any]) -> dict[str, Any]:
        """How many boxes there are of each class, and of small, medium and large things, as COCO tells them apart."""
        boxes = [box for boxes in readable(values) for box in mended(boxes)]
        sizes = {box.label: dict.fromkeys(SIZES, 0) for box in boxes}
        for box in boxes:
            sizes[box.label][next(name for name, most in SIZES.items() if box.pixels <= most)] += 1
        return {**counted(box.label for box in boxes), "sizes": sizes}

    @property
    def source_options(self) -> dict[str, Any]:
        return {"target": "boxes"}

    @property
    def encoding(self) -> Encoding:
        return Encoding(np.dtype(np.float32), (self._width,), ragged=True)

    @property
    def num_outputs(self) -> int:
        return len(self.classes) + 4

    def encode(self, value: Any) -> np.ndarray:
        boxes = mended(read(value))
        if unknown := next((box.label for box in boxes if box.label not in self.index), None):
            raise unknown_class(unknown, self.classes)
        encoded = np.zeros((len(boxes), self._width), np.float32)
        for row, box in zip(encoded, boxes, strict=True):
            size = box.area or (area_of(box.mask) if box.mask is not None else 0.0) or box.pixels
            row[: len(COLUMNS)] = [*box.corners, self.index[box.label], box.crowd, size]
            if self.masks and box.mask is not None:
                row[len(COLUMNS) :] = packed(torch.from_numpy(bits(box.mask, box.corners, self.masks)))
        return encoded

    @property
    def thing_names(self) -> list[str]:
        return self.classes

    def things(self, value: Ragged) -> Tensor:
        return value.values[..., :4]

    def follow(self, value: Ragged, placement: Placement) -> Ragged:
        """In 0…1 of the model's input, of the class -1 where too little is left in it."""
        H, W = placement.size
        limits = placement.sides.flip(1).repeat(1, 2)[:, None].to(value.values)
        raw = value.values[..., :4].clamp(limits.new_tensor(0.0), limits)
        there, whole = (placement.boxes(raw, cut) for cut in (True, False))
        gone = area(there) <= SEEN * area(whole)
        placed = value.values.clone()
        placed[..., :4] = there / there.new_tensor([W, H, W, H])
        placed[..., 4].masked_fill_(gone, -1)
        if self.masks:
            masks = unpacked(value.values[..., len(COLUMNS) :])
            placed[..., len(COLUMNS) :] = packed(moved(masks, value.values[..., :4], there, placement))
        return Ragged(placed, value.lengths)

    def assembled(self, value: Ragged, pieces: Pieces) -> Ragged:
        """Those that are seen in the pictures, in front; zeros behind them."""
        there, seen = pieces.boxes(value.values[..., :4])
        placed = value.values[pieces.sources].clone()
        placed[..., :4] = there
        if self.masks:
            masks = unpacked(value.values[..., len(COLUMNS) :])
            masks, share = assembled(masks, value.values[..., :4], there, pieces)
            placed[..., len(COLUMNS) :] = packed(masks)
            seen = torch.where(share.isfinite(), share, seen)
        kept = ((seen > SEEN) & (placed[..., 4] >= 0)).flatten(1)
        order = kept.int().argsort(dim=1, descending=True, stable=True)
        lengths = kept.sum(1)
        order = order[:, : int(lengths.amax())]
        placed = placed.flatten(1, 2).gather(1, order[..., None].expand(-1, -1, placed.shape[-1]))
        return Ragged(placed * kept.gather(1, order)[..., None], lengths)

    def cutouts(
        self, value: Ragged, size: tuple[int, int], share: float, generator: torch.Generator
    ) -> Bool[Tensor, "B H W"]:
        boxes, (H, W) = value.values, size
        drawn = torch.rand(boxes.shape[:2], generator=generator, device=generator.device).to(boxes.device) < share
        drawn &= boxes[..., 4] >= 0
        if self.masks:
            masks, known = instance_masks(boxes, self.masks)
            return together((masks | ~known[..., None, None]) & drawn[..., None, None], boxes[..., :4], size)
        x, y = ((torch.arange(side, device=boxes.device) + 0.5) / side for side in (W, H))
        left, top, right, bottom = (edge[..., None] for edge in boxes[..., :4].unbind(-1))
        across, down = (x >= left) & (x < right) & drawn[..., None], (y >= top) & (y < bottom)
        return torch.einsum("bmh,bmw->bhw", down.float(), across.float()) > 0

    def answer_memory(self, pixels: int) -> int:
        return 24 * pixels if self.masks else 0  # a mask is filled at the picture's size, one after the other

    def caption(self, value: Any) -> str:
        boxes = itertools.chain(*readable([value]))
        return ", ".join(f"{box.label} ({', '.join(f'{x:g}' for x in box.corners)})" for box in boxes) or "none"

    def told(self, answer: Any) -> str:
        """
        >>> Boxes().told([[0, 0, 4, 4, "dog"], [5, 0, 9, 4, "car"], [0, 5, 4, 9, "dog"]])
        '3 things: 2 dog, 1 car'
        """
        counts = Counter(box.label for box in itertools.chain(*readable([answer])))
        total = counts.total()
        listed = ", ".join(f"{count} {name}" for name, count in counts.most_common())
        return f"{total} thing{'s' * (total != 1)}" + (f": {listed}" if listed else "")

    def render_in(self, value: Any, leader: Field, picture: Any) -> str:
        try:
            small = leader.thumbnail(picture) if isinstance(leader, Image) else None
        except DataError:
            small = None
        if small is None:
            return leader.render(picture)
        (height, width), _ = upright(picture)
        across, down = small.width / width, small.height / height
        for box in mended(itertools.chain(*readable([value]))):
            colour = self.legend.get(box.label, "white")
            corners = (box.x1 * across, box.y1 * down, box.x2 * across, box.y2 * down)
            ImageDraw.Draw(small).rectangle(corners, outline=colour)
        return leader.render(small)

    @property
    def legend(self) -> dict[str, str]:
        return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(self.classes)}

    def drawn_in(self, value: Any, picture: PILImage.Image) -> PILImage.Image:
        from flambeau.fields.picture.drawing import with_boxes

        return with_boxes(picture, value, self.legend)

    def compared_in(self, value: Any, truth: Any, leader: Field, picture: Any) -> str:
        from flambeau.fields.picture.drawing import compared

        true = [box._asdict() for box in mended(itertools.chain(*readable([truth])))]
        try:
            return compared(leader, picture, true, value, self.legend) if isinstance(leader, Image) else ""
        except DataError:
            return leader.render(picture)

    def close_up(self, box: Sequence[float], label: str, leader: Field, picture: Any) -> str:
        from flambeau.fields.picture.drawing import close_up

        try:
            return close_up(leader, picture, box, self.legend[label]) if isinstance(leader, Image) else ""
        except DataError:
            return leader.render(picture)
