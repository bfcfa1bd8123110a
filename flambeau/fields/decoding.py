"""From a picture in any form to a uint8 array: JPEG by simplejpeg at the scale that is needed, all else by Pillow."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image as PILImage
from PIL import ImageOps

from flambeau.core.errors import DataError

MAX_PIXELS = 178_956_970
"""Pictures of more pixels (512 MiB as RGB) are refused before they are decoded: Pillow's own limit, for all formats."""

SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".gif",
        ".bmp",
        ".dib",
        ".webp",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".tga",
        ".ico",
        ".avif",
        ".jp2",
    ]
)
"""File name endings that sources take for pictures."""


def read_bytes(path: Path | str) -> bytes:
    """The file's bytes.

    Raises:
        DataError: it is missing, empty or cannot be read.
    """
    try:
        with open(path, "rb") as handle:  # noqa: PTH123 -- a Path costs 10 µs, and this runs once a picture
            data = handle.read()
    except FileNotFoundError:
        raise DataError("the file is missing", where=path) from None
    except OSError as error:
        raise DataError(f"the file cannot be read ({error.strerror})", where=path) from None
    except ValueError as error:  # a null character in the path
        raise DataError(f"this is not a path ({error})", where=repr(path)) from None
    if not data:
        raise DataError("the file is empty", where=path)
    return data


def decode(source: Any, channels: int, size: tuple[int, int] | None = None, *, background: int = 255) -> np.ndarray:
    """A picture to uint8 (H, W, C) in RGB or grey.

    Args:
        source: a path, encoded bytes, a PIL image, or an array (H, W) or (H, W, C) of uint8 or floats in 0…1.
        channels: 3 for RGB, 1 for grey.
        size: (height, width) that will be wanted. A JPEG is then decoded at the smallest scale that is not below it.
        background: grey level put behind transparent pixels.

    Animated pictures give their first frame; EXIF rotation is applied; 16 bits are scaled to 8.

    Raises:
        DataError: the picture cannot be decoded, or has more than MAX_PIXELS.
    """
    if isinstance(source, (str, Path)):
        return _decode_bytes(read_bytes(source), channels, size, background, where=source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode_bytes(bytes(source), channels, size, background, where=None)
    if isinstance(source, PILImage.Image):
        return from_pil(source, channels, background)
    return _from_array(source, channels, background)


def _decode_bytes(data: bytes, channels: int, size: tuple[int, int] | None, background: int, where: Any) -> np.ndarray:
    if data[:2] == b"\xff\xd8" and _upright(data):
        array = _decode_jpeg(data, channels, size, where)
        if array is not None:
            return array
    try:
        with PILImage.open(io.BytesIO(data)) as picture:
            check_pixels(picture.size, where)
            if size is not None and picture.format == "JPEG":
                picture.draft("RGB" if channels == 3 else "L", (size[1], size[0]))
            return from_pil(picture, channels, background)
    except DataError:
        raise
    except PILImage.DecompressionBombError as error:
        found = str(error).partition(",")[0]
        raise DataError(
            f"the picture is too large ({found})", where=where, expected=f"at most {MAX_PIXELS:,} pixels",
            fix="make it smaller first",
        ) from None  # fmt: skip
    except PILImage.UnidentifiedImageError:
        raise DataError(
            f"this is not a picture (it starts with {data[:12]!r})",
            where=where,
            fix="remove it or replace it",
        ) from None
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, IndexError, MemoryError) as error:
        # Pillow's plugins raise all of these on damaged files
        raise DataError(
            f"the picture is damaged or cut short ({error})", where=where, fix="remove it or replace it"
        ) from None


def _decode_jpeg(data: bytes, channels: int, size: tuple[int, int] | None, where: Any) -> np.ndarray | None:
    """The JPEG by simplejpeg; None where only Pillow can (CMYK, for one) or where Pillow's message is wanted."""
    try:
        height, width, colour, _ = simplejpeg.decode_jpeg_header(data)
        if colour not in ("YCbCr", "Gray", "RGB"):
            return None
        check_pixels((width, height), where)
        wanted = {"min_height": size[0], "min_width": size[1], "min_factor": 1} if size else {}
        return simplejpeg.decode_jpeg(data, colorspace="RGB" if channels == 3 else "GRAY", fastdct=False, **wanted)
    except ValueError:
        return None


def check_pixels(size: tuple[int, int], where: Any) -> None:
    """Raises DataError where a picture of this (width, height) is too large to decode."""
    if size[0] * size[1] > MAX_PIXELS:
        raise DataError(
            f"the picture has {size[0]}×{size[1]} pixels",
            where=where,
            expected=f"at most {MAX_PIXELS:,}",
            fix="make it smaller first",
        )


