"""From a mask, as a file or an array, to class numbers: masks of numbers, with a palette, or one colour a class."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage
from PIL import ImageOps, UnidentifiedImageError

from flambeau.core.errors import DataError, UsageError, shown
from flambeau.fields.decoding import read_bytes
from flambeau.fields.picture.pixels import check_pixels, open_picture
from flambeau_onnx.pictures import DAMAGES

UNKNOWN = 255
MOST_CLASSES = 255
NEAR = 24  # of 256 levels a channel: how far a colour may be from that of a class, as JPEG makes it
NOISE, RARE = 8, 0.01  # a colour that is as near as this to one is no other, nor is one near it that is as rare
FEWEST = 1e-5  # of the pixels that have all their neighbours' colour: what is rarer is no class of its own

Colour = str | int
"""What the pixels of a class are in a file: `#rrggbb`, or a grey level or index of a palette."""


def read_mask(value: Any, coloured: bool) -> np.ndarray:
    """uint8 (H, W), or (H, W, 3) of a mask in colours, upright as its EXIF says.

    Args:
        value: a path, a file's bytes, a PIL image, or an array (H, W) or (H, W, 3).
        coloured: whether classes are told apart by colours: a palette is then what it shows, and else its indices.

    Raises:
        DataError: it cannot be read, or holds something else.
    """
    try:
        if isinstance(value, (str, Path, bytes)):
            with open_picture(value if isinstance(value, bytes) else read_bytes(value)) as picture:
                check_pixels(picture.size, None if isinstance(value, bytes) else value, 4)
                value = ImageOps.exif_transpose(picture)
        if isinstance(value, PILImage.Image) and (value.mode not in ("1", "L", "P", "RGB") or coloured):
            value = value.convert("RGB") if coloured or not value.mode.startswith(("I", "L", "F")) else value
            value = value.getchannel(0) if value.mode == "LA" else value
        array = np.asarray(value)
    except (*DAMAGES, PILImage.DecompressionBombError) as error:
        odd = "it is no picture" if isinstance(error, UnidentifiedImageError) else error
        raise DataError(f"the mask cannot be read ({odd})") from None
    flat = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if not flat or array.dtype.kind not in "bui" or not array.size or array.min() < 0 or array.max() > UNKNOWN:
        raise DataError(f"a mask has {array.dtype} of {array.shape}",
                        expected="(H, W) of class numbers, 0…255, or (H, W, 3) of colours")  # fmt: skip
    array = array.astype(np.uint8)
    if array.ndim == 3 and not coloured and (array == array[..., :1]).all():
        return array[..., 0]
    return array


def coloured(colours: Sequence[Colour] | None) -> bool:
    """Whether classes are told apart by colours."""
    return bool(colours) and isinstance(colours[0], str)  # type: ignore[index]


def checked(colours: Sequence[Any] | None) -> list[Colour] | None:
    """Colours as `#rrggbb`, or grey levels, of any form that a user writes: [255, 0, 0], "#ff0000", 255.

    Raises:
        UsageError: they are none, or both, or one comes twice.
    """
    if not colours:
        return None
    try:
        made: list[Colour] = [
            int(c) if isinstance(c, (int, np.integer)) else hexed(unhexed(c) if isinstance(c, str) else c)
            for c in colours
        ]
    except (TypeError, ValueError):
        made = []
    levels = [c for c in made if isinstance(c, int)]
    if (
        not made
        or len(set(made)) < len(made)
        or len(levels) not in (0, len(made))
        or not set(levels) <= set(range(256))
    ):
        raise UsageError(f"the colours {shown(colours)} of the classes do not fit",
                         expected='one a class, all "#rrggbb" or all levels 0…255')  # fmt: skip
    return made


def hexed(colour: Sequence[int]) -> str:
    """`#rrggbb` of three levels."""
    r, g, b = (int(level) for level in colour)
    if not {r, g, b} <= set(range(256)):
        raise ValueError(colour)
    return f"#{r:02x}{g:02x}{b:02x}"


def unhexed(colour: str) -> tuple[int, int, int]:
    """Three levels of `#rrggbb`."""
    number = int(colour.removeprefix("#").rjust(6, "?"), 16)
    return number >> 16, number >> 8 & 255, number & 255


@lru_cache(maxsize=4)
def table(colours: tuple[Colour, ...]) -> np.ndarray:
    """uint8, (256) of levels or (2²⁴) of colours: the class of each, UNKNOWN of those that are near none."""
    points = np.array([unhexed(c) if isinstance(c, str) else (c,) for c in colours])
    apart = np.abs(points[:, None] - points[None]).max(2)
    apart[np.diag_indices(len(points))] = 256
    near = min(NEAR, (int(apart.min()) - 1) // 2)
    classes = np.full((256,) * points.shape[1], UNKNOWN, np.uint8)
    for number, point in enumerate(points):
        classes[tuple(slice(max(0, level - near), level + near + 1) for level in point)] = number
    return classes.reshape(-1)


def numbered(pixels: np.ndarray, colours: Sequence[Colour] | None) -> np.ndarray:
    """uint8 (H, W) of class numbers, UNKNOWN where the colour is of none.

    Raises:
        DataError: it is a mask in colours, and nobody has said which class has which.
    """
    if colours is None:
        if pixels.ndim == 3:
            raise DataError("the mask is in colours", expected="class numbers, as in the training rows",
                            fix="say which class has which: colours=")  # fmt: skip
        return pixels
    if [*colours] == [0, 255] and pixels.max(initial=0) == 1:  # 0 and 1, as others write black and white
        return pixels
    if not coloured(colours):
        return table(tuple(colours))[pixels]
    return table(tuple(colours))[codes(pixels)]


def codes(pixels: np.ndarray) -> np.ndarray:
    """int32 (H, W): 24 bits of each colour; grey levels are their greys."""
    wide = np.broadcast_to(pixels[..., None], (*pixels.shape, 3)) if pixels.ndim == 2 else pixels
    return (wide.astype(np.int32) << np.array([16, 8, 0], np.int32)).sum(-1, dtype=np.int32)


def inside(codes: np.ndarray) -> np.ndarray:
    """Those (N) of numbers (H, W) that all eight about them are equal to: none where colours blend at an edge."""
    rows = codes[1:-1]
    rows = np.where((rows == codes[:-2]) & (rows == codes[2:]), rows, -1)
    middle = rows[:, 1:-1]
    return middle[(middle == rows[:, :-2]) & (middle == rows[:, 2:]) & (middle >= 0)]


def found_colours(masks: Sequence[np.ndarray]) -> list[Colour] | None:
    """What the classes' pixels are, by the masks alone: the colours that fill areas where these are in colours, the two
    levels of masks in black and white; None where they are class numbers.

    Raises:
        DataError: there are too many for classes.
    """
    if all(mask.ndim == 2 for mask in masks):
        levels = {int(level) for mask in masks for level in np.unique(mask)}
        return [0, UNKNOWN] if levels == {0, UNKNOWN} else None
    counts: dict[int, int] = {}
    for mask in masks:
        for code, count in zip(*np.unique(inside(codes(mask)), return_counts=True), strict=True):
            counts[int(code)] = counts.get(int(code), 0) + int(count)
    fewest, taken = FEWEST * sum(counts.values()), dict[tuple[int, int, int], int]()
    for code in sorted(counts, key=lambda code: (-counts[code], code)):
        point = (code >> 16, code >> 8 & 255, code & 255)
        if counts[code] >= fewest and not any(_strays_from(other, point, counts[code]) for other in taken.items()):
            taken[point] = counts[code]
    if not 1 <= len(taken) <= MOST_CLASSES:
        fix = "say which: colours=, or look whether they are masks"
        found = f"masks have {len(counts):,} colours, of which {len(taken)} fill areas"
        raise DataError(found, expected="one colour a class", fix=fix)
    return [hexed(point) for point in sorted(taken)]


def _strays_from(other: tuple[tuple[int, int, int], int], point: tuple[int, int, int], count: int) -> bool:
    """Whether a colour that `count` pixels have is what JPEG makes of another, which so many have: hardly another one,
    or a rare one that is near."""
    apart = max(abs(a - b) for a, b in zip(point, other[0], strict=True))
    return apart <= NOISE or (apart <= 2 * NEAR and count < RARE * other[1])
