"""Log-mel spectrograms of whole batches, on their device: the numbers of librosa's `melspectrogram` and `power_to_db`.

The mel scale and the filters' areas are those of Slaney, "Auditory Toolbox" (1998), librosa's default.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from flambeau.core.errors import UsageError

LINEAR_UP_TO, HZ_A_MEL = 1000.0, 200.0 / 3
LOG_STEP = np.log(6.4) / 27
BLOCK = 16
CACHED = 1 << 19
"""Samples of frames that are worked on together on a processor."""
FLOOR = 1e-10
"""Power under which all is silence: -100 dB."""


def hz_to_mel(hz: np.ndarray) -> np.ndarray:
    """Hertz to Slaney's mel: linear up to 1 kHz, logarithmic above."""
    hz = np.asarray(hz, np.float64)
    above = LINEAR_UP_TO / HZ_A_MEL + np.log(np.maximum(hz, LINEAR_UP_TO) / LINEAR_UP_TO) / LOG_STEP
    return np.where(hz >= LINEAR_UP_TO, above, hz / HZ_A_MEL)


def mel_to_hz(mel: np.ndarray) -> np.ndarray:
    """The way back."""
    mel = np.asarray(mel, np.float64)
    edge = LINEAR_UP_TO / HZ_A_MEL
    return np.where(mel >= edge, LINEAR_UP_TO * np.exp(LOG_STEP * (np.maximum(mel, edge) - edge)), mel * HZ_A_MEL)


def mel_filters(rate: int, n_fft: int, mels: int) -> np.ndarray:
    """Triangular filters of equal area, float32 (mels, n_fft // 2 + 1), from 0 Hz to half the rate."""
    bins = np.fft.rfftfreq(n_fft, 1 / rate)
    lowest, highest = hz_to_mel(np.asarray([0.0, rate / 2])).tolist()
    edges = mel_to_hz(np.linspace(lowest, highest, mels + 2))
    width = np.diff(edges)
    slopes = edges[:, None] - bins
    rising, falling = -slopes[:-2] / width[:-1, None], slopes[2:] / width[1:, None]
    filters = np.maximum(0, np.minimum(rising, falling))
    return (filters * (2.0 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


@lru_cache(maxsize=16)
def _constants(
    rate: int, n_fft: int, mels: int, device: torch.device
) -> tuple[Tensor, list[tuple[slice, slice, Tensor]]]:
    """The window (n_fft), and the filters in blocks: bands, the bins that these hold, and weights (bins, bands)."""
    window = torch.hann_window(n_fft, dtype=torch.float64).float().to(device)
    filters = mel_filters(rate, n_fft, mels).T
    blocks = []
    # most weights are zeros; a processor gains by leaving them out, a GPU by doing all at once
    step = BLOCK if device.type == "cpu" else mels
    for start in range(0, mels, step):
        bands = slice(start, min(start + step, mels))
        held = np.flatnonzero(filters[:, bands].any(1))
        bins = slice(int(held[0]), int(held[-1]) + 1) if len(held) else slice(0, 1)
        blocks.append((bands, bins, torch.from_numpy(np.ascontiguousarray(filters[bins, bands])).to(device)))
    return window, blocks


class LogMel:
    """Waves to log-mel spectrograms in decibels.

    Args:
        rate: samples a second.
        mels: number of bands M.
        n_fft: samples of a frame, under a Hann window.
        hop: samples from one frame to the next.
        range_db: decibels under a sound's loudest band and frame below which all is cut off.

    Shapes: float (B, T) in -1…1 to float32 (B, M, F), F = 1 + T // hop: frames are centred, with zeros around the ends.

    Raises:
        UsageError: a setting does not fit.
    """

    def __init__(self, rate: int, mels: int = 64, n_fft: int = 1024, hop: int = 256, range_db: float = 80.0):
        if min(rate, mels, hop) < 1 or n_fft < 16 or not range_db > 0:
            raise UsageError(f"rate={rate}, mels={mels}, n_fft={n_fft}, hop={hop} do not fit together")
        empty = int((mel_filters(rate, n_fft, mels).max(1) == 0).sum())
        if empty:
            raise UsageError(
                f"{empty} of {mels} mel bands hold no frequency of frames of {n_fft} samples",
                fix="take fewer mels or a larger n_fft",
            )
        self.rate, self.mels, self.n_fft, self.hop, self.range_db = rate, mels, n_fft, hop, range_db

    def frames(self, samples: int) -> int:
        """F of so many samples."""
        return 1 + samples // self.hop

    @torch.no_grad()
    def power(self, waves: Tensor) -> Tensor:
        """Energy in each band and frame, float32 (B, M, F)."""
        with torch.autocast(waves.device.type, enabled=False):  # half precision has no range for powers
            window, blocks = _constants(self.rate, self.n_fft, self.mels, waves.device)
            half = self.n_fft // 2
            frames = torch.nn.functional.pad(waves.float(), (half, half)).unfold(1, self.n_fft, self.hop)
            if torch.compiler.is_exporting():  # a graph has no parts that would hang on the batch
                spectrum = torch.view_as_real(torch.fft.rfft(frames * window)).square().sum(-1)
                return torch.cat([spectrum[..., bins] @ weights for _, bins, weights in blocks], -1).transpose(1, 2)
            B, F, _ = frames.shape
            bands = torch.empty(B, F, self.mels, device=waves.device)
            # in parts that fit a processor's cache: three times as fast there as all at once
            step = max(1, CACHED // (F * self.n_fft)) if waves.device.type == "cpu" else B
            for start in range(0, B, step):
                spectrum = torch.fft.rfft(frames[start : start + step] * window)  # (b, F, n_fft / 2 + 1)
                parts = torch.view_as_real(spectrum).square_()
                power = parts[..., 0] + parts[..., 1]
                for held, bins, weights in blocks:
                    bands[start : start + step, :, held] = power[..., bins] @ weights
            return bands.transpose(1, 2)

    @torch.no_grad()
    def __call__(self, waves: Tensor) -> Tensor:
        decibels = self.power(waves).clamp_min(FLOOR).log10_().mul_(10)
        loudest = decibels.amax((1, 2), keepdim=True)
        return torch.maximum(decibels, loudest - self.range_db)
