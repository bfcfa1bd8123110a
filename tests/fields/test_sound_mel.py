"""Log-mel pictures are librosa's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tones import noise, tone

from flambeau.core.errors import UsageError
from flambeau.fields.sound import LogMel
from flambeau.fields.sound.mel import hz_to_mel, mel_filters, mel_to_hz

librosa = pytest.importorskip("librosa")
SETTINGS = [(16_000, 1024, 256, 64), (44_100, 2048, 512, 128), (22_050, 512, 128, 40), (8_000, 512, 100, 24)]


def waves(rate: int) -> np.ndarray:
    """Speech-like and hard ones: a glide with harmonics, noise, a knock, silence; float32 (4, T)."""
    seconds = np.arange(rate) / rate
    glide = sum(np.sin(2 * np.pi * k * (120 * seconds + 80 * seconds**2)) / k for k in range(1, 20)) * 0.2
    knock = np.zeros(rate)
    knock[rate // 3] = 0.9
    rows = [glide, noise(1.0, rate), knock + tone(1000, 1.0, rate, 0.01), np.zeros(rate)]
    return np.stack(rows).astype(np.float32)


@pytest.mark.parametrize(("rate", "n_fft", "hop", "mels"), SETTINGS)
def test_filters_and_scale_are_librosas(rate: int, n_fft: int, hop: int, mels: int) -> None:
    theirs = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=mels)
    assert np.abs(mel_filters(rate, n_fft, mels) - theirs).max() < 1e-7
    hertz = np.linspace(0, rate / 2, 50)
    assert hz_to_mel(hertz) == pytest.approx(librosa.hz_to_mel(hertz))
    assert mel_to_hz(hz_to_mel(hertz)) == pytest.approx(hertz)


@pytest.mark.parametrize(("rate", "n_fft", "hop", "mels"), SETTINGS)
def test_powers_and_decibels_are_librosas(rate: int, n_fft: int, hop: int, mels: int) -> None:
    """The powers to 1e-4 of each sound's largest; the decibels to 1e-4 where float32 can tell them: a band whose
    power is 1e-4 of the frame's has lost a digit or two of its 24 bits to the others in the Fourier transform."""
    given = waves(rate)
    log_mel = LogMel(rate, mels, n_fft, hop)
    powers, pictures = log_mel.power(torch.from_numpy(given)).numpy(), log_mel(torch.from_numpy(given)).numpy()
    assert pictures.shape == (4, mels, log_mel.frames(given.shape[1]))
    for wave, power, picture in zip(given.astype(np.float64), powers, pictures, strict=True):
        theirs = librosa.feature.melspectrogram(y=wave, sr=rate, n_fft=n_fft, hop_length=hop, n_mels=mels)
        assert np.abs(power - theirs).max() <= 1e-4 * max(theirs.max(), 1e-10)
        decibels = librosa.power_to_db(theirs, top_db=80.0)
        strong = theirs >= 1e-4 * np.maximum(theirs.max(0, keepdims=True), 1e-10)
        assert np.abs(picture - decibels)[strong].max(initial=0) < 1e-4
        assert np.abs(picture - decibels).max() < 0.02


def test_it_does_not_depend_on_the_batch() -> None:
    log_mel, given = LogMel(16_000), torch.from_numpy(waves(16_000)).repeat(5, 1)
    assert torch.allclose(log_mel(given)[1], log_mel(given[1:2])[0], atol=1e-4)


def test_half_precision_around_it_does_not_reach_it() -> None:
    log_mel, given = LogMel(16_000), torch.from_numpy(waves(16_000))
    with torch.autocast("cpu", torch.bfloat16):
        inside = log_mel(given)
    assert inside.dtype == torch.float32 and torch.equal(inside, log_mel(given))


def test_bands_without_a_frequency_are_told() -> None:
    with pytest.raises(UsageError, match=r"of 128 mel bands hold no frequency.*fewer mels or a larger n_fft"):
        LogMel(16_000, 128, 256)
