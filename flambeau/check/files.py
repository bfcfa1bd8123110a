"""One pass over a column of pictures: what each one is, and a small signature to compare it by."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as PILImage
from PIL.Image import Image as Picture

from flambeau.check.wording import TOO_LARGE, without_figures
from flambeau.core.errors import DataError
from flambeau.core.reporter import Bar
from flambeau.core.threads import in_order
from flambeau.fields.decoding import decode, read_bytes
from flambeau.fields.image import suited
from flambeau.fields.picture.pixels import MAX_PIXELS, Range, from_pil, open_picture
from flambeau_onnx.pictures import DAMAGES

SIDE = 24
"""Side of a signature's grey picture, in pixels: fine enough to tell two pairs of trousers apart."""
COLOUR_SIDE = 4
CHUNK = 64  # pictures to a task, as in encoding
BLANK = 2  # levels that the pixels of a blank JPEG may differ by
ORIENTATION = 0x0112  # the EXIF tag


@dataclass(slots=True)
class Facts:
    """What is known of one picture.

    Attributes:
        error: why it cannot be used, as a clause without figures that differ from file to file; "" where it can.
        format: what its bytes are, as Pillow calls it; "" where it came without any.
        size: (width, height) as stored.
        traits: exotic properties, such as `cmyk` or `animated`.
        blank: whether all of its pixels are alike.
        grey: whether it shows no colours.
        values: what black and white are, where it has floats or more than 8 bits.
        pixels: a digest of what it shows, equal for equal pictures in whatever files.
    """

    error: str = ""
    format: str = ""
    size: tuple[int, int] = (0, 0)
    traits: tuple[str, ...] = ()
    blank: bool = False
    grey: bool = False
    values: Range | None = None
    pixels: bytes = b""


class Scan(NamedTuple):
    """Facts and signatures of N pictures; the signatures of unusable ones are zeros.

    `grey` is uint8 (N, SIDE, SIDE), the whole picture squashed; `colour` is uint8 (N, 2, 4, 4), its Cb and Cr.
    """

    facts: list[Facts]
    grey: np.ndarray
    colour: np.ndarray


def scan(values: Sequence[Any], threads: int, bar: Bar) -> Scan:
    """Looks at N pictures (paths, bytes, PIL images or arrays). Each is read once, and JPEGs decoded small.

    What is an error here is what encoding leaves out: both ask `flambeau.fields.decoding.decode`.
    """
    grey = np.zeros((len(values), SIDE, SIDE), np.uint8)
    colour = np.zeros((len(values), 2, COLOUR_SIDE, COLOUR_SIDE), np.uint8)
    facts: list[Facts] = []

    def work(start: int) -> list[Facts]:
        rows = range(start, min(start + CHUNK, len(values)))
        return [_look(values[row], grey[row], colour[row]) for row in rows]

    with warnings.catch_warnings():
        # a large picture becomes a Finding, not a warning in the middle of a progress bar
        warnings.simplefilter("ignore", PILImage.DecompressionBombWarning)
        for part in in_order(work, range(0, len(values), CHUNK), threads):
            facts += part
            bar.update(len(facts))
    return Scan(facts, grey, colour)


def _look(value: Any, grey: np.ndarray, colour: np.ndarray) -> Facts:
    """Facts of one picture; writes its signature into `grey` and `colour`."""
    facts = Facts()
    try:
        array = _decoded(value, facts)
    except DataError as error:
        plain = without_figures(error.found)
        facts.error = TOO_LARGE if " pixels" in error.found else plain
        return facts
    if not facts.size[0]:
        facts.size = (array.shape[1], array.shape[0])
    picture = PILImage.fromarray(array if array.shape[2] == 3 else array[..., 0])
    small = picture.resize((SIDE, SIDE), PILImage.Resampling.BILINEAR, reducing_gap=3.0)
    if array.shape[2] == 1:
        facts.grey = True
        grey[:] = np.asarray(small)
        colour[:] = 128
    else:
        planes = np.asarray(small.convert("YCbCr"))
        grey[:] = planes[..., 0]
        step = SIDE // COLOUR_SIDE
        blocks = planes[..., 1:].reshape(COLOUR_SIDE, step, COLOUR_SIDE, step, 2)
        colour[:] = np.rint(blocks.mean((1, 3))).transpose(2, 0, 1)
        facts.grey = bool(np.abs(planes[..., 1:].astype(np.int16) - 128).max() <= BLANK)
        if facts.grey and (array == array[..., :1]).all():
            array = array[..., :1]  # equal to the same picture kept as grey
    # a JPEG is decoded at an eighth where that is enough, so its size as stored belongs to what it shows
    state = hashlib.blake2b(f"{facts.size}{array.shape}{facts.values}".encode(), digest_size=16)
    state.update(np.ascontiguousarray(array).data)
    facts.pixels = state.digest()
    if int(grey.max()) - int(grey.min()) <= 8:  # looking at every pixel is dear: only where there is little to see
        facts.blank = bool(np.ptp(array, axis=(0, 1)).max() <= BLANK)
    return facts


def _decoded(value: Any, facts: Facts) -> np.ndarray:
    """The picture, uint8 (H, W, 1 or 3), a JPEG at the smallest scale that will do; fills in what its head says.

    Raises:
        DataError: encoding would raise it too.
    """
    if value is None:
        raise DataError("the value is missing")
    if isinstance(value, Picture):
        _describe(value, facts)
    if isinstance(value, (str, Path)):
        value = read_bytes(value)
    channels = 3
    if isinstance(value, (bytes, bytearray, memoryview)):
        value = bytes(value)
        try:
            with open_picture(value) as picture:
                facts.format = picture.format or ""
                _describe(picture, facts, value)
                channels = 1 if picture.mode in ("1", "L") and "alpha" not in facts.traits else 3
                if picture.format not in ("JPEG", "MPO") and facts.size[0] * facts.size[1] <= MAX_PIXELS:
                    return from_pil(picture, channels, values=_range(picture, facts))  # as `decode`, but opened once
        except PILImage.DecompressionBombError:
            raise DataError(TOO_LARGE) from None
        except DAMAGES:
            pass  # decoding says what is wrong, in words for people
    return decode(value, channels, (SIDE, SIDE), values=None if isinstance(value, bytes) else _range(value, facts))


def _range(value: Any, facts: Facts) -> Range | None:
    """What black and white are in this picture alone: in training all of a column share them."""
    facts.values = suited([value])
    return facts.values


def _describe(picture: PILImage.Image, facts: Facts, data: bytes = b"") -> None:
    facts.size = picture.size
    mode = picture.mode
    traits = []
    if mode == "CMYK":
        traits.append("cmyk")
    if mode == "F":
        traits.append("float")
    if mode.startswith("I"):
        traits.append("16-bit")
    if mode == "1":
        traits.append("1-bit")
    if mode in ("P", "PA"):
        traits.append("palette")
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        traits.append("alpha")
    # the second frame of an MPO, which many telephones write, is the same photo for a 3D screen
    if getattr(picture, "is_animated", False) and picture.format != "MPO":
        traits.append("animated")
    # Pillow decodes a whole PNG to find out whether it has EXIF
    may_turn = picture.format in ("JPEG", "MPO", "TIFF", "WEBP", "AVIF") or b"eXIf" in data
    if may_turn and picture.getexif().get(ORIENTATION, 1) in range(2, 9):
        traits.append("exif-rotated")
    facts.traits = tuple(traits)
