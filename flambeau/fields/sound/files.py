"""From a sound in any form to int16 mono at one rate: files by soundfile (libsndfile), rates by soxr."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from flambeau.core.arrays import as_array
from flambeau.core.errors import DataError, MissingExtra, first_line, needed
from flambeau.core.files import read_bytes
from flambeau_onnx.sounds import FULL, MARGIN, MOST_SECONDS, averaged, in_16_bits

ENDINGS = "wav wave w64 rf64 aiff aif aifc au snd caf flac ogg oga opus mp3"
SUFFIXES = frozenset(f".{ending}" for ending in ENDINGS.split())
"""File name endings that sources take for sounds."""
RATES = (1_000, 768_000)
"""Samples a second of a file that are believed."""
MOST_CHANNELS = 64
MOST_SAMPLES = 1 << 27
"""Of all channels of one sound together: half a gigabyte. A small file may hold more silence than fits into memory."""
LOUDEST = 8.0
"""Of samples that are floats: beyond it they are no sound in -1…1 that is too loud, but one in another range."""
HEADS = (
    (b"RIFF", b"WAVE"), (b"RF64", b"WAVE"), (b"fLaC", b""), (b"OggS", b""), (b"ID3", b""),
    (b"FORM", b"AIFF"), (b"FORM", b"AIFC"), (b".snd", b""), (b"caff", b""), (b"riff", b""),
)  # fmt: skip


class SoundInfo(NamedTuple):
    """What a sound's head says: samples a second, channels, seconds, and libsndfile's names of its format."""

    rate: int
    channels: int
    seconds: float
    format: str
    subtype: str


def soundfile() -> ModuleType:
    """The package soundfile. Raises MissingExtra."""
    try:
        import soundfile as package
    except (ModuleNotFoundError, OSError):  # OSError: the package without libsndfile
        raise MissingExtra("soundfile", "audio", "reading sounds") from None
    return package


def looks_like_sound(head: bytes) -> bool:
    """Whether a file that begins so (12 bytes or more) is of a format that is read."""
    mpeg = len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2  # layer III
    return mpeg or any(head.startswith(first) and head[8 : 8 + len(second)] == second for first, second in HEADS)


def sound_info(source: Any, rate: int = 16_000) -> SoundInfo:
    """What a path, bytes or an array is, without decoding it.

    Args:
        rate: samples a second of an array, which does not say so itself.

    Raises:
        DataError: it is no sound.
    """
    if not isinstance(source, (str, Path, bytes, bytearray, memoryview)):
        samples = _from_array(source)
        return SoundInfo(rate, 1, len(samples) / rate, "", "")
    with _opened(source) as file:
        return SoundInfo(file.samplerate, file.channels, file.frames / file.samplerate, file.format, file.subtype)


def decode(source: Any, rate: int, most: int | None = None) -> np.ndarray:
    """A sound to int16 mono (T), T at least 1.

    Args:
        source: a path or encoded bytes (WAV, FLAC, OGG, Opus, MP3, AIFF, AU, CAF, any rate and width, all channels
            averaged); or an array (T) or (T, channels), of int16 or of floats in -1…1, at `rate`.
        rate: samples a second of the result.
        most: samples of the result to keep, from the beginning; MOST_SECONDS if not given.

    Louder than -1…1 is clipped, up to 8; what is louder still is refused, for it is no float in that range.

    Raises:
        DataError: it cannot be read, holds no samples, or samples that are not finite.
    """
    most = MOST_SECONDS * rate if most is None else min(most, MOST_SECONDS * rate)
    if isinstance(source, (str, Path, bytes, bytearray, memoryview)):
        with _opened(source) as file:
            native = file.samplerate
            wanted = int(most * native / rate) + int(MARGIN * native) + 1
            if min(wanted, file.frames) * file.channels > MOST_SAMPLES:
                raise DataError(
                    f"the sound is too large to decode, {file.channels} channels at {native} samples a second"
                )
            mono = _checked(file.read(wanted, dtype="float32", always_2d=True))
    else:
        mono, native = _checked(_from_array(source)[: most + 1]), rate
    if native != rate:
        mono = needed("soxr", "audio", "resampling sounds").resample(mono, native, rate)
        if not len(mono):
            raise DataError("the sound is shorter than one sample at the rate that is wanted")
    return in_16_bits(mono[:most])


def _checked(samples: np.ndarray) -> np.ndarray:
    """float32 (T) of float32 (T, C)."""
    if not len(samples):
        raise DataError("the sound has no samples")
    mono = averaged(samples)
    if not np.isfinite(mono.sum()) and not np.isfinite(mono).all():  # the sum is quick, and seldom infinite
        raise DataError("the sound has samples that are not finite numbers (NaN or infinite)")
    if mono.max() > LOUDEST or mono.min() < -LOUDEST:
        raise DataError(f"the sound has samples from {mono.min():g} to {mono.max():g}", expected="floats in -1…1",
                        fix="divide them by what is full scale, 32768 where they were 16 bits")  # fmt: skip
    return mono


def resample(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """int16 (T) at `rate` samples a second to the same sound at another."""
    if rate == wanted:
        return samples
    changed = needed("soxr", "audio", "resampling sounds").resample(samples.astype(np.float32), rate, wanted)
    return np.clip(np.rint(changed), -FULL, FULL).astype(np.int16)


def _from_array(value: Any) -> np.ndarray:
    """float32 (T, C) of an array."""
    if value is None or isinstance(value, (dict, set, int, float)):
        raise DataError(f"a {type(value).__name__} is not a sound", expected="a path, bytes or an array of samples")
    try:
        array = as_array(value)
    except (ValueError, TypeError):
        raise DataError(f"a {type(value).__name__} is not a sound", expected="an array of samples (T)") from None
    if array.dtype.kind not in "fi" or array.ndim not in (1, 2):
        raise DataError(
            f"an array {array.shape} of {array.dtype} is not a sound",
            expected="samples (T) or (T, channels), int16 or floats in -1…1",
        )
    if array.ndim == 2 and array.shape[0] < array.shape[1]:
        array = array.T  # (channels, T)
    if array.ndim == 2 and array.shape[1] > MOST_CHANNELS:
        raise DataError(f"an array {array.shape} has too many channels", expected=f"at most {MOST_CHANNELS}")
    if array.dtype.kind == "i":
        width = {1: 2**7, 2: 2**15, 4: 2**31}.get(array.dtype.itemsize)
        if width is None:
            raise DataError(f"samples of {array.dtype} are not known", expected="int16, or floats in -1…1")
        if width == 2**31 and len(array) and 0 < max(int(array.max()), -int(array.min())) < 2**15:
            raise DataError(f"the sound has samples of 32 bits from {array.min()} to {array.max()}, which is silence",
                            fix="make them int16, if that is what they were")  # fmt: skip
        array = array / np.float32(width)
    return array.astype(np.float32, copy=False).reshape(len(array), -1)


@contextmanager
def _opened(source: Any) -> Iterator[Any]:
    """The sound as an open SoundFile; what libsndfile says of a damaged one becomes a DataError in one line."""
    package = soundfile()
    where, given, head = None, source, b""
    if isinstance(source, (str, Path)):
        where = source
        head = _head(source)
        given = os.fspath(source)
    else:
        head = bytes(source[:512])
        given = io.BytesIO(source)
        if not head:
            raise DataError("the sound is empty, 0 bytes")
    try:
        file = package.SoundFile(given)
    except (package.LibsndfileError, TypeError, ValueError, OSError) as error:
        raise DataError(_why_not(head, error), where=where) from None
    with file:
        if not RATES[0] <= file.samplerate <= RATES[1] or file.channels > MOST_CHANNELS:
            raise DataError(
                f"the sound's head is wrong: {file.samplerate} samples a second, {file.channels} channels", where=where
            )
        try:
            yield file
        except DataError as error:
            if error.where is None and where is not None:
                raise DataError(error.found, where=where, expected=error.expected, fix=error.fix) from None
            raise
        except package.LibsndfileError as error:
            raise DataError(f"the sound is damaged ({_plain(error)})", where=where) from None


def _head(path: str | Path) -> bytes:
    head = read_bytes(path, 512)
    if not head:
        raise DataError("the file is empty", where=path)
    return head


def _why_not(head: bytes, error: Exception) -> str:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"{")):
        return "this is a web page or a text, and not a sound"
    if head[4:8] == b"ftyp" or head.startswith(b"\x1aE\xdf\xa3"):
        kind = "MP4 or AAC" if head[4:8] == b"ftyp" else "WebM"
        return f"this is {kind}, which is not read; expected WAV, FLAC, OGG, Opus, MP3, AIFF or AU"
    if looks_like_sound(head):
        return f"the sound is damaged ({_plain(error)})"
    return "this is not a sound that can be read; expected WAV, FLAC, OGG, Opus, MP3, AIFF or AU"


def _plain(error: Exception) -> str:
    text = getattr(error, "error_string", None) or first_line(error)
    return text.strip().rstrip(".")
