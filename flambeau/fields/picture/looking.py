"""What is seen of a picture before it is encoded: how large it is, and which of its values are black and white."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage

from flambeau.core.arrays import as_array
from flambeau.core.errors import DataError
from flambeau.fields.base import Recognition
from flambeau.fields.decoding import SUFFIXES, check_pixels, decode, read_bytes
from flambeau.fields.picture.pixels import (
    Range,
    bytes_a_pixel,
    extremes,
    is_wide,
    looks_like_picture,
    open_picture,
    range_of,
    suits,
)
from flambeau_onnx.pictures import DAMAGES

FEW = 0.1  # of pictures, that are not like the others
LARGEST_NATIVE = 64
"""Pictures that are all one size, at most this many pixels a side, are kept as they are."""
DEFAULT_SIZE = 128


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


def looks_like_pictures(values: Sequence[Any]) -> Recognition:
    """How well a sample of raw values looks like pictures."""
    sample = [v for v in values if v is not None]
    if not sample:
        return Recognition(0.0, "there are no values")
    if isinstance(sample[0], (str, Path)):
        pictures = sum(isinstance(v, (str, Path)) and Path(v).suffix.lower() in SUFFIXES for v in sample)
        return Recognition(0.95 * pictures / len(sample), f"{pictures} of {len(sample)} end like pictures")
    if isinstance(sample[0], PILImage.Image):
        return Recognition(1.0, "values are PIL images")
    if isinstance(sample[0], bytes):
        pictures = sum(isinstance(v, bytes) and looks_like_picture(v[:16]) for v in sample)
        if pictures:
            return Recognition(0.95 * pictures / len(sample), f"{pictures} of {len(sample)} begin like pictures")
        return Recognition(0.5, "values are bytes")
    try:
        array = as_array(sample[0])
    except (ValueError, TypeError):
        return Recognition(0.0, "values are ragged")
    if array.ndim in (2, 3) and array.dtype in (np.uint8, np.bool_):
        return Recognition(0.9, f"values are {array.dtype} arrays of {array.shape}")
    if array.dtype == np.uint16 or (array.ndim == 3 and array.dtype.kind == "f"):
        low, high = min(float(np.min(v)) for v in sample), max(float(np.max(v)) for v in sample)
        plane = array.ndim == 2 or {array.shape[0], array.shape[2]} & {1, 3, 4}
        if plane and not (low >= 0 and high <= 1) and array.ndim in (2, 3) and math.isfinite(low + high):
            return Recognition(0.75, f"values are arrays of {array.shape} with {array.dtype} from {low:g} to "
                                     f"{high:g}, scaled by their range in the training rows")  # fmt: skip
    if array.ndim in (2, 3) and np.issubdtype(array.dtype, np.floating):
        inside = all(np.min(v) >= 0 and np.max(v) <= 1 for v in sample)
        channels = array.ndim == 2 or 1 in (array.shape[0], array.shape[2]) or 3 in (array.shape[0], array.shape[2])
        if inside and channels:
            return Recognition(0.8, f"values are arrays of {array.shape} with floats in 0…1")
    return Recognition(0.0, "values are not pictures")


def size_of(sizes: Sequence[tuple[int, int]]) -> list[int]:
    """The (height, width) that a model sees of pictures of these, where none is asked for."""
    if len(set(sizes)) == 1 and max(sizes[0]) <= LARGEST_NATIVE:
        return list(sizes[0])
    largest = max(max(size) for size in sizes)
    return [DEFAULT_SIZE if largest > LARGEST_NATIVE else largest] * 2
