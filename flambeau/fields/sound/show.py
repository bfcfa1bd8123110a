"""A sound as HTML: a small spectrogram, and the sound itself to be played."""

from __future__ import annotations

import base64
import io

import numpy as np
import torch
from PIL import Image as PILImage

from flambeau.fields.sound.files import soundfile
from flambeau.fields.sound.mel import LogMel

MOST_SECONDS = 10
WIDTH, HEIGHT = 192, 64
# from quiet to loud: paper, blue, dark
SHADES = np.asarray([[255, 255, 255], [134, 178, 221], [40, 86, 148], [18, 26, 56]], np.float64)


def spectrogram(samples: np.ndarray, rate: int) -> PILImage.Image:
    """A picture of int16 (T): time to the right, frequency upwards on the mel scale, dark where it is loud."""
    hop = max(1, len(samples) // WIDTH)
    n_fft = 1 << max(5, round(np.log2(rate * 0.064)))
    waves = torch.from_numpy(samples).float()[None] / 32768
    decibels = LogMel(rate, HEIGHT, n_fft, hop)(waves)[0].numpy()[::-1, :]
    low, high = float(decibels.min()), float(decibels.max())
    strength = (decibels - low) / max(high - low, 1e-6)
    places = np.linspace(0, 1, len(SHADES))
    colours = np.stack([np.interp(strength, places, SHADES[:, channel]) for channel in range(3)], -1)
    return PILImage.fromarray(colours.astype(np.uint8)).resize((WIDTH, HEIGHT), PILImage.Resampling.BILINEAR)


def playable(samples: np.ndarray, rate: int) -> tuple[str, bytes]:
    """(media type, file) of int16 (T), as MP3 where its rate allows, else as WAV."""
    package = soundfile()
    for kind, media in (("MP3", "mpeg"), ("WAV", "wav")):
        buffer = io.BytesIO()
        try:
            package.write(buffer, samples, rate, format=kind)
        except (package.LibsndfileError, TypeError, ValueError):
            continue  # a rate that MP3 has not, or a libsndfile without MP3
        return f"audio/{media}", buffer.getvalue()
    raise AssertionError("libsndfile writes WAV at any rate")


def as_html(samples: np.ndarray, rate: int) -> str:
    """An <img> and an <audio> with their bytes inside, of at most the first 10 seconds."""
    samples = samples[: MOST_SECONDS * rate]
    buffer = io.BytesIO()
    spectrogram(samples, rate).save(buffer, "JPEG", quality=80)
    media, data = playable(samples, rate)
    picture, sound = (base64.b64encode(part).decode() for part in (buffer.getvalue(), data))
    return (
        f'<img src="data:image/jpeg;base64,{picture}" alt="spectrogram"> '
        f'<audio controls src="data:{media};base64,{sound}"></audio>'
    )
