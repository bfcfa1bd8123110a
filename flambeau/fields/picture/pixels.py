"""From what Pillow opens to uint8 pixels: which formats are opened, what they may take, and what their values mean."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
from PIL import Image as PILImage

from flambeau.core.errors import DataError, UsageError, shown
from flambeau_onnx.pictures import readable

HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis")

MAX_PIXELS = 178_956_970
"""Pictures of more pixels are refused before they are decoded: Pillow's own limit, for all formats."""
MOST_MEMORY = 1 << 30
"""Bytes that decoding one picture may take, whatever its mode."""
RAW = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}  # bytes a pixel in Pillow, else 4
DECODERS = {"WEBP": 16, "AVIF": 12, "HEIF": 12, "JPEG2000": 20, "DDS": 8, "SGI": 8, "QOI": 8}  # as measured
STRIP = 1 << 20  # pixels that are converted at a time
ORIENTATION = 0x0112  # the EXIF tag
TURNED = (5, 6, 7, 8)  # those that exchange height and width
# the picture as stored, from the array that it is to become: turning it by EXIF costs no memory
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[:, ::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[::-1].swapaxes(0, 1),
}

Range = tuple[float, float]
"""The values that become black and white."""


def looks_like_picture(head: bytes) -> bool:
    """Whether a file that begins so (16 bytes) is a picture of a format with a mark of its own."""
    marks = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ")
    bitmap = head.startswith(b"BM") and head[6:10] == bytes(4)
    return head.startswith(marks) or bitmap or head[8:12] == b"WEBP" or head[4:12] in (b"ftypavif", b"ftypheic")


def open_picture(data: bytes) -> PILImage.Image:
    """The picture that some bytes hold, of FORMATS alone; nothing is decoded yet.

    Raises:
        DataError: it is HEIC, and the package for it is not there. What Pillow raises.
    """
    formats = readable()
    if data[4:8] == b"ftyp" and any(brand in data[8:64] for brand in HEIF_BRANDS) and b"avif" not in data[8:64]:
        _register_heif()
        formats = ("HEIF",)
    return PILImage.open(io.BytesIO(data), formats=formats)


@cache
def _register_heif() -> None:
    try:
        import pillow_heif
    except ImportError:
        raise DataError("this is HEIC, as iPhones write it, which needs the package pillow-heif",
                        fix="pip install pillow-heif, or save as JPEG") from None  # fmt: skip
    pillow_heif.register_heif_opener()


def check_pixels(size: tuple[int, int], where: Any, bytes_a_pixel: int = 1) -> None:
    """Raises DataError where a picture of this (width, height) is too large to decode."""
    pixels = size[0] * size[1]
    if pixels > MAX_PIXELS:
        raise DataError(f"the picture has {size[0]}×{size[1]} pixels", where=where, expected=f"at most {MAX_PIXELS:,}",
                        fix="make it smaller first")  # fmt: skip
    if pixels * bytes_a_pixel > MOST_MEMORY:
        raise DataError(
            f"the picture has {size[0]}×{size[1]} pixels, which take {bytes_a_pixel} bytes each to decode, "
            f"{pixels * bytes_a_pixel / 2**20:,.0f} MiB", where=where,
            expected=f"at most {MOST_MEMORY / 2**20:,.0f} MiB", fix="make it smaller first",
        )  # fmt: skip


def bytes_a_pixel(picture: PILImage.Image, channels: int) -> int:
    """Memory that `from_pil` needs at most."""
    raw = RAW.get(picture.mode, 4)
    turned = 2 * raw * (picture.format == "TIFF")  # Pillow turns those while it loads them
    return max(DECODERS.get(picture.format or "", 0), turned, raw + channels)


def from_pil(
    picture: PILImage.Image, channels: int, background: int = 255, values: Range | None = None, where: Any = None
) -> np.ndarray:
    """A PIL image of any mode to uint8 (H, W, C): rotated as its EXIF says, alpha over the background.

    Args:
        values: what black and white are in a picture of more than 8 bits or of floats; of 16 bits 0…65535 and of floats
            0…1 if not given.

    Raises:
        DataError: it would take too much memory, or has values outside of what they are by default.
    """
    check_pixels(picture.size, where, bytes_a_pixel(picture, channels))
    picture.load()
    width, height = picture.size
    orientation = picture.getexif().get(ORIENTATION, 1)
    turned = orientation in TURNED
    out = np.empty((width, height, channels) if turned else (height, width, channels), np.uint8)
    stored = TURNS.get(orientation, lambda a: a)(out)
    wide = is_wide(picture)
    known = values or range_of(picture)
    for top, strip in _strips(picture):
        if wide:
            stored[top : top + strip.height] = scaled(np.asarray(strip), known, beyond=values is not None, where=where)[
                ..., None
            ]
            continue
        if strip.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
            strip = strip.convert("RGBA")
            back = PILImage.new("RGBA", strip.size, (background, background, background, 255))
            strip = PILImage.alpha_composite(back, strip)
        if strip.mode in ("LAB", "HSV"):  # which become grey by way of RGB alone
            strip = strip.convert("RGB")
        pixels = np.asarray(strip.convert("RGB" if channels == 3 else "L"))
        stored[top : top + strip.height] = pixels if channels == 3 else pixels[..., None]
    return out


