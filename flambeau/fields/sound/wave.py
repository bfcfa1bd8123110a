"""Changes of whole batches of waves (B, T), in -1…1: level, place, polarity, noise and rooms."""

from __future__ import annotations

import torch
from torch import Tensor

QUIET = 1e-4
"""Root mean square (-80 dB) that a silent wave is taken to have where noise is added to it."""


def gain(waves: Tensor, decibels: Tensor) -> Tensor:
    """Each wave louder by `decibels` (B)."""
    return waves * (10 ** (decibels / 20))[:, None]


def flip(waves: Tensor, flipped: Tensor) -> Tensor:
    """The waves of `flipped`, bool (B), with their sign turned: ears do not hear it."""
    return torch.where(flipped[:, None], -waves, waves)


def shift(waves: Tensor, samples: Tensor) -> Tensor:
    """Each wave later by `samples`, int64 (B); silence comes in, what goes over an end is lost."""
    T = waves.shape[1]
    source = torch.arange(T, device=waves.device) - samples[:, None]
    return waves.gather(1, source.clamp(0, T - 1)).masked_fill_((source < 0) | (source >= T), 0)


def level(waves: Tensor) -> Tensor:
    """Root mean square of the sounding samples of each wave, float (B); padding of exact zeros does not count."""
    sounding = (waves != 0).sum(1).clamp_min(1)
    return (waves.square().sum(1) / sounding).sqrt()


def add_noise(waves: Tensor, decibels: Tensor, generator: torch.Generator) -> Tensor:
    """White noise under each wave, so many `decibels` (B) below its level; infinite for none."""
    noise = torch.randn(waves.shape, generator=generator, device=waves.device)
    return waves + noise * (level(waves).clamp_min(QUIET) * 10 ** (-decibels / 20))[:, None]


def reverb(waves: Tensor, seconds: Tensor, wet: Tensor, rate: int, generator: torch.Generator) -> Tensor:
    """Each wave in a room: convolved with an impulse response of its own, at the level that it had.

    The response is the direct sound and behind it white noise that falls by 60 dB in `seconds` (B), of `wet` (B) times
    the energy of the direct sound (after Moorer, "About this reverberation business", 1979).
    """
    B, T = waves.shape
    tail = min(T, round(0.5 * rate))
    steps = torch.arange(1, tail, device=waves.device) / rate
    decay = 10 ** (-3 * steps / seconds[:, None])
    response = torch.randn((B, tail - 1), generator=generator, device=waves.device) * decay
    response *= (wet / response.square().sum(1).clamp_min(1e-12)).sqrt()[:, None]
    response = torch.cat([torch.ones(B, 1, device=waves.device), response], 1)
    size = T + tail
    heard = torch.fft.irfft(torch.fft.rfft(waves, size) * torch.fft.rfft(response, size), size)[:, :T]
    before, after = waves.square().sum(1), heard.square().sum(1)
    return heard * (before / after.clamp_min(1e-12)).sqrt()[:, None]
