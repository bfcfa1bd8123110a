"""What is seen of a picture before it is encoded: how large it is, and which of its values are black and white."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage

from flambeau.core.errors import DataError
from flambeau.fields.decoding import check_pixels, decode, read_bytes
from flambeau.fields.picture.pixels import (
    DAMAGES,
    Range,
    bytes_a_pixel,
    extremes,
    is_wide,
    open_picture,
    range_of,
    suits,
)

FEW = 0.1  # of pictures, that are not like the others


def original_size(value: Any) -> tuple[int, int]:
    """(height, width) of a picture, from its head only, before EXIF rotation.

    Raises:
        DataError: it is not a picture.
    """
    if isinstance(value, (str, Path, bytes)):
        data = value if isinstance(value, bytes) else read_bytes(value)
        try:
            with open_picture(data) as picture:
                width, height = picture.size
        except (*DAMAGES, PILImage.DecompressionBombError):
            raise DataError("this is not a picture", where=None if isinstance(value, bytes) else value) from None
        check_pixels((width, height), value if not isinstance(value, bytes) else None)
        return height, width
    if isinstance(value, PILImage.Image):
        return value.height, value.width
    array = decode(value, 3, values=(0.0, 1.0))
    return array.shape[0], array.shape[1]


def suited(pictures: Sequence[Any]) -> Range | None:
    """The range that suits some pictures together; None where all but a few have 8 bits or are of the usual range, so
    that an odd one is refused and does not darken the others."""
    found = [e for value in pictures if (e := _extremes(value)) is not None]
    others = sum(suits(low, high, whole) != usual for low, high, whole, usual in found)
    if others <= FEW * len(pictures):
        return None
    return suits(min(e[0] for e in found), max(e[1] for e in found), all(e[2] for e in found))


def _extremes(value: Any) -> tuple[float, float, bool, Range] | None:
    """The least and greatest value of a picture of more than 8 bits or of floats, whether they are whole numbers, and
    what its range is by default; None of any other, and of one that cannot be read, which is named later."""
    try:
        if isinstance(value, (str, Path, bytes)):
            with open_picture(value if isinstance(value, bytes) else read_bytes(value)) as opened:
                return _extremes(opened)
        if isinstance(value, PILImage.Image):
            if not is_wide(value):
                return None
            check_pixels(value.size, None, bytes_a_pixel(value, 1))
            (low, high), whole, usual = extremes(value), value.mode != "F", range_of(value)
        else:
            array = np.asarray(value)
            if array.dtype == np.uint8 or array.dtype.kind not in "iuf" or not array.size or array.ndim not in (2, 3):
                return None
            low, high, whole = float(array.min()), float(array.max()), array.dtype.kind != "f"
            usual = (0.0, 255.0 if whole else 1.0)
    except (DataError, *DAMAGES, PILImage.DecompressionBombError):
        return None
    return (low, high, whole, usual) if math.isfinite(low) and math.isfinite(high) else None
