"""Audio: a sound. Encoded once as int16 mono, made a log-mel picture (or left a wave) and augmented on the device."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.core.errors import DataError, UsageError, check_known, shown
from flambeau.fields.base import FIELDS, Encoding, Field, Ragged, Recognition, Windows
from flambeau.fields.encoding import Sample
from flambeau.fields.heat import Heat, Site, as_img, blocks, overlay, resampled
from flambeau.fields.sound.augment import SoundAugmentation, by_level, sound_draws
from flambeau.fields.sound.corruptions import SOUNDS
from flambeau.fields.sound.files import MOST_SECONDS, RATES, SUFFIXES, decode, looks_like_sound, sound_info
from flambeau.fields.sound.mel import LogMel
from flambeau.fields.sound.show import MOST_SECONDS as SHOWN_SECONDS
from flambeau.fields.sound.show import as_html, playable, spectrogram
from flambeau.fields.varied import Varied, read_some, some
from flambeau.fields.wanted import Wanted
from flambeau.robustness import Corruption

FEATURES = ("log-mel", "wave")
SEGMENTS = ("trim", "crop", "windows")
DEFAULT_RATE, DEFAULT_MELS = 16_000, 64
MELS_PRETRAINED = 128
LONGEST_SEGMENT = 5.0
"""Seconds: clips that are mostly no longer are taken whole."""
SHORTEST_SEGMENT = 0.1
FULL_SCALE = 32768.0
MOST_STEPS = 512  # of heat along time


@FIELDS.register("audio")
class Audio(Varied, Field):
    """A sound, from a path, bytes or an array of samples.

    Prepared as a log-mel picture (B, 1, mels, frames), which every model for pictures takes, or as a wave (B, 1, T).

    Args:
        features: `log-mel` or `wave`; if not given, a model for waves such as `m5` gets waves and any other pictures.
        rate: samples a second that everything is brought to; 16,000 or the clips' own, if that is less.
        length: seconds of a segment, what the model sees at once; found in the training rows if not given: what 19 of
            20 clips fit into, but at most twice the median and at most 5.
        segment: what is done with longer clips: `trim` keeps their beginning; `crop` a random part in training, and the
            middle otherwise; `windows` a random part in training, and otherwise the whole clip in windows side by side,
            whose outputs are averaged. If not given: `trim` where at most one clip in 20 is longer, else `windows`.
            Shorter ones are filled up with silence.
        mels: bands of the picture; 64, and 128 for pretrained weights, if not given.
        n_fft, hop: samples of a frame and between frames; if not given 64 milliseconds, and 16 (8 with 128 bands).
        augment: the settings of a `SoundAugmentation` as a dict; none if not given.
    """

    extent_of = ("length", "seconds")
    persistent = True
    input_only = True
    suffixes = SUFFIXES
    settings = ("features", "rate", "length", "segment", "mels", "n_fft", "hop", "augment")
    fitted = ("mean", "std")

    def __init__(
        self,
        features: str | None = None,
        rate: int | None = None,
        length: float | None = None,
        segment: str | None = None,
        mels: int | None = None,
        n_fft: int | None = None,
        hop: int | None = None,
        augment: dict[str, Any] | None = None,
    ):
        for what, value, known in (("features are", features, FEATURES), ("segment is", segment, SEGMENTS)):
            check_known(f"no {what} called", [] if value is None else [value], known)
        if rate is not None and not (isinstance(rate, int) and RATES[0] <= rate <= RATES[1]):
            raise UsageError(
                f"rate {shown(rate)} does not fit", expected=f"samples a second, {RATES[0]} to {RATES[1]:,}"
            )
        if length is not None and not (isinstance(length, (int, float)) and 0.01 <= length <= MOST_SECONDS):
            raise UsageError(f"length {shown(length)} does not fit", expected=f"seconds, 0.01 to {MOST_SECONDS}")
        self.features, self.rate, self.segment = features, rate, segment
        self.length = None if length is None else float(length)
        self.mels, self.n_fft, self.hop = mels, n_fft, hop
        self.augmentation = SoundAugmentation.from_dict(augment) if augment else None
        self.mean, self.std = 0.0, 1.0
        if rate is not None and features != "wave":
            _ = self.log_mel  # told here if the settings do not go together

    def choose_augmentation(self, asked: str | Mapping[str, Any], sample: Callable[[], Sample]) -> list[str]:
        if self.augmentation is not None:
            return []
        if isinstance(asked, str):
            chosen, why = by_level(asked)
        else:
            chosen, why = SoundAugmentation.from_dict(asked), "as asked"
        self.augmentation = chosen or None
        return [why]

    @property
    def random(self) -> bool:
        return super().random or self.segment in ("crop", "windows")

    @classmethod
    def suit(cls, column: str, settings: Mapping[str, Any], wanted: Wanted) -> dict[str, tuple[Any, str]]:
        suited: dict[str, tuple[Any, str]] = {}
        if settings.get("features") is None:
            suited["features"] = "wave" if wanted.waves else "log-mel", "what the model takes"
        if wanted.size is not None and settings.get("mels") is None:
            suited["mels"] = MELS_PRETRAINED, "as fine as the pretrained weights know pictures"
        return suited

    @classmethod
    def recognise(cls, values: Sequence[Any]) -> Recognition:
        sample = [v for v in values if v is not None]
        if not sample:
            return Recognition(0.0, "there are no values")
        if isinstance(sample[0], (str, Path)):
            sounds = sum(isinstance(v, (str, Path)) and Path(v).suffix.lower() in SUFFIXES for v in sample)
            return Recognition(0.95 * sounds / len(sample), f"{sounds} of {len(sample)} end like sounds")
        if isinstance(sample[0], bytes):
            sounds = sum(isinstance(v, bytes) and looks_like_sound(v[:16]) for v in sample)
            return Recognition(0.95 * sounds / len(sample), f"{sounds} of {len(sample)} begin like sounds")
        return Recognition(0.0, "values are not sounds")

    @classmethod
    def begins_so(cls, head: bytes) -> bool:
        return looks_like_sound(head)

    def fit(self, values: Sequence[Any]) -> None:
        """Finds rate, length, and the pictures' mean and deviation from up to 256 clips (the same ones each time)."""
        infos = read_some(some(values), lambda value: (value, sound_info(value, self.rate or DEFAULT_RATE)), "sounds")
        rate = self.rate = self.rate or min(DEFAULT_RATE, int(np.median([info.rate for _, info in infos])))
        beginning = int(rate * (self.length or LONGEST_SEGMENT)) + 1
        heard = read_some(infos, lambda known: (decode(known[0], rate, beginning), known[1].seconds), "sounds")
        clips, seconds = zip(*heard, strict=True)
        most = float(np.quantile(seconds, 0.95, method="higher"))
        if self.length is None:
            longest = min(LONGEST_SEGMENT, 2 * float(np.median(seconds)))
            self.length = round(max(min(most + 0.005, longest), SHORTEST_SEGMENT), 2)
        if self.segment is None:
            self.segment = "trim" if most <= self.length else "windows"
        if self.features == "wave":
            return
        waves = np.stack([self._segment_of(clip) for clip in clips])
        pictures = self.log_mel(torch.from_numpy(waves).float() / FULL_SCALE)
        self.mean, self.std = round(float(pictures.mean()), 4), round(max(float(pictures.std()), 1e-3), 4)

    @property
    def samples(self) -> int:
        """T: samples of a segment."""
        if self.rate is None or self.length is None:
            raise UsageError(
                "the length of the sounds is not known yet", fix="call fit first, or give rate= and length="
            )
        return max(1, round(self.rate * self.length))

    @property
    def log_mel(self) -> LogMel:
        """From waves to log-mel pictures, by this field's settings."""
        assert self.rate is not None
        n_fft = self.n_fft or max(512, _power_of_two(self.rate * 0.064))
        return LogMel(self.rate, self.bands, n_fft, self.hop or max(1, n_fft * 16 // self.bands))

    @property
    def bands(self) -> int:
        """M: bands of the log-mel picture."""
        return self.mels or DEFAULT_MELS

    @property
    def whole(self) -> bool:
        """Whether whole clips are stored, of any length, and not segments."""
        return self.segment in ("crop", "windows")

    @property
    def encoding(self) -> Encoding:
        return Encoding(np.dtype(np.int16), () if self.whole else (self.samples,), ragged=self.whole, padded=False)

    @property
    def identity(self) -> dict[str, Any]:
        # what the stored samples depend on; features and augmentation come later
        return {"kind": self.kind, "rate": self.rate, "samples": None if self.whole else self.samples, "decoder": 1}

    @property
    def input_kind(self) -> str:
        return "audio" if self.features == "wave" else "image"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(1, T) of waves, (1, mels, frames) of pictures."""
        return (1, self.samples) if self.features == "wave" else (1, self.bands, self.log_mel.frames(self.samples))

    def encode(self, value: Any) -> np.ndarray:
        assert self.rate is not None
        return decode(value, self.rate) if self.whole else self._segment_of(decode(value, self.rate, self.samples))

    def _segment_of(self, samples: np.ndarray) -> np.ndarray:
        """int16 (T) of a clip of any length: its beginning, or itself and silence."""
        kept = samples[: self.samples]
        return np.pad(kept, (0, self.samples - len(kept)))

    @property
    def outside(self) -> str:
        told = "whole" if self.whole else f"its first {self.length:g} s, or itself and silence"
        return f"decoded to one channel of 16 bits at {self.rate:,} samples a second, {told}"

    def prepare(
        self, gathered: Tensor | Ragged, training: bool = False, generator: torch.Generator | None = None
    ) -> Tensor | Windows:
        """int16 (B, T), or Ragged, to float32 (B, 1, mels, frames) or (B, 1, T); whole clips, where nothing is trained,
        to `Windows` of such."""
        draws = None
        if training and self.random:
            assert generator is not None
            values = gathered.values if isinstance(gathered, Ragged) else gathered
            draws = sound_draws(len(values), generator, values.device)
        counts = None
        if isinstance(gathered, Ragged):
            if draws is None and self.segment == "windows":
                waves, counts = windows_of(gathered, self.samples)
            else:
                waves = crop(gathered, self.samples, draws.table[:, -1] if draws else None)
        else:
            waves = gathered
        waves = waves.float().mul_(1 / FULL_SCALE)
        augmentation = self.augmentation if draws is not None else None
        if augmentation and draws is not None:
            assert self.rate is not None
            with torch.autocast(waves.device.type, enabled=False):
                waves = augmentation.change_waves(waves, self.rate, draws)
        if self.features == "wave":
            prepared = waves[:, None]
        else:
            pictures = (self.log_mel(waves) - self.mean) / self.std
            if augmentation and draws is not None:
                pictures = augmentation.change_pictures(pictures, draws)
            prepared = pictures[:, None]
        return prepared if counts is None else Windows(prepared, counts)

    def pictured(self) -> Field:
        seen = {**self.to_dict(), "features": "log-mel", "mels": None}
        return Audio.from_dict(seen) if self.features == "wave" else self

    def render(self, value: Any) -> str:
        """A small spectrogram, and the sound to be played, with their bytes inside."""
        rate = self.rate or DEFAULT_RATE
        try:
            return as_html(decode(value, rate, SHOWN_SECONDS * rate), rate)
        except DataError as error:
            return f"<span class=unreadable>{html.escape(error.found)}</span>"

    def qualities(self, value: Any) -> dict[str, float | bool]:
        sound = self.encode(value) / FULL_SCALE
        return {"loudness": 20 * float(np.log10(max(np.sqrt(np.mean(sound * sound)), 1e-6)))}  # decibels

    def signals(self, name: str, value: Any, encoded: np.ndarray | None) -> dict[str, float | str | None]:
        if encoded is None:
            return {}
        power = float(np.mean(np.square(encoded.astype(np.float32) / FULL_SCALE)))
        loudness = 10 * float(np.log10(max(power, 1e-12)))
        return super().signals(name, value, encoded) | {f"loudness of {name}": loudness}

    def corruptions(self, values: Sequence[Any]) -> dict[str, Corruption]:
        def opened(value: Any) -> np.ndarray:
            assert self.rate is not None
            return decode(value, self.rate).astype(np.float32) / np.float32(FULL_SCALE)

        return SOUNDS.within(opened, lambda raw, sound: sound.clip(-1, 1).astype(np.float32))

    def sites(self, prepared: Tensor) -> list[Site]:
        return [Site(prepared, 0.0, blocks(prepared))]

    def heat(self, value: Any, weights: Sequence[np.ndarray]) -> Heat:
        """Over a spectrogram: of pictures (W, 1, bands, frames) by band, of waves (W, 1, T) by time alone; W windows
        side by side, or what is seen of the clip."""
        rate = self.rate or DEFAULT_RATE
        samples = decode(value, rate)
        windows = [part.reshape(-1, part.shape[-1])[::-1] for part in weights[0]]  # low bands are drawn below
        starts = [min(i * self.samples, max(0, len(samples) - self.samples)) for i in range(len(windows))]
        if len(windows) == 1 and self.whole:
            starts = [max(0, len(samples) - self.samples) // 2]
        steps = min(MOST_STEPS, max(1, len(samples)))
        grid = np.zeros((len(windows[0]), steps), np.float32)
        for window, start in zip(windows, starts, strict=True):
            begin, end = (round(at * steps / max(len(samples), 1)) for at in (start, start + self.samples))
            grid[:, begin:end] = resampled(window, max(1, end - begin))[:, : steps - begin]
        picture = overlay(spectrogram(samples, rate), grid)
        return Heat(f"{as_html(samples, rate)} {as_img(picture, 'heat')}", grid=grid, picture=picture)

    def extent(self, value: Any) -> float:
        return sound_info(value, self.rate or DEFAULT_RATE).seconds

    def portable(self, value: Any) -> str:
        rate = self.rate or DEFAULT_RATE
        return base64.b64encode(playable(decode(value, rate, SHOWN_SECONDS * rate), rate)[1]).decode()


def crop(clips: Ragged, samples: int, start: Tensor | None) -> Tensor:
    """int16 (B, samples): a part of each clip, `start` (B) of the way through the room that it has, or the middle."""
    values, lengths = clips
    B, T = values.shape
    room = (lengths - samples).clamp_min(0)
    first = (room * (0.5 if start is None else start)).long()[:, None]
    at = first + torch.arange(samples, device=values.device)
    return values.gather(1, at.clamp_max(T - 1)).masked_fill_(at >= lengths[:, None], 0)


def windows_of(clips: Ragged, samples: int) -> tuple[Tensor, Tensor]:
    """int16 (W, samples): windows side by side over each clip, the last one ending with it; and their counts (B)."""
    values, lengths = clips
    counts = (lengths + samples - 1).div(samples, rounding_mode="floor").clamp_min(1)
    if torch.compiler.is_exporting():  # in a graph each clip has as many windows as the longest, see `over_windows`
        numbers = torch.arange((values.shape[1] + samples - 1) // samples, device=values.device)
        begin = torch.minimum(numbers * samples, (lengths - samples).clamp_min(0)[:, None])[:, :, None]
        at = (begin + torch.arange(samples, device=values.device)).flatten(1)
        parts = values.gather(1, at.clamp_max(values.shape[1] - 1)).masked_fill(at >= lengths[:, None], 0)
        return parts.view(-1, samples), counts
    owner = torch.repeat_interleave(torch.arange(len(lengths), device=values.device), counts)
    number = torch.arange(len(owner), device=values.device) - (counts.cumsum(0) - counts)[owner]
    first = torch.minimum(number * samples, (lengths[owner] - samples).clamp_min(0))
    at = first[:, None] + torch.arange(samples, device=values.device)
    flat = owner[:, None] * values.shape[1] + at.clamp_max(values.shape[1] - 1)
    return values.reshape(-1)[flat].masked_fill_(at >= lengths[owner][:, None], 0), counts


def _power_of_two(number: float) -> int:
    return 1 << max(5, round(np.log2(number)))
