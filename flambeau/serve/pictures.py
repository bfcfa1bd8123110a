"""Pictures from strangers: what they are and how large, told from their head before anything is decoded."""

from __future__ import annotations

import contextlib
import io
import struct
import threading
from collections.abc import Iterator

from PIL import Image as PILImage

from flambeau.fields.pixels import SERVED, readable
from flambeau.serve.problems import Problem


def readable_formats() -> list[str]:
    """Those of SERVED that this Pillow has."""
    return list(readable(SERVED))


def pixels_of(data: bytes, max_pixels: int, formats: list[str]) -> int:
    """How many pixels an encoded picture has. Decodes nothing.

    Raises:
        Problem: it is empty, no picture, of another format, or has more than `max_pixels`.
    """
    if not data:
        raise Problem(422, "empty", "the file is empty")
    allowed = f"expected at most {max_pixels:,}; make it smaller first"
    try:
        with PILImage.open(io.BytesIO(data), formats=formats) as picture:
            width, height = picture.size
    except (PILImage.DecompressionBombError, PILImage.DecompressionBombWarning):
        raise Problem(413, "too-many-pixels", f"the picture has too many pixels; {allowed}") from None
    except PILImage.UnidentifiedImageError:
        known = ", ".join(name for name in formats if name != "MPO")
        raise Problem(422, "not-a-picture", f"this is not a picture that can be read; expected {known}") from None
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, IndexError, OverflowError, MemoryError) as error:
        # Pillow's plugins raise all of these on damaged files
        raise Problem(422, "unreadable", f"the picture is damaged ({error})") from None
    if width * height > max_pixels:
        raise Problem(413, "too-many-pixels", f"the picture has {width}×{height} pixels; {allowed}")
    return width * height


class PixelGate:
    """Lets threads decode as long as all that is being decoded has at most `capacity` pixels."""

    def __init__(self, capacity: int):
        self.capacity, self._used = capacity, 0
        self._freed = threading.Condition()

    @contextlib.contextmanager
    def holding(self, pixels: int) -> Iterator[None]:
        """Waits for room for this many pixels (at most the capacity) and holds it for the block."""
        pixels = min(pixels, self.capacity)
        with self._freed:
            self._freed.wait_for(lambda: self._used + pixels <= self.capacity)
            self._used += pixels
        try:
            yield
        finally:
            with self._freed:
                self._used -= pixels
                self._freed.notify_all()