def _upright(data: bytes) -> bool:
    """Whether a JPEG has no EXIF orientation other than 1. Looks at its head only."""
    at = 2
    while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] not in (b"\xda", b""):  # up to the picture itself
        if data[at + 1] == 0xE1 and data[at + 4 : at + 10] == b"Exif\x00\x00":
            return _upright_exif(data[at + 10 : at + 10 + 65536])
        at += 1 if data[at + 1] == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")  # 0xFF may fill gaps
    return True


def _upright_exif(tiff: bytes) -> bool:
    order = "<" if tiff[:2] == b"II" else ">"
    try:
        (offset,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, offset)
        for i in range(entries):
            tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, offset + 2 + 12 * i)
            if tag == 0x0112:
                return value in (0, 1)
    except struct.error:
        return False  # let Pillow look
    return True


def from_pil(picture: PILImage.Image, channels: int, background: int = 255) -> np.ndarray:
    """A PIL image of any mode to uint8 (H, W, C): rotated as its EXIF says, alpha over the background."""
    picture = ImageOps.exif_transpose(picture)
    mode = picture.mode
    if mode == "F" or mode.startswith("I"):
        # 16-bit PNGs arrive as I;16 or I; convert("L") would clip them at 255
        wide = np.asarray(picture, dtype=np.float64)
        top = 65535.0 if mode.startswith("I") and wide.size and wide.max() > 255 else 255.0
        if mode == "F" and wide.size and wide.max() <= 1.0:
            top = 1.0
        grey = np.clip(np.round(wide * (255.0 / top)), 0, 255).astype(np.uint8)
        picture, mode = PILImage.fromarray(grey), "L"
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        back = PILImage.new("RGBA", picture.size, (background, background, background, 255))
        picture = PILImage.alpha_composite(back, picture)
    picture = picture.convert("RGB" if channels == 3 else "L")
    array = np.asarray(picture)
    return array if channels == 3 else array[..., None]


def _from_array(value: Any, channels: int, background: int) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError:
        raise DataError("the value is a ragged list", expected="a picture: (H, W), (H, W, C) or (C, H, W)") from None
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] not in (1, 3, 4):
        array = array.transpose(1, 2, 0)  # channels first, as torch has them
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise DataError(
            f"an array of shape {array.shape} is not a picture",
            expected="(H, W), (H, W, C) or (C, H, W), C 1, 3 or 4",
        )
    if not array.size or array.dtype.kind not in "biuf":
        what = f"holds {array.dtype} values" if array.size else f"of shape {array.shape} is empty"
        raise DataError(f"the array {what}", expected="numbers: uint8, or floats in 0…1")
    if np.issubdtype(array.dtype, np.floating):
        if not (array.min() >= 0 and array.max() <= 1):
            raise DataError(
                f"the picture has floats from {array.min():g} to {array.max():g}",
                expected="floats in 0…1, or uint8",
            )
        array = np.round(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        if array.dtype == np.bool_:
            array = array.astype(np.uint8) * 255
        elif not (array.min() >= 0 and array.max() <= 255):
            raise DataError(f"the picture has values from {array.min()} to {array.max()}", expected="0…255")
        else:
            array = array.astype(np.uint8)
    if array.ndim == 2:
        array = array[..., None]
    if array.shape[2] == channels:
        return np.ascontiguousarray(array)
    squeezed = array[..., 0] if array.shape[2] == 1 else array
    return from_pil(PILImage.fromarray(np.ascontiguousarray(squeezed)), channels, background)


def resize(array: np.ndarray, size: tuple[int, int], how: str, background: int = 255) -> np.ndarray:
    """uint8 (h, w, C) to (H, W, C), antialiased.

    Args:
        how: `squash` changes the aspect ratio, `crop` keeps it and cuts the middle out, `pad` keeps it and fills
            the rest with the background.
    """
    height, width = size
    h, w, channels = array.shape
    if (h, w) == size:
        return array
    box = None
    target = (width, height)
    if how == "crop":
        scale = min(h / height, w / width)
        crop_h, crop_w = height * scale, width * scale
        box = ((w - crop_w) / 2, (h - crop_h) / 2, (w + crop_w) / 2, (h + crop_h) / 2)
    elif how == "pad":
        scale = min(height / h, width / w)
        target = (max(1, round(w * scale)), max(1, round(h * scale)))
    picture = PILImage.fromarray(array if channels == 3 else array[..., 0])
    small = np.asarray(picture.resize(target, PILImage.Resampling.BILINEAR, box=box, reducing_gap=3.0))
    small = small if channels == 3 else small[..., None]
    if how != "pad" or small.shape[:2] == size:
        return small
    padded = np.full((height, width, channels), background, np.uint8)
    top, left = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    padded[top : top + small.shape[0], left : left + small.shape[1]] = small
    return padded
