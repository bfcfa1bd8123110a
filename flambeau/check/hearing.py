"""One pass over a column of sounds: what each one is, and a small signature to compare it by."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from flambeau.check.files import SIDE
from flambeau.check.wording import without_figures
from flambeau.core.errors import DataError
from flambeau.core.reporter import Bar
from flambeau.core.threads import in_order
from flambeau.fields.sound import LogMel, decode, sound_info
from flambeau.fields.sound.files import FULL, resample

RATE = 8_000
"""Samples a second at which sounds are looked at: enough to tell them apart, in a sixth of the time."""
SECONDS = 60
"""Of each sound that are looked at."""
SILENT_PEAK = 10 ** (-60 / 20)
CLIPPED_AT = 0.999
CLIPPED_RUN = 3
SAME = 0.8
"""Correlation, at the best of all shifts, from which two sounds are one recording."""
BAND_FRAME, MOST_FRAMES = 1024, 400
EDGES = (0.125, 0.1667, 0.1814, 0.25, 0.3333, 0.3628, 0.5)
"""Shares of the frequencies that are left of usual rates, such as 8,000 of 44,100 samples a second. Above a half it may
be the work of a coder such as MP3."""
CLIFF = 30.0  # decibels
CHUNK = 32
SPECTROGRAM = LogMel(RATE, SIDE, 512, 128)


@dataclass(slots=True)
class Heard:
    """What is known of one sound.

    Attributes:
        error: why it cannot be used, as a clause without figures that differ from file to file; "" where it can.
        rate, channels, seconds, subtype: as its head has them.
        peak, level, offset: largest value, root mean square and mean, where full scale is 1.
        clipped: share of samples that stand at the largest value, three or more in a row.
        quiet: share of its time in which nothing is louder than -60 dB.
        band: the share of its frequencies, from 0 up, behind which it holds nothing, where there is such an edge.
        samples: a digest of what is heard, equal for equal sounds in whatever lossless files.
    """

    error: str = ""
    rate: int = 0
    channels: int = 0
    seconds: float = 0.0
    subtype: str = ""
    peak: float = 0.0
    level: float = 0.0
    offset: float = 0.0
    clipped: float = 0.0
    quiet: float = 0.0
    band: float = 1.0
    samples: bytes = b""

    @property
    def silent(self) -> bool:
        """Whether nothing in it is louder than -60 dB."""
        return not self.error and self.peak < SILENT_PEAK

    @property
    def decibels(self) -> float:
        """Its level in decibels under full scale."""
        return 20 * float(np.log10(max(self.level, 1e-6)))


class Hearing(NamedTuple):
    """Facts of N sounds and their signatures, uint8 (N, SIDE, SIDE), zeros where there is nothing to hear."""

    facts: list[Heard]
    signatures: np.ndarray


def hear(values: Sequence[Any], threads: int, bar: Bar) -> Hearing:
    """Listens to N sounds (paths, bytes or arrays), each read once."""
    grey = np.zeros((len(values), SIDE, SIDE), np.uint8)
    facts: list[Heard] = []

    def work(start: int) -> list[Heard]:
        return [_listen(values[row], grey[row]) for row in range(start, min(start + CHUNK, len(values)))]

    for part in in_order(work, range(0, len(values), CHUNK), threads):
        facts += part
        bar.update(len(facts))
    return Hearing(facts, grey)


def _listen(value: Any, grey: np.ndarray) -> Heard:
    """Facts of one sound; writes its signature into `grey`."""
    heard = Heard()
    if value is None:
        heard.error = "the value is missing"
        return heard
    try:
        heard.rate, heard.channels, heard.seconds, _, heard.subtype = sound_info(value, RATE)
        whole = decode(value, heard.rate, SECONDS * heard.rate)
        low = resample(whole, heard.rate, RATE)
    except DataError as error:
        heard.error = without_figures(error.found)
        return heard
    loud = np.abs(whole)
    heard.peak = float(loud.max()) / FULL
    scaled = whole.astype(np.float64) / FULL
    heard.level, heard.offset = float(np.sqrt(np.mean(scaled * scaled))), float(scaled.mean())
    heard.clipped = _clipped(loud)
    heard.quiet, heard.band = _quiet(loud, heard.rate), _band(scaled)
    if not heard.silent:
        sounding = np.flatnonzero(whole)
        state = hashlib.blake2b(f"{heard.rate}".encode(), digest_size=16)
        state.update(whole[sounding[0] : sounding[-1] + 1].tobytes())
        heard.samples = state.digest()
        grey[:] = _signature(low)
    return heard


def _clipped(loud: np.ndarray) -> float:
    """Share of samples at the top of their range in runs of at least CLIPPED_RUN."""
    top = loud >= CLIPPED_AT * FULL
    if not top.any():
        return 0.0
    edges = np.flatnonzero(np.diff(np.r_[False, top, False].astype(np.int8)))
    runs = edges[1::2] - edges[::2]
    return float(runs[runs >= CLIPPED_RUN].sum()) / len(loud)


def _quiet(loud: np.ndarray, rate: int) -> float:
    """Share of the 20 milliseconds in which nothing is loud, of magnitudes (T)."""
    size = max(1, rate // 50)
    parts = loud[: len(loud) // size * size].reshape(-1, size)
    return float((parts.max(1) < SILENT_PEAK * FULL).mean()) if len(parts) else 0.0


def _band(scaled: np.ndarray) -> float:
    """Where the spectrum of samples (T) falls off a cliff; 1 where it does not.

    A sound that was brought to a higher rate has nothing above half of its first one, however loud it is just below.
    """
    if len(scaled) < 4 * BAND_FRAME:
        return 1.0
    frames = scaled[: len(scaled) // BAND_FRAME * BAND_FRAME].reshape(-1, BAND_FRAME)[:MOST_FRAMES]
    spectra = np.abs(np.fft.rfft(frames * np.hanning(BAND_FRAME), axis=1)) ** 2
    level = 10 * np.log10(spectra.mean(0) / BAND_FRAME + 1e-12)
    for edge in EDGES:
        at = int(edge * len(level))
        below, above = level[int(0.6 * at) : int(0.95 * at)], level[int(1.1 * at) :]
        if np.median(below) - np.quantile(above, 0.95) > CLIFF:
            return edge
    return 1.0


def _signature(samples: np.ndarray) -> np.ndarray:
    """uint8 (SIDE, SIDE): a spectrogram of int16 (T) from where it begins to sound to its end, whatever its level."""
    loud = np.flatnonzero(np.abs(samples) > np.abs(samples).max() // 100)
    samples = samples[loud[0] : loud[-1] + 1]
    decibels = SPECTROGRAM(torch.from_numpy(samples).float()[None] / FULL)
    picture = torch.nn.functional.interpolate(decibels, SIDE, mode="linear", align_corners=True)[0]
    if decibels.shape[2] > SIDE:
        picture = torch.nn.functional.adaptive_avg_pool1d(decibels, SIDE)[0]
    low = picture.max() - SPECTROGRAM.range_db
    return ((picture - low) * (255 / SPECTROGRAM.range_db)).round().clamp(0, 255).to(torch.uint8).numpy()


def low_wave(value: Any) -> np.ndarray:
    """A sound as float32 (T) of length 1 at RATE, for `same_recording`."""
    wave = decode(value, RATE, SECONDS * RATE).astype(np.float32)
    wave -= wave.mean()
    return wave / max(float(np.linalg.norm(wave)), 1e-9)


def same_recording(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two sounds are one recording: the same wave but for level, place, and what an encoder lost."""
    size = 1 << int(np.ceil(np.log2(len(one) + len(other))))
    product = np.fft.rfft(one, size) * np.conj(np.fft.rfft(other, size))
    return float(np.abs(np.fft.irfft(product, size)).max()) > SAME
