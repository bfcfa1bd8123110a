"""From a picture in any form to a uint8 array: JPEG by simplejpeg at the scale that is needed, all else by Pillow."""

from __future__ import annotations

import struct
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image as PILImage

from flambeau.core import files
from flambeau.core.arrays import as_array
from flambeau.core.errors import DataError, shown
from flambeau.fields.picture.pixels import (
    MAX_PIXELS,
    ORIENTATION,
    TURNED,
    Range,
    check_pixels,
    from_pil,
    open_picture,
    scaled,
)
from flambeau_onnx.pictures import DAMAGES, framed, resize, scaled_jpeg

__all__ = ["MAX_PIXELS", "SUFFIXES", "check_pixels", "decode", "from_pil", "read_bytes", "resize"]

ENDINGS = """
jpg jpeg jpe jfif png apng gif bmp dib webp tif tiff ppm pgm pbm pnm tga ico avif avifs jp2 j2k jpx jpf j2c dds qoi sgi
pcx"""
HEIF_ENDINGS = [".heic", ".heif", ".hif"] if find_spec("pillow_heif") else []
SUFFIXES = frozenset([*(f".{ending}" for ending in ENDINGS.split()), *HEIF_ENDINGS])
"""File name endings that sources take for pictures."""
BASELINE = 30_000_000  # pixels of a JPEG from which on it matters how it is stored


def read_bytes(path: Path | str) -> bytes:
    """The file's bytes.

    Raises:
        DataError: it is no path, missing, empty, no regular file, or cannot be read.
    """
    if not isinstance(path, (str, Path)):
        raise DataError(f"{shown(path)} is no file", expected="a path, or a file's bytes")
    data = files.read_bytes(path)
    if not data:
        raise DataError("the file is empty", where=path)
    return data


def decode(
    source: Any,
    channels: int,
    size: tuple[int, int] | None = None,
    *,
    background: int = 255,
    values: Range | None = None,
) -> np.ndarray:
    """A picture to uint8 (H, W, C) in RGB or grey.

    Args:
        source: a path, encoded bytes, a PIL image, or an array (H, W) or (H, W, C) of uint8 or floats in 0…1.
        channels: 3 for RGB, 1 for grey.
        size: (height, width) that will be wanted. A JPEG is then decoded at the smallest scale that is not below it.
        background: grey level put behind transparent pixels.
        values: what black and white are where there are more than 8 bits or floats: 0…65535 of 16 bits, and 0…1 of
            floats, if not given.

    Animated pictures give their first frame; EXIF rotation is applied; 16 bits are scaled to 8.

    Raises:
        DataError: the picture cannot be decoded, has more than MAX_PIXELS or takes more memory than MOST_MEMORY, or has
            values outside of their range where none is given.
    """
    if isinstance(source, (str, Path)):
        return _decode_bytes(read_bytes(source), channels, size, background, values, where=source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode_bytes(bytes(source), channels, size, background, values, where=None)
    if isinstance(source, PILImage.Image):
        return from_pil(source, channels, background, values)
    return _from_array(source, channels, background, values)


def _decode_bytes(
    data: bytes, channels: int, size: tuple[int, int] | None, background: int, values: Range | None, where: Any
) -> np.ndarray:
    if data[:2] == b"\xff\xd8" and _upright(data):
        array = _decode_jpeg(data, channels, size, where)
        if array is not None:
            return array
    try:
        with open_picture(data) as picture:
            check_pixels(picture.size, where, 6 if _is_progressive(data) else 1)
            if size is not None and picture.format == "JPEG":
                picture.draft("RGB" if channels == 3 else "L", (size[1], size[0]))
            return from_pil(picture, channels, background, values, where)
    except DataError as error:
        if error.where is None and where is not None:
            raise DataError(error.found, where=where, expected=error.expected, fix=error.fix) from None
        raise
    except PILImage.DecompressionBombError as error:
        found = str(error).partition(",")[0]
        raise DataError(
            f"the picture is too large ({found})", where=where, expected=f"at most {MAX_PIXELS:,} pixels",
            fix="make it smaller first",
        ) from None  # fmt: skip
    except PILImage.UnidentifiedImageError:
        found = f"this is not a picture of a kind that is read (it starts with {data[:12]!r})"
        fix = "remove it or replace it"
        if data[:4] in (b"II*\0", b"MM\0*"):
            found, fix = "this TIFF is of a kind that is not read", "save it with 8 bits, or in grey"
        raise DataError(found, where=where, fix=fix) from None
    except DAMAGES as error:
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
        if width * height > BASELINE and _is_progressive(data):
            check_pixels((width, height), where, channels + 6)
        wanted = {"min_height": size[0], "min_width": size[1], "min_factor": 1} if size else {}
        return simplejpeg.decode_jpeg(data, colorspace="RGB" if channels == 3 else "GRAY", fastdct=False, **wanted)
    except ValueError:
        return None


def _is_progressive(data: bytes) -> bool:
    """Whether a JPEG's coefficients are all kept in memory until it is decoded, two bytes each."""
    at = 2
    while data[:2] == b"\xff\xd8" and data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] not in (b"\xda", b""):
        if data[at + 1] == 0xC2:
            return True
        at += 1 if data[at + 1] == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


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


