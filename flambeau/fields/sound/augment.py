"""What is changed of sounds in training: each change for the whole batch at once, on its device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from flambeau.core.errors import UsageError, check_known, shown
from flambeau.fields.augment.draws import Draws
from flambeau.fields.sound import masks, vocoder, wave

STRIPES = 4  # of each kind, at most
COLUMNS = {"gain": 2, "noise": 2, "shift": 2, "stretch": 2, "pitch": 2, "polarity": 1, "reverb": 3,
           "frequency_masks": 10, "time_masks": 10, "time_warp": 3}  # fmt: skip
"""Columns of each effect in the table of draws; the last one of the table, behind them, is where a crop begins."""
LIMITS = {"gain": 60, "shift": 1, "stretch": 0.5, "pitch": 12, "polarity": 1, "reverb": 1, "frequency_masks": STRIPES,
          "frequency_width": 1, "time_masks": STRIPES, "time_width": 1, "time_warp": 0.5, "p": 1}  # fmt: skip


@dataclass(frozen=True)
class SoundAugmentation:
    """Changes of sounds in training; what is 0 or None is off.

    Attributes:
        gain: decibels louder or softer, at most.
        noise: (least, most) decibels between the sound's level and white noise added to it.
        shift: share of the segment that a sound is moved by, earlier or later, at most.
        stretch: share of its speed by which a sound is played faster or slower at its pitch, at most.
        pitch: semitones higher or lower, at most.
        polarity: probability that the sign is turned.
        reverb: probability of a room around it, by an impulse response drawn for each sample.
        frequency_masks: stripes of bands that are blanked in a log-mel picture, at most 4.
        frequency_width: share of the bands that a stripe covers, at most.
        time_masks, time_width: likewise of the frames.
        time_warp: share of the frames by which a point in time is moved, at most.
        p: probability that a sample gets each of gain, noise, stretch, pitch and time_warp.

    Raises:
        UsageError: a value is out of its range.
    """

    gain: float = 0.0
    noise: tuple[float, float] | None = None
    shift: float = 0.0
    stretch: float = 0.0
    pitch: float = 0.0
    polarity: float = 0.0
    reverb: float = 0.0
    frequency_masks: int = 0
    frequency_width: float = 0.15
    time_masks: int = 0
    time_width: float = 0.1
    time_warp: float = 0.0
    p: float = 0.5

    def __post_init__(self) -> None:
        for name, most in LIMITS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
                raise UsageError(
                    f"the augmentation {name}={shown(value)} does not fit", expected=f"a number from 0 to {most}"
                )
        if self.noise is not None:
            pair = tuple(self.noise) if isinstance(self.noise, (list, tuple)) else (self.noise, self.noise)
            if len(pair) != 2 or not all(isinstance(d, (int, float)) for d in pair) or pair[0] > pair[1]:
                raise UsageError(
                    f"the augmentation noise={shown(self.noise)} does not fit", expected="(least, most) decibels"
                )
            object.__setattr__(self, "noise", pair)

    def to_dict(self) -> dict[str, Any]:
        """What differs from the defaults, as plain JSON."""
        state = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in state.items()}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> SoundAugmentation:
        """The augmentation that `to_dict` wrote, or that a recipe spells.

        Raises:
            UsageError: a setting that does not exist; the message names the nearest one.
        """
        known = [f.name for f in fields(cls)]
        check_known("no augmentation of sounds is called", state, known)
        return cls(**state)

    def __bool__(self) -> bool:
        """Whether anything is on."""
        return any(getattr(self, name) for name in COLUMNS)

    @torch.no_grad()
    def change_waves(self, waves: Tensor, rate: int, draws: Draws) -> Tensor:
        """float (B, T) in -1…1 to the same, changed."""
        if self.stretch or self.pitch:
            most = 1 + self.stretch
            speed = torch.exp(draws.either("stretch", self.p) * torch.tensor(most, device=waves.device).log())
            pitch = torch.exp2(draws.either("pitch", self.p) * (self.pitch / 12))
            waves = vocoder.stretch_and_shift(waves, speed if self.stretch else torch.ones_like(speed), pitch)
        if self.shift:
            waves = wave.shift(waves, (draws.either("shift", 1.0) * self.shift * waves.shape[1]).round().long())
        if self.reverb:
            seconds, wet = 0.1 + 0.7 * draws.column("reverb", 1), 0.05 + 0.45 * draws.column("reverb", 2)
            in_room = wave.reverb(waves, seconds, wet, rate, draws.generator)
            waves = torch.where((draws.column("reverb", 0) < self.reverb)[:, None], in_room, waves)
        if self.noise is not None:
            least, most = self.noise
            decibels = least + (most - least) * draws.column("noise", 1)
            decibels = torch.where(draws.column("noise", 0) < self.p, decibels, torch.inf)
            waves = wave.add_noise(waves, decibels, draws.generator)
        if self.gain:
            waves = wave.gain(waves, draws.either("gain", self.p) * self.gain)
        if self.polarity:
            waves = wave.flip(waves, draws.column("polarity", 0) < self.polarity)
        return waves

    @torch.no_grad()
    def change_pictures(self, pictures: Tensor, draws: Draws) -> Tensor:
        """Normalised log-mel pictures (B, M, F) to the same, changed: SpecAugment."""
        if self.time_warp:
            move = draws.either("time_warp", self.p) * self.time_warp
            room = self.time_warp
            centre = room + (1 - 2 * room) * draws.column("time_warp", 2)
            pictures = masks.warp_time(pictures, centre, move)
        blanked: Tensor | None = None
        for axis, name, width in ((1, "frequency_masks", self.frequency_width), (2, "time_masks", self.time_width)):
            if count := int(getattr(self, name)):
                drawn = [draws.column(name, i) for i in range(2 * count)]
                widths, places = torch.stack(drawn[:count], 1) * width, torch.stack(drawn[count:], 1)
                stripes = masks.stripes(pictures.shape[axis], widths, places)
                stripes = stripes[:, :, None] if axis == 1 else stripes[:, None]
                blanked = stripes if blanked is None else blanked | stripes
        if blanked is not None:
            pictures = pictures.masked_fill(blanked, 0)  # 0 is their mean
        return pictures


def sound_draws(batch: int, generator: torch.Generator, device: torch.device) -> Draws:
    """The random numbers of a batch of sounds."""
    return Draws(batch, generator, device, columns=COLUMNS, width=64)


LEVELS: dict[str, dict[str, Any]] = {
    "none": {},
    "light": {"shift": 0.1, "frequency_masks": 1, "frequency_width": 0.1, "time_masks": 1},
    "auto": {"shift": 0.1, "frequency_masks": 2, "time_masks": 2},
    "strong": {
        "shift": 0.2, "gain": 6.0, "noise": [10, 40], "stretch": 0.1, "pitch": 1.0, "polarity": 0.5, "reverb": 0.3,
        "frequency_masks": 2, "frequency_width": 0.2, "time_masks": 2, "time_width": 0.15, "time_warp": 0.1,
    },
}  # fmt: skip


def by_level(level: str) -> tuple[SoundAugmentation, str]:
    """The augmentation of a level (`none`, `light`, `auto`, `strong`), and what it does in a clause.

    Raises:
        UsageError: there is no such level.
    """
    check_known("no augmentation is called", [level], LEVELS)
    chosen = SoundAugmentation.from_dict(LEVELS[level])
    return chosen, ", ".join(name.replace("_", " ") for name in COLUMNS if getattr(chosen, name)) or "none"
