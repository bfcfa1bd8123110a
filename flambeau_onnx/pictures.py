"""Pictures: from files, bytes or arrays to uint8 pixels, and to the size that a graph takes."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as PILImage
from PIL import ImageOps

ORIENTATION = 0x0112  # the EXIF tag
TURNED = (5, 6, 7, 8)  # its values where height and width change places
MOST_PIXELS = 1 << 30  # a side

SERVED = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""Formats that are read from strangers: each has a mark of its own, and says in its head how large it is."""
FORMATS = (*SERVED, "DIB", "PPM", "JPEG2000", "ICO", "DDS", "QOI", "SGI", "PCX", "TGA")
"""Formats that are read from files. Pillow knows more, some by starting another program (EPS starts Ghostscript)."""
DAMAGES = (OSError, ValueError, SyntaxError, EOFError, LookupError, ArithmeticError, TypeError, RuntimeError,
           MemoryError, struct.error, zlib.error)  # fmt: skip
"""What Pillow's plugins raise over damaged files."""


@cache
def readable(formats: tuple[str, ...] = FORMATS) -> tuple[str, ...]:
    """Those of some formats that this Pillow has."""
    PILImage.init()
    return tuple(name for name in formats if name in PILImage.OPEN)


def decode(source: Any, channels: int, size: tuple[int, int] | None, background: int = 255) -> np.ndarray:
    """A picture of 8 bits to uint8 (H, W, C) in RGB or grey: upright, alpha over the background.

    Args:
        source: a path, a file's bytes, or an array uint8 (H, W) or (H, W, C).
        size: (height, width) that will be wanted: a JPEG is decoded at the smallest scale that is not below it.

    Raises:
        OSError: it cannot be read, is no picture, is damaged, or has more than 8 bits.
    """
    try:
        return _decoded(source, channels, size, background)
    except PILImage.UnidentifiedImageError:  # which names the buffer that it was read from
        raise OSError("this is no picture of a kind that is read") from None
    except OSError:
        raise
    except (*DAMAGES, PILImage.DecompressionBombError) as error:
        raise OSError(str(error) or type(error).__name__) from None


def _decoded(source: Any, channels: int, size: tuple[int, int] | None, background: int) -> np.ndarray:
    if isinstance(source, (str, Path, bytes)):
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
        picture: PILImage.Image = PILImage.open(io.BytesIO(data), formats=readable())
        if (
            picture.format == "JPEG"
            and picture.mode in ("RGB", "L")
            and picture.getexif().get(ORIENTATION, 1) in (0, 1)
        ):
            import simplejpeg

            wanted = {"min_height": size[0], "min_width": size[1], "min_factor": 1} if size else {}
            colours = "RGB" if channels == 3 else "GRAY"
            return simplejpeg.decode_jpeg(data, colorspace=colours, fastdct=False, **wanted)
        if size is not None and picture.format == "JPEG":
            picture.draft("RGB" if channels == 3 else "L", size[::-1])
    else:
        array = np.asarray(source)
        if array.dtype != np.uint8 or array.ndim not in (2, 3):
            raise OSError(f"an array {array.dtype} of shape {array.shape} is no picture; expected uint8 (H, W, C)")
        picture = PILImage.fromarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array)
    if picture.mode == "F" or picture.mode.startswith("I"):
        raise OSError("it has more than 8 bits; save it with 8")
    transparent = "transparency" in picture.info
    picture = ImageOps.exif_transpose(picture)
    if transparent or picture.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        back = PILImage.new("RGBA", picture.size, (background, background, background, 255))
        picture = PILImage.alpha_composite(back, picture.convert("RGBA"))
    pixels = np.asarray(picture.convert("RGB" if channels == 3 else "L"))
    return pixels if channels == 3 else pixels[..., None]


def frame(source: Any, size: tuple[int, int], how: str) -> np.ndarray:
    """How a picture, in any form that `decode` takes, lies in one of (H, W); see `framed`. Looks at its head only.

    Raises:
        OSError: it cannot be read, or is no picture.
    """
    if not isinstance(source, (str, Path, bytes)):
        sides = np.shape(source)[0], np.shape(source)[1]
        return framed(sides, sides, 1, 1, size, how)
    wanted = (MOST_PIXELS, MOST_PIXELS) if how == "keep" else size  # what keeps its pixels is decoded at its own size
    with PILImage.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=readable()) as picture:
        (w, h), orientation = picture.size, picture.getexif().get(ORIENTATION, 1)
        if picture.format == "JPEG" and picture.mode in ("RGB", "L") and orientation in (0, 1):
            return framed((h, w), *scaled_jpeg((h, w), wanted), 1, size, how)
        drafted = picture.draft("RGB", wanted[::-1]) if picture.format == "JPEG" else None
        reduced = round(w / drafted[1][2]) if drafted else 1
        sides, decoded = (h, w), picture.size[::-1]
    if orientation in TURNED:
        sides, decoded = sides[::-1], decoded[::-1]
    return framed(sides, decoded, reduced, orientation, size, how)