def _from_array(value: Any, channels: int, background: int, values: Range | None) -> np.ndarray:
    try:
        array = as_array(value)
    except (ValueError, TypeError):
        raise DataError("the value is a ragged list", expected="a picture: (H, W), (H, W, C) or (C, H, W)") from None
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] not in (1, 3, 4):
        array = array.transpose(1, 2, 0)  # channels first, as torch has them
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise DataError(
            f"an array of shape {array.shape} is not a picture", expected="(H, W), (H, W, C) or (C, H, W), C 1, 3 or 4"
        )
    if not array.size or array.dtype.kind not in "biuf":
        what = f"holds {array.dtype} values" if array.size else f"of shape {array.shape} is empty"
        raise DataError(f"the array {what}", expected="numbers: uint8, or floats in 0…1")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    elif array.dtype != np.uint8:
        usual = (0.0, 1.0) if array.dtype.kind == "f" else (0.0, 255.0)
        array = scaled(array, values or usual, beyond=values is not None)
    if array.ndim == 2:
        array = array[..., None]
    if array.shape[2] == channels:
        return np.ascontiguousarray(array)
    squeezed = array[..., 0] if array.shape[2] == 1 else array
    return from_pil(PILImage.fromarray(np.ascontiguousarray(squeezed)), channels, background)


def frame(source: Any, size: tuple[int, int], how: str) -> np.ndarray:
    """How a picture, in any form that `decode` takes, lies in one of (H, W), float32 (6); see
    `flambeau_onnx.pictures.framed`. Looks at its head only.

    Raises:
        DataError: it is not a picture.
    """
    # what keeps its pixels is decoded at its own size
    sides, decoded, reduced, orientation = _decoded_sides(source, (MAX_PIXELS, MAX_PIXELS) if how == "keep" else size)
    return framed(sides, decoded, reduced, orientation, size, how)


def upright(source: Any) -> tuple[tuple[int, int], int]:
    """(height, width) of a picture, in any form that `decode` takes, turned as its EXIF says, and that orientation,
    1…8. Looks at its head only.

    Raises:
        DataError: it is not a picture.
    """
    sides, _, _, orientation = _decoded_sides(source, (1, 1))
    return sides, orientation


def _decoded_sides(source: Any, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int], float, int]:
    """(height, width) of a picture and of what `decode` makes of it, both upright; how many pixels of the one are a
    pixel of the other; and its EXIF orientation."""
    if isinstance(source, (str, Path, bytes, bytearray, memoryview)):
        data = read_bytes(source) if isinstance(source, (str, Path)) else bytes(source)
        try:
            if data[:2] == b"\xff\xd8" and _upright(data):
                h, w, colour, _ = simplejpeg.decode_jpeg_header(data)
                if colour in ("YCbCr", "Gray", "RGB"):
                    return (h, w), *scaled_jpeg((h, w), size), 1
            with open_picture(data) as picture:
                w, h = picture.size
                drafted = picture.draft("RGB", size[::-1]) if picture.format == "JPEG" else None
                reduced = round(w / drafted[1][2]) if drafted else 1
                sides, decoded = (h, w), picture.size[::-1]
                orientation = picture.getexif().get(ORIENTATION, 1)
        except (*DAMAGES, PILImage.DecompressionBombError):
            raise DataError("this is not a picture", where=None if isinstance(source, bytes) else source) from None
        turned = orientation in TURNED
        return (sides[::-1], decoded[::-1], reduced, orientation) if turned else (sides, decoded, reduced, orientation)
    if isinstance(source, PILImage.Image):
        sides = source.size if source.getexif().get(ORIENTATION, 1) in TURNED else source.size[::-1]
        return sides, sides, 1, 1
    shape = np.shape(as_array(source))
    first = len(shape) == 3 and shape[0] in (1, 3, 4) and shape[2] not in (1, 3, 4)
    sides = (shape[1], shape[2]) if first else (shape[0], shape[1])
    return sides, sides, 1, 1