def _strips(picture: PILImage.Image) -> Iterator[tuple[int, PILImage.Image]]:
    """Parts of a picture from top to bottom, each with the row that it begins at: whatever is made of them is small."""
    width, height = picture.size
    rows = max(1, STRIP // max(1, width))
    if rows >= height:
        yield 0, picture
        return
    for top in range(0, height, rows):
        yield top, picture.crop((0, top, width, min(height, top + rows)))


# -- pictures of more than 8 bits ---------------------------------------------------------------------------------


def is_wide(picture: PILImage.Image) -> bool:
    """Whether a picture's values are floats or more than 8 bits."""
    return picture.mode == "F" or picture.mode.startswith("I")


def extremes(picture: PILImage.Image) -> Range:
    """The least and the greatest value of a wide picture."""
    found = [(float(a.min()), float(a.max())) for a in (np.asarray(strip) for _, strip in _strips(picture))]
    return min(low for low, _ in found), max(high for _, high in found)


def suits(low: float, high: float, whole: bool) -> Range:
    """A range for values between these: as many bits as they need; for floats 0…1, -1…1, 0…255 or 0…65535 where they
    fit into one of them.

    >>> suits(3, 3000, True), suits(-1000, 2000, True), suits(-0.4, 0.9, False), suits(-1000.5, 3000.0, False)
    ((0, 4095), (-1024, 2047), (-1, 1), (-1000.5, 3000.0))
    """
    if whole:
        top = max(8, int(high).bit_length() if high > 0 else 0)
        return (0 if low >= 0 else -(2 ** math.ceil(math.log2(-low)))), 2**top - 1
    usual = ((0, 1), (-1, 1), (0, 255), (0, 65535))
    return next((r for r in usual if r[0] <= low and high <= r[1]), (low, high if high > low else low + 1))


def range_of(picture: PILImage.Image) -> Range:
    """The range by default: 16 bits are of 65535 (those of a PGM too, which Pillow widens), whole numbers of 255."""
    if picture.mode.startswith("I;16") or picture.format == "PPM":
        return 0.0, 65535.0
    return 0.0, 1.0 if picture.mode == "F" else 255.0


def scaled(array: np.ndarray, values: Range, *, beyond: bool = False, where: Any = None) -> np.ndarray:
    """uint8 of numbers, by a range that is the same for all pictures.

    Args:
        beyond: whether values beyond the range become black or white.

    Raises:
        DataError: some are beyond it where they may not be, or not finite.
    """
    low, high = float(array.min()), float(array.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise DataError("the picture has values that are not finite numbers (NaN or infinite)", where=where)
    if not beyond and not (values[0] <= low and high <= values[1]):
        what = "floats" if array.dtype.kind == "f" else "values"
        raise DataError(f"the picture has {what} from {low:g} to {high:g}", where=where,
                        expected=f"{values[0]:g}…{values[1]:g}, or uint8",
                        fix="say which are black and white: Image(range=[low, high])")  # fmt: skip
    numbers = (array.astype(np.float64) - values[0]) * (255.0 / (values[1] - values[0]))
    return np.clip(np.round(numbers), 0, 255).astype(np.uint8)


def checked_range(values: Sequence[float]) -> list[float]:
    """The values of black and white, or what is wrong with them as a UsageError."""
    try:
        low, high = (float(v) for v in values)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(f"the range {values!r} does not fit", expected="the values of black and white, [0, 4095]")
    return [low, high]


def checked_size(size: int | Sequence[int]) -> list[int]:
    """Height and width, in pixels, or what is wrong with them as a UsageError."""
    try:
        pair = [int(s) for s in size] if isinstance(size, (list, tuple)) else [int(size)] * 2  # type: ignore[arg-type]
    except (TypeError, ValueError):
        pair = []
    if len(pair) != 2 or min(pair) < 1:
        raise UsageError(f"the size {shown(size)} does not fit", expected="pixels, or (height, width)")
    if pair[0] * pair[1] > MAX_PIXELS:
        raise UsageError(f"the size {shown(size)} is too large", expected=f"at most {MAX_PIXELS:,} pixels in a picture")
    return pair
