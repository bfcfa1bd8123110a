"""Sounds for tests: tones and noise whose every property is known."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile


def tone(hertz: float, seconds: float = 0.5, rate: int = 16_000, level: float = 0.5) -> np.ndarray:
    """A sine, float32 (T)."""
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def noise(seconds: float = 0.5, rate: int = 16_000, level: float = 0.1, seed: int = 0) -> np.ndarray:
    """White noise, float32 (T)."""
    return (level * np.random.default_rng(seed).standard_normal(round(seconds * rate))).astype(np.float32)


def pitch(samples: np.ndarray, rate: int = 16_000) -> float:
    """The strongest frequency of samples (T), in Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 8 * len(samples)))
    return float(spectrum.argmax()) * rate / (8 * len(samples))


def as_file(samples: np.ndarray, rate: int = 16_000, kind: str = "WAV", subtype: str | None = None) -> bytes:
    """Samples (T) or (T, C) as the bytes of a file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def write_tones(folder: Path, each: int = 12, seconds: float = 0.4) -> Path:
    """`folder/<low|middle|high>/<n>.wav`: tones of three pitches, no two alike, with noise under them."""
    for place, (name, hertz) in enumerate((("low", 200), ("middle", 800), ("high", 3000))):
        (folder / name).mkdir(parents=True)
        for i in range(each):
            samples = tone(hertz * (1 + 0.02 * i), seconds) + noise(seconds, level=0.02, seed=100 * place + i)
            (folder / name / f"{i:02}.wav").write_bytes(as_file(samples))
    return folder


def tune(seed: int, seconds: float = 1.0, rate: int = 16_000) -> np.ndarray:
    """A few plucked notes at random times and pitches, float32 (T)."""
    random = np.random.default_rng(seed)
    steps = np.arange(round(seconds * rate)) / rate
    out = np.zeros(len(steps))
    for _ in range(6):
        begin, hertz = random.uniform(0, 0.8 * seconds), 150 * 2 ** random.uniform(0, 4)
        since = np.maximum(steps - begin, 0)
        out += (steps >= begin) * np.exp(-8 * since / seconds) * np.sin(2 * np.pi * hertz * since) * 0.2
    return out.astype(np.float32)
