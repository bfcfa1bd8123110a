"""Pictures from strangers: what they are and how large, told from their head before anything is decoded."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator

from PIL import Image as PILImage

from flambeau.fields.picture.pixels import DAMAGES, SERVED, bytes_a_pixel, readable
from flambeau.serve.limits import Limits
from flambeau.serve.problems import Problem


def readable_formats() -> list[str]:
    """Those of SERVED that this Pillow has."""
    return list(readable(SERVED))


def memory_of(data: bytes, limits: Limits, formats: list[str]) -> int:
    """How many bytes decoding a picture takes at most. Decodes nothing.

    Raises:
        Problem: it is empty, no picture, of another format, has too many pixels, or takes too much.
    """
    if not data:
        raise Problem(422, "empty", "the file is empty")
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