def scaled_jpeg(sides: tuple[int, int], size: tuple[int, int]) -> tuple[tuple[int, int], float]:
    """The smallest (height, width) at which a JPEG of (h, w) is decoded that is not below a size, and how many pixels
    of the one are a pixel of the other."""
    h, w = sides
    eighths = (k for k in range(1, 8) if -(-h * k // 8) >= size[0] and -(-w * k // 8) >= size[1])
    k = next(eighths, 8)
    return (-(-h * k // 8), -(-w * k // 8)), 8 / k


def framed(
    sides: tuple[int, int], decoded: tuple[int, int], reduced: float, orientation: int, size: tuple[int, int], how: str
) -> np.ndarray:
    """How a picture lies in one of (H, W), float32 (6): its height and width, turned as its EXIF says; then for x and
    for y what its pixels are multiplied by, and what is added.

    Args:
        sides, decoded: (height, width) of the picture, and of what is decoded of it, both upright.
        reduced: how many pixels of the one are a pixel of the other.
    """
    box, inner, (top, left) = fitted(decoded, size, how)
    across, down = inner[1] / (box[2] - box[0]), inner[0] / (box[3] - box[1])
    # the last pixel of a JPEG that is decoded small may stand for less than the others, and be the first once turned
    above = (decoded[0] - sides[0] / reduced) * (orientation in (3, 4, 7, 8))
    before = (decoded[1] - sides[1] / reduced) * (orientation in (2, 3, 6, 7))
    x, y = left + (before - box[0]) * across, top + (above - box[1]) * down
    return np.array([*sides, across / reduced, x, down / reduced, y], np.float32)


def raw_boxes(boxes: np.ndarray, frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Boxes (N, 4) in 0…1 of what lies in (H, W) as `frame` says, in pixels of the picture, cut at its edges."""
    height, width, across, x, down, y = frame.tolist()
    placed = boxes.astype(np.float64) * [size[1], size[0], size[1], size[0]]
    return np.clip((placed - [x, y, x, y]) / [across, down, across, down], 0, [width, height, width, height])


class Fit(NamedTuple):
    """How a picture comes to the size that is wanted, in pixels.

    Attributes:
        box: the part that is kept: left, top, right, bottom.
        inner: (height, width) of what becomes of it.
        corner: (top, left), where that lies in what is wanted.
    """

    box: tuple[float, float, float, float]
    inner: tuple[int, int]
    corner: tuple[int, int]


def fitted(sides: tuple[int, int], size: tuple[int, int], how: str) -> Fit:
    """How a picture (h, w) comes to (H, W); `how` as for `resize`."""
    (h, w), (height, width) = sides, size
    if how == "crop":
        scale = min(h / height, w / width)
        crop_h, crop_w = height * scale, width * scale
        return Fit(((w - crop_w) / 2, (h - crop_h) / 2, (w + crop_w) / 2, (h + crop_h) / 2), size, (0, 0))
    if how == "keep":
        inner = min(h, height), min(w, width)
        return Fit((0, 0, inner[1], inner[0]), inner, (0, 0))
    if how == "squash" or sides == size:
        return Fit((0, 0, w, h), size, (0, 0))
    scale = min(height / h, width / w)
    inner = max(1, round(h * scale)), max(1, round(w * scale))
    return Fit((0, 0, w, h), inner, ((height - inner[0]) // 2, (width - inner[1]) // 2))


def resize(
    array: np.ndarray, size: tuple[int, int], how: str, background: int = 255, *, nearest: bool = False
) -> np.ndarray:
    """uint8 (h, w, C) to (H, W, C), antialiased.

    Args:
        how: `squash` changes the aspect ratio, `crop` keeps it and cuts the middle out, `pad` keeps it and fills
            the rest with the background; `keep` keeps each pixel as it is, cuts off what is beyond the size at the
            right and below, and fills what is less.
        nearest: each pixel is one of the picture's: for numbers that are no brightnesses.
    """
    h, w, channels = array.shape
    if (h, w) == size:
        return array
    box, inner, (top, left) = fitted((h, w), size, how)
    picture = PILImage.fromarray(array if channels == 3 else array[..., 0])
    if how == "keep":
        small = array[: inner[0], : inner[1]].copy()
        small = small if channels == 3 else small[..., 0]
    elif nearest:
        small = np.asarray(picture.resize(inner[::-1], PILImage.Resampling.NEAREST, box=box))
    else:
        small = np.asarray(picture.resize(inner[::-1], PILImage.Resampling.BILINEAR, box=box, reducing_gap=3.0))
    small = small if channels == 3 else small[..., None]
    if inner == size:
        return small
    padded = np.full((*size, channels), background, np.uint8)
    padded[top : top + inner[0], left : left + inner[1]] = small
    return padded
