"""Each change of a sound does what its name says, by as much as it says, and to the samples that it drew alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tones import noise, pitch, tone

from flambeau.fields.sound import SoundAugmentation, masks, vocoder, wave
from flambeau.fields.sound.augment import COLUMNS, LEVELS, by_level, sound_draws

RATE = 16_000


def batch(*rows: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(rows))


def tones(count: int = 6) -> torch.Tensor:
    return batch(*(tone(300 + 100 * i, 1.0) for i in range(count)))


def changed(waves: torch.Tensor, seed: int = 0, **settings: object) -> torch.Tensor:
    augmentation = SoundAugmentation.from_dict({"p": 1.0, **settings})
    draws = sound_draws(len(waves), torch.Generator().manual_seed(seed), waves.device)
    return augmentation.change_waves(waves, RATE, draws)


def test_gain_is_in_decibels() -> None:
    waves = tones()
    louder = wave.gain(waves, torch.tensor([6.0, -6, 0, 20, -20, 3]))
    ratio = 20 * torch.log10(louder.std(1) / waves.std(1))
    assert ratio.tolist() == pytest.approx([6, -6, 0, 20, -20, 3], abs=1e-3)
    drawn = 20 * torch.log10(changed(tones(200)[:, :800], gain=6).std(1) / tones(200)[:, :800].std(1))
    assert -6 <= drawn.min() < -5 and 5 < drawn.max() <= 6


def test_noise_lies_as_far_below_the_sound_as_asked_whatever_silence_surrounds_it() -> None:
    waves = torch.cat([tones(3), torch.zeros(3, RATE)], 1)
    decibels = torch.tensor([0.0, 20, torch.inf])
    added = wave.add_noise(waves, decibels, torch.Generator().manual_seed(0)) - waves
    found = 20 * torch.log10(waves[:2, :RATE].std(1) / added[:2].std(1))
    assert found.tolist() == pytest.approx([0, 20], abs=0.3) and not added[2].any()


def test_shifted_sounds_lose_what_goes_over_the_end() -> None:
    moved = wave.shift(torch.arange(1.0, 6)[None].repeat(3, 1), torch.tensor([2, 0, -3]))
    assert moved.tolist() == [[0, 0, 1, 2, 3], [1, 2, 3, 4, 5], [4, 5, 0, 0, 0]]


def test_polarity_turns_the_sign_and_nothing_else() -> None:
    waves = tones()
    assert torch.equal(changed(waves, polarity=1), -waves) and torch.equal(changed(waves, polarity=0), waves)


def test_reverb_keeps_the_level_and_leaves_a_tail() -> None:
    waves = torch.zeros(2, RATE)
    waves[:, 1000] = 0.5
    heard = wave.reverb(waves, torch.tensor([0.2, 0.8]), torch.tensor([0.5, 0.5]), RATE, torch.Generator())
    assert heard.square().sum(1).tolist() == pytest.approx([0.25, 0.25], rel=1e-3)
    assert not heard[:, :990].abs().gt(1e-5).any(), "nothing is heard before it sounds"
    late = heard[:, 4000:].square().sum(1)
    assert late[1] > 100 * late[0] > 0


@pytest.mark.parametrize("speed", [0.8, 1.0, 1.25])
def test_stretching_changes_the_length_and_not_the_pitch(speed: float) -> None:
    waves = torch.nn.functional.pad(tones(3)[:, :8000], (0, 8000))  # half a second, then silence
    out = vocoder.stretch_and_shift(waves, torch.full((3,), speed), torch.ones(3)).numpy()
    for row, hertz in zip(out, (300, 400, 500), strict=True):
        loud = np.flatnonzero(np.abs(row) > 0.1)
        assert loud[-1] - loud[0] == pytest.approx(8000 / speed, abs=900)
        assert pitch(row[2000:5000]) == pytest.approx(hertz, rel=0.01)


@pytest.mark.parametrize("semitones", [-4, 0, 4])
def test_shifting_changes_the_pitch_and_not_the_length(semitones: float) -> None:
    ratio = 2 ** (semitones / 12)
    waves = torch.nn.functional.pad(tones(3)[:, :8000], (0, 8000))
    out = vocoder.stretch_and_shift(waves, torch.ones(3), torch.full((3,), ratio)).numpy()
    for row, hertz in zip(out, (300, 400, 500), strict=True):
        loud = np.flatnonzero(np.abs(row) > 0.1)
        assert loud[-1] - loud[0] == pytest.approx(8000, abs=1100)
        assert pitch(row[1000:7000]) == pytest.approx(hertz * ratio, rel=0.01)


def test_the_vocoder_leaves_alone_what_is_not_to_change() -> None:
    waves = batch(noise(1.0), tone(500, 1.0))
    out = vocoder.stretch_and_shift(waves, torch.ones(2), torch.ones(2))
    assert torch.allclose(out[:, :15_000], waves[:, :15_000], atol=2e-3)


def test_stripes_are_as_wide_and_as_many_as_asked() -> None:
    pictures = torch.ones(50, 40, 100)
    augmentation = SoundAugmentation(frequency_masks=2, frequency_width=0.25, time_masks=1, time_width=0.1)
    out = augmentation.change_pictures(pictures, sound_draws(50, torch.Generator().manual_seed(0), pictures.device))
    bands, frames = (out == 0).all(2).sum(1), (out == 0).all(1).sum(1)
    assert 10 < bands.max() <= 20 and frames.max() <= 10 and frames.max() >= 8
    assert set(out.unique().tolist()) == {0.0, 1.0}
    assert len({tuple(row.tolist()) for row in (out == 0).all(2)}) > 20, "each sample has stripes of its own"


def test_warped_time_goes_on_forwards_and_keeps_its_ends() -> None:
    ramp = torch.arange(101.0).repeat(3, 2, 1)
    out = masks.warp_time(ramp, torch.tensor([0.5, 0.5, 0.3]), torch.tensor([0.2, 0.0, -0.1]))
    assert (out.diff(dim=2) > 0).all()
    assert out[:, 0, 0].tolist() == [0, 0, 0] and out[:, 0, -1].tolist() == pytest.approx([100] * 3)
    assert out[0, 0, 70].item() == pytest.approx(50) and torch.allclose(out[1], ramp[1], atol=1e-4)


@pytest.mark.parametrize("name", [n for n in COLUMNS if n not in ("frequency_masks", "time_masks", "time_warp")])
def test_what_is_not_drawn_stays(name: str) -> None:
    """With probability 0 a change that is on changes nothing."""
    value = {"noise": [5, 10], "pitch": 2, "stretch": 0.2, "gain": 6}.get(name)
    if value is None:
        return
    waves = tones()
    assert torch.allclose(changed(waves, p=0.0, **{name: value})[:, :15_000], waves[:, :15_000], atol=2e-3)


def test_switching_one_on_leaves_what_others_draw() -> None:
    waves = tones()
    both, one = changed(waves, gain=6, polarity=1), changed(waves, gain=6)
    assert torch.equal(both, -one)


@pytest.mark.parametrize("level", list(LEVELS))
def test_levels_have_words(level: str) -> None:
    chosen, why = by_level(level)
    assert bool(chosen) is (level != "none") and why
    assert SoundAugmentation.from_dict(chosen.to_dict()) == chosen
