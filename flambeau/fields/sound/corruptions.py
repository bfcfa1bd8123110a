"""What happens to sounds, float32 (T) in -1…1: noise, rooms, speed, clipping, bad lines. Levels do not depend on the
sampling rate."""

from __future__ import annotations

import numpy as np
import torch

from flambeau.core.errors import needed
from flambeau.fields.sound import wave
from flambeau.robustness import Corruptions

SOUNDS = Corruptions("corruption of sounds")
PER_SECOND = 16_000
"""Samples a second that a room is made for: its decay in samples is the same at any rate."""


@SOUNDS.enter("noise", (30, 20, 10, 5, 0), "white noise {level:g} dB under the sound",
            "--set 'augment.noise=[0,30]'")  # fmt: skip
def noise(sound: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """White noise at a ratio of signal to noise."""
    return wave.add_noise(torch.from_numpy(sound)[None], torch.tensor([float(level)]), _generator(rng))[0].numpy()


@SOUNDS.enter("reverb", (0.2, 0.4, 0.7, 1, 1.5), "a room whose sound falls by 60 dB in {level:g} s",
            "--set augment.reverb=0.5")  # fmt: skip
def reverb(sound: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """A synthetic room, as much of it as of the direct sound."""
    one = torch.ones(1)
    return wave.reverb(torch.from_numpy(sound)[None], level * one, one, PER_SECOND, _generator(rng))[0].numpy()


@SOUNDS.enter("speed", (1.05, 1.1, 1.2, 1.35, 1.5), "faster or slower by a factor of {level:g}, pitch too",
            "--set augment.stretch=0.2 --set augment.pitch=3")  # fmt: skip
def speed(sound: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Played at another speed."""
    factor = level if rng.random() < 0.5 else 1 / level
    changed = needed("soxr", "audio", "resampling sounds").resample(sound, 1000 * factor, 1000)
    return changed if len(changed) else sound


@SOUNDS.enter("clipping", (0.02, 0.05, 0.1, 0.2, 0.4), "the loudest {level:.0%} of the samples cut off",
            "--set augment.gain=12")  # fmt: skip
def clipping(sound: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Recorded too loud."""
    top = float(np.quantile(np.abs(sound), 1 - level))
    return np.clip(sound, -top, top) if top > 0 else sound


@SOUNDS.enter("low pass", (0.7, 0.5, 0.35, 0.25, 0.15), "only the lower {level:.0%} of the frequencies",
            "--set augment.frequency_masks=2, or a lower rate of the sounds")  # fmt: skip
def low_pass(sound: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """As through a telephone."""
    spectrum = np.fft.rfft(sound)
    spectrum[int(level * len(spectrum)) + 1 :] = 0
    return np.fft.irfft(spectrum, len(sound)).astype(np.float32)


def _generator(rng: np.random.Generator) -> torch.Generator:
    return torch.Generator().manual_seed(int(rng.integers(2**62)))
