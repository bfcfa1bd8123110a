"""Files from strangers: what they are and how large, told from their head before anything is decoded."""

from __future__ import annotations

import contextlib
import functools
import io
import threading
from collections.abc import Iterator

from PIL import Image as PILImage

from flambeau.core.errors import DataError
from flambeau.fields import Audio, Field, Image
from flambeau.fields.picture.pixels import bytes_a_pixel
from flambeau.fields.sound import looks_like_sound, sound_info
from flambeau.fields.sound.files import MOST_SECONDS
from flambeau.serve.limits import Limits
from flambeau.serve.problems import Problem
from flambeau_onnx.pictures import DAMAGES, SERVED, readable


@functools.cache
def readable_formats() -> list[str]:
    """Those of SERVED that this Pillow has."""
    return list(readable(SERVED))


BYTES_A_SAMPLE = 16  # of a sound: as floats, at the rate that is wanted, and between


@functools.singledispatch
def memory_of(field: Field, data: bytes, limits: Limits) -> int:
    """How many bytes decoding a file of a stranger takes at most, told from its head: a kind of files registers how,
    by `memory_of.register`. Decodes nothing.

    Raises:
        Problem: it is empty, no such file, of a format that is not served, or takes too much.
    """
    return 0


@memory_of.register
def _of_picture(field: Image, data: bytes, limits: Limits) -> int:
    if not data:
        raise Problem(422, "empty", "the file is empty")
    formats = readable_formats()
    allowed = f"expected at most {limits.max_pixels:,}; make it smaller first"
    try:
        with PILImage.open(io.BytesIO(data), formats=formats) as picture:
            (width, height), each = picture.size, bytes_a_pixel(picture, 3)
    except (PILImage.DecompressionBombError, PILImage.DecompressionBombWarning):
        raise Problem(413, "too-many-pixels", f"the picture has too many pixels; {allowed}") from None
    except PILImage.UnidentifiedImageError:
        known = ", ".join(name for name in formats if name != "MPO")
        raise Problem(422, "not-a-picture", f"this is not a picture that can be read; expected {known}") from None
    except DAMAGES as error:
        raise Problem(422, "unreadable", f"the picture is damaged ({error})") from None
    if width * height > limits.max_pixels:
        raise Problem(413, "too-many-pixels", f"the picture has {width}×{height} pixels; {allowed}")
    if width * height * each > limits.max_decoding:
        raise Problem(
            413,
            "too-many-pixels",
            f"the picture has {width}×{height} pixels, which take {each} bytes each to decode, "
            f"{width * height * each / 2**20:,.0f} MiB; expected at most {limits.max_decoding / 2**20:,.0f} MiB",
        )
    return width * height * each


@memory_of.register
def _of_sound(field: Audio, data: bytes, limits: Limits) -> int:
    if not data:
        raise Problem(422, "empty", "the file is empty")
    try:
        info = sound_info(data)
    except DataError as error:
        code = "unreadable" if looks_like_sound(data[:16]) else "not-a-sound"
        raise Problem(422, code, error.found) from None
    return BYTES_A_SAMPLE * int(min(info.seconds, MOST_SECONDS) * info.rate) * info.channels


class MemoryGate:
    """Lets threads decode as long as all that is being decoded takes at most `capacity` bytes."""

    def __init__(self, capacity: int):
        self.capacity, self._used = capacity, 0
        self._freed = threading.Condition()

    @contextlib.contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Waits for room for so many bytes (at most the capacity) and holds it for the block."""
        size = min(size, self.capacity)
        with self._freed:
            self._freed.wait_for(lambda: self._used + size <= self.capacity)
            self._used += size
        try:
            yield
        finally:
            with self._freed:
                self._used -= size
                self._freed.notify_all()
