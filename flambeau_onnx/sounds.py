"""Sounds: from files, bytes or arrays to 16 bits of one channel at one rate, by soundfile and soxr."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np

FULL = 32767
MARGIN = 0.1  # seconds read beyond what is kept, so that a resampled end is as if all had been read
MOST_SECONDS = 600
"""Of one sound that are read, from its beginning."""


def decode(source: Any, rate: int, most: int | None = None) -> np.ndarray:
    """A sound to int16 (T), its channels averaged.

    Args:
        source: a path, a file's bytes, or an array (T) or (T, channels) at `rate`, int16 or floats in -1…1.
        rate: samples a second of what comes out.
        most: samples of it that are kept; those of ten minutes if not given.

    Raises:
        OSError: it cannot be read, or has no samples.
    """
    most = MOST_SECONDS * rate if most is None else min(most, MOST_SECONDS * rate)
    if isinstance(source, (str, Path, bytes)):
        import soundfile

        try:
            opened = soundfile.SoundFile(io.BytesIO(source) if isinstance(source, bytes) else os.fspath(source))
            with opened as file:
                native = file.samplerate
                count = int(most * native / rate) + int(MARGIN * native) + 1
                samples = file.read(count, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise OSError(str(error)) from None
    else:
        samples, native = np.asarray(source), rate
        if samples.dtype.kind not in "fi" or samples.ndim not in (1, 2):
            raise OSError(f"an array {samples.dtype} of shape {samples.shape} is no sound; expected (T)")
        samples = samples.T if samples.ndim == 2 and samples.shape[0] < samples.shape[1] else samples
        samples = samples[: most + 1]
        scale = np.float32(1 << 8 * samples.dtype.itemsize - 1) if samples.dtype.kind == "i" else np.float32(1)
        samples = samples.astype(np.float32).reshape(len(samples), -1) / scale
    if not len(samples) or not np.isfinite(samples).all():
        raise OSError("it has no samples, or some that are no finite numbers")
    mono = averaged(samples)
    if native != rate:
        import soxr

        mono = soxr.resample(mono, native, rate)
    return in_16_bits(mono[:most])


def averaged(samples: np.ndarray) -> np.ndarray:
    """float32 (T) of float32 (T, C): the mean of the channels."""
    if samples.ndim == 1 or samples.shape[1] == 1:
        return np.ascontiguousarray(samples.reshape(-1), np.float32)
    if samples.shape[1] == 2:
        return (samples[:, 0] + samples[:, 1]) * np.float32(0.5)
    return samples.mean(1, dtype=np.float32)


def in_16_bits(mono: np.ndarray) -> np.ndarray:
    """int16 (T) of floats in -1…1; what is louder is clipped."""
    return np.clip(np.rint(mono * FULL), -FULL, FULL).astype(np.int16)
