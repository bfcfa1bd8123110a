"""Things with segments as one class a pixel: raw values of the kind `mask`, painted when they are looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flambeau.core.errors import DataError
from flambeau.data.annotations.files import size_of
from flambeau.data.annotations.form import Picture, corners_of
from flambeau.fields import Mask
from flambeau.fields.mask import UNKNOWN
from flambeau.fields.picture.segments import area, filled

BACKGROUND = "background"
MOST = UNKNOWN - 1  # classes beside the background


@dataclass(frozen=True)
class Painted:
    """The things of one picture; as an array uint8 (H, W): 0 is background, then the classes in order. Of things that
    overlap the smaller lies above; what is in the box of one without a segment, and in no other, is UNKNOWN."""

    size: tuple[int, int]
    things: tuple[tuple[int, Any], ...]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        out = np.zeros(self.size, np.uint8)
        for number, segment in self.things:
            out[filled(segment, self.size)] = number
        return out if dtype is None else out.astype(dtype)


def painted(pictures: Sequence[Picture], classes: Sequence[str]) -> tuple[list[Painted], Mask]:
    """The masks of pictures, and the field of such.

    Raises:
        DataError: no thing has a segment, there are more classes than a mask has numbers for, or a picture's size is
            not known.
    """
    if len(classes) > MOST:
        raise DataError(f"there are {len(classes)} classes", expected=f"at most {MOST} in a mask")
    if not any("mask" in each for picture in pictures for each in picture.boxes):
        raise DataError("no object has a segment, only a box, so there are no masks to paint",
                        expected="polygons or run lengths, as COCO, LabelMe and CVAT have them")  # fmt: skip
    numbers = {name: i for i, name in enumerate(classes, 1)}
    masks = []
    for picture in pictures:
        size = picture.size or size_of(picture.path or "")
        if size is None:
            raise DataError("the size of the picture is not known", where=picture.place)
        known = sorted((each for each in picture.boxes if "mask" in each), key=lambda b: area(b["mask"]), reverse=True)
        things = [(UNKNOWN, _around(each)) for each in picture.boxes if "mask" not in each]
        things += [(numbers[each["label"]], each["mask"]) for each in known]
        masks.append(Painted(size, tuple(things)))
    return masks, Mask(classes=[BACKGROUND, *classes])


def _around(each: Mapping[str, Any]) -> list[list[float]]:
    """The box of a thing as a polygon."""
    x1, y1, x2, y2 = corners_of(each)
    return [[x1, y1, x2, y1, x2, y2, x1, y2]]
