"""Sounds from strangers: what they are and how long, told from their head before anything is decoded."""

from __future__ import annotations

from flambeau.core.errors import DataError
from flambeau.fields.sound import looks_like_sound, sound_info
from flambeau.fields.sound.files import MOST_SECONDS
from flambeau.serve.problems import Problem


def samples_of(data: bytes) -> int:
    """How many samples of an encoded sound will be decoded. Decodes nothing.

    Raises:
        Problem: it is empty, no sound, or of another format.
    """
    if not data:
        raise Problem(422, "empty", "the file is empty")
    try:
        info = sound_info(data)
    except DataError as error:
        code = "unreadable" if looks_like_sound(data[:16]) else "not-a-sound"
        raise Problem(422, code, error.found) from None
    return int(min(info.seconds, MOST_SECONDS) * info.rate) * info.channels
