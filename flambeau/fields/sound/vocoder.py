"""Speed and pitch of whole batches of waves, each changed by a ratio of its own: a phase vocoder and a resampling.

Flanagan, Golden, "Phase vocoder" (1966); the arithmetic is that of librosa's `phase_vocoder`, for a batch at once.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

N_FFT, HOP = 1024, 256


def stretch_and_shift(waves: Tensor, speed: Tensor, pitch: Tensor) -> Tensor:
    """Waves (B, T) played `speed` (B) times as fast and `pitch` (B) times as high, cut or filled up to T.

    Of a sound made higher, what then lies over half the rate is folded down: keep to a few semitones.
    """
    T = waves.shape[1]
    longest = float(pitch.amax())
    # slower by the pitch first, then read faster by it: the duration comes back, the pitch stays
    stretched = _vocoder(waves, speed / pitch, math.ceil((T // HOP + 2) * max(longest, 1.0)))
    return read_at(stretched, torch.arange(T, device=waves.device) * pitch[:, None])


def _vocoder(waves: Tensor, speed: Tensor, frames: int) -> Tensor:
    """Waves (B, T) `speed` (B) times as fast at their pitch: (B, HOP · (frames - 1))."""
    window = torch.hann_window(N_FFT, device=waves.device)
    spectrum = torch.stft(waves, N_FFT, HOP, window=window, center=True, pad_mode="constant", return_complex=True)
    B, K, N = spectrum.shape
    magnitude, phase = spectrum.abs(), spectrum.angle()
    magnitude, phase = torch.nn.functional.pad(magnitude, (0, 2)), torch.nn.functional.pad(phase, (0, 2))
    position = torch.arange(frames, device=waves.device) * speed[:, None]  # (B, frames), in frames of the source
    whole = position.floor().long().clamp_max(N)
    part = (position - whole).clamp(0, 1)[:, None]
    first = whole[:, None].expand(B, K, frames)
    louder = magnitude.gather(2, first) * (1 - part) + magnitude.gather(2, first + 1) * part
    expected = torch.linspace(0, math.pi * HOP, K, device=waves.device)[:, None]
    turned = phase.gather(2, first + 1) - phase.gather(2, first) - expected
    turned = turned - 2 * math.pi * (turned / (2 * math.pi)).round() + expected
    # the sum of many turns is large: kept in a circle, float32 holds it
    angle = torch.cat([phase[:, :, :1], turned[:, :, :-1]], 2).double().cumsum(2).remainder(2 * math.pi).float()
    return torch.istft(torch.polar(louder, angle), N_FFT, HOP, window=window, center=True)


def read_at(waves: Tensor, positions: Tensor) -> Tensor:
    """Waves (B, T) at `positions` (B, S) between samples, by cubic interpolation (Catmull and Rom, 1974)."""
    T = waves.shape[1]
    whole = positions.floor()
    t = positions - whole
    index = whole.long()

    def at(offset: int) -> Tensor:
        place = index + offset
        return waves.gather(1, place.clamp(0, T - 1)).masked_fill_((place < 0) | (place >= T), 0)

    a, b, c, d = at(-1), at(0), at(1), at(2)
    return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
