"""Sounds in: any format becomes the same samples, and whatever cannot be read is told in a line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tones import as_file, noise, pitch, tone

from flambeau.core.errors import DataError, UsageError
from flambeau.data.store.store import collate
from flambeau.fields import Audio, Ragged, Windows
from flambeau.fields.sound import decode, sound_info
from flambeau.objectives.supervised import over_windows

FORMATS = [
    ("WAV", "PCM_U8", 2e-2), ("WAV", "PCM_16", 1e-3), ("WAV", "PCM_24", 1e-3), ("WAV", "PCM_32", 1e-3),
    ("WAV", "FLOAT", 1e-3), ("WAV", "DOUBLE", 1e-3), ("FLAC", "PCM_16", 1e-3), ("FLAC", "PCM_24", 1e-3),
    ("OGG", "VORBIS", 5e-2), ("MP3", None, 5e-2), ("AIFF", "PCM_16", 1e-3), ("AU", "PCM_24", 1e-3),
    ("CAF", "PCM_16", 1e-3), ("W64", "PCM_16", 1e-3), ("OGG", "OPUS", 0.15),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "subtype", "tolerance"), FORMATS)
def test_every_format_gives_the_same_sound(kind: str, subtype: str | None, tolerance: float) -> None:
    """A tone keeps its pitch and level; 8 bits and lossy coders within what they lose."""
    wave = tone(440, 1.0, level=0.4)
    read = decode(as_file(wave, 16_000, kind, subtype), 16_000)
    assert read.dtype == np.int16 and abs(len(read) - len(wave)) <= 1200  # MP3 adds a frame at each end
    middle = read[4000:12000] / 32767
    assert pitch(middle) == pytest.approx(440, abs=1)
    assert np.sqrt(2) * middle.std() == pytest.approx(0.4, rel=tolerance)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_rates_and_channels_are_brought_to_one(rate: int, channels: int) -> None:
    wave = np.repeat(tone(440, 0.5, rate, 0.4)[:, None], channels, 1)
    read = decode(as_file(wave, rate), 16_000)
    assert len(read) == pytest.approx(8_000, abs=2)
    middle = read[2000:6000] / 32767
    assert pitch(middle) == pytest.approx(440, abs=2) and np.sqrt(2) * middle.std() == pytest.approx(0.4, rel=2e-2)


def test_resampling_folds_nothing_down() -> None:
    """10 kHz is not in a sound at 16 kHz: it must not come back as 6 kHz."""
    assert np.abs(decode(as_file(tone(10_000, 0.5, 44_100), 44_100), 16_000)[800:-800]).max() < 33


def test_what_is_cut_off_is_as_if_all_had_been_read() -> None:
    file = as_file(noise(2.0, 44_100), 44_100)
    assert np.array_equal(decode(file, 16_000, 8_000)[:-50], decode(file, 16_000)[:7_950])


def test_arrays_are_samples_at_the_rate_that_is_wanted() -> None:
    wave = tone(300)
    counted = (wave * 32767).round().astype(np.int16)
    for given in (wave, torch.from_numpy(wave), wave[:, None], np.stack([wave, wave]), wave.astype(np.float64)):
        assert np.abs(decode(given, 16_000).astype(int) - counted).max() <= 1
    assert np.abs(decode(counted, 16_000).astype(int) - counted).max() <= 1


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (tone(300) * 32767, "from -.* to .*expected floats in -1…1"),
        (np.where(tone(300) > 0.3, np.nan, tone(300)), "not finite"),
        ((tone(300) * 20000).astype(np.int32), "32 bits from .* silence"),
        ((tone(300) * 127 + 128).astype(np.uint8), "uint8"),
    ],
)
def test_samples_in_another_range_are_told_and_not_clipped(values: np.ndarray, says: str) -> None:
    sources = [values]
    if values.dtype.kind == "f":
        sources.append(as_file(values.astype(np.float32), 16_000, "WAV", "FLOAT"))
    for source in sources:
        with pytest.raises(DataError, match=says):
            decode(source, 16_000)


def test_what_is_a_little_too_loud_is_clipped() -> None:
    assert np.abs(decode(tone(300) * 3, 16_000).astype(int)).max() == 32767
    loud = (tone(300) * 2**30).astype(np.int32)
    assert np.abs(decode(loud, 16_000) - 32767 * (loud / 2**31)).max() <= 1


def bad_files(folder: Path) -> dict[str, bytes]:
    good = as_file(noise(0.5))
    return {
        "no samples": as_file(np.zeros(0, np.float32)),
        "not finite": as_file(np.full(800, np.nan, np.float32), 16_000, "WAV", "FLOAT"),
        "web page": b"<!DOCTYPE html>\n<html><body>Not found</body></html>",
        "damaged|not a sound": b"RIFF\x00\x00\x00\x00WAVEfmt \xff\xff" + good[22:60],
        "damaged|no samples|not a sound": good[:30],
        "not a sound": b"\x00" * 400,
        "WebM": b"\x1aE\xdf\xa3" + b"\x00" * 400,
        "MP4": b"\x00\x00\x00\x20ftypM4A " + b"\x00" * 400,
        "empty": b"",
        "head is wrong": good[:24] + (7).to_bytes(4, "little") + good[28:],
    }


@pytest.mark.parametrize("why", list(bad_files(Path())))
def test_a_bad_file_is_told_in_one_line(why: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.mp3"
    file.write_bytes(bad_files(tmp_path)[why])
    with pytest.raises(DataError) as told:
        decode(file, 16_000)
    assert any(part in str(told.value) for part in why.split("|")), str(told.value)
    assert "\n" not in str(told.value) and "bad.mp3" in str(told.value) and len(str(told.value)) < 250


def test_a_file_cut_short_gives_what_is_there() -> None:
    wave = noise(1.0)
    assert 7_000 < len(decode(as_file(wave)[:16_000], 16_000)) < 8_100


def test_a_small_file_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flambeau.fields.sound.files.MOST_SAMPLES", 10_000)
    with pytest.raises(DataError, match="too large to decode, 2 channels at 16000"):
        decode(as_file(np.zeros((8_000, 2), np.float32), kind="FLAC"), 16_000)


def test_an_hour_is_read_from_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flambeau.fields.sound.files.MOST_SECONDS", 1)
    assert len(decode(as_file(noise(3.0)), 16_000)) == 16_000


def fitted(clips: list[bytes], **settings: object) -> Audio:
    field = Audio(**settings)  # type: ignore[arg-type]
    field.fit(clips)
    return field


def test_the_length_is_found_in_the_training_rows() -> None:
    alike = [as_file(noise(1.0 + 0.01 * i, seed=i)) for i in range(20)]
    field = fitted(alike)
    assert (field.rate, field.segment) == (16_000, "trim") and field.length == pytest.approx(1.185, abs=0.02)
    mixed = fitted([as_file(noise(0.3 * (i + 1), seed=i)) for i in range(20)])
    assert mixed.segment == "windows" and mixed.length == pytest.approx(5.0, abs=1.4)
    assert fitted([as_file(noise(0.2, 8_000), 8_000)]).rate == 8_000  # nothing is made up above what is there


def test_shorter_clips_are_filled_with_silence_and_longer_ones_trimmed() -> None:
    field = fitted([as_file(noise(0.5))], length=0.5)
    short, long = field.encode(as_file(noise(0.2))), field.encode(as_file(noise(2.0)))
    assert short.shape == long.shape == (8_000,)
    assert not short[3_200:].any() and np.array_equal(short[:3_200], long[:3_200])


def whole(lengths: list[int]) -> Ragged:
    """Clips that count up from 1, so that each sample says where it was."""
    field = Audio("wave", rate=1000, length=0.1, segment="windows")
    return collate([np.arange(1, n + 1, dtype=np.int16) for n in lengths], field.encoding)  # type: ignore[return-value]


def test_windows_cover_every_sample_and_the_last_one_ends_with_the_clip() -> None:
    field = Audio("wave", rate=1000, length=0.1, segment="windows")
    lengths = [30, 100, 101, 250, 1000]
    prepared = field.prepare(whole(lengths))
    assert isinstance(prepared, Windows) and prepared.counts.tolist() == [1, 1, 2, 3, 10]
    rows = (prepared.values[:, 0] * 32768).round().int().split(prepared.counts.tolist())
    for n, windows in zip(lengths, rows, strict=True):
        assert set(windows.flatten().tolist()) - {0} == set(range(1, n + 1))
        assert int(windows[-1].max()) == n


def test_a_crop_is_a_part_of_the_clip_and_the_middle_where_nothing_is_trained() -> None:
    field = Audio("wave", rate=1000, length=0.1, segment="crop")
    clips = whole([300] * 400)
    middle = (field.prepare(clips)[:, 0] * 32768).round().int()
    assert middle[0].tolist() == list(range(101, 201))
    drawn = (field.prepare(clips, True, torch.Generator().manual_seed(0))[:, 0] * 32768).round().int()
    assert (drawn.diff(dim=1) == 1).all()
    assert drawn[:, 0].min() < 20 and drawn[:, 0].max() > 180, "all places are drawn from"


def test_outputs_of_windows_are_averaged() -> None:
    values = torch.tensor([[1.0], [3.0], [10.0]])
    counts = torch.tensor([2, 1])
    assert over_windows(torch.nn.Identity(), Windows(values, counts)).flatten().tolist() == [2.0, 10.0]


def test_a_clip_alone_is_as_in_a_batch() -> None:
    """Padding to the longest of a batch never changes what the model sees."""
    field = fitted([as_file(noise(0.5))], length=0.25, segment="windows")
    encoded = [field.encode(as_file(noise(s, seed=i))) for i, s in enumerate((0.1, 0.7, 0.3))]
    together = field.prepare(collate(encoded, field.encoding))
    first = 0
    for clip, count in zip(encoded, together.counts.tolist(), strict=True):
        alone = field.prepare(collate([clip], field.encoding))
        assert torch.equal(alone.values, together.values[first : first + count])
        first += count


@pytest.mark.parametrize(
    "settings",
    [
        {"features": "mfcc"},
        {"segment": "triming"},
        {"rate": 10},
        {"length": 0},
        {"length": 1e6},
        {"rate": 8000, "n_fft": 64, "mels": 64},
        {"augment": {"gian": 3}},
        {"augment": {"gain": -3}},
        {"augment": {"noise": [30, 10]}},
    ],
)
def test_settings_that_do_not_fit_are_told(settings: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Audio(**settings)  # type: ignore[arg-type]


def test_the_head_tells_what_a_file_is() -> None:
    info = sound_info(as_file(np.zeros((4410, 2), np.float32), 44_100, "FLAC", "PCM_24"))
    assert info == (44_100, 2, 0.1, "FLAC", "PCM_24")


def test_it_is_shown_as_a_picture_and_a_player() -> None:
    shown = Audio().render(as_file(noise(0.5)))
    assert shown.startswith('<img src="data:image/jpeg;base64,') and '<audio controls src="data:audio/mpeg' in shown
    assert "web page" in Audio().render(b"<html>")
    assert "data:audio/wav" in Audio(rate=12_345).render(as_file(noise(0.2)))


@pytest.mark.network
def test_real_speech_and_drums_are_read(realdata: Callable[[str], Path], tmp_path: Path) -> None:
    from realdata.sounds import write_sonic_pi, write_spoken_digits

    realdata("sonic-pi-samples")
    realdata("tuxpaint-stamps-default")
    drums = write_sonic_pi(tmp_path / "drums")
    digits = write_spoken_digits(tmp_path / "digits")
    assert len(list(drums.glob("*/*.flac"))) == 133 and len(list(digits.glob("*.ogg"))) == 200
    for file in [*drums.glob("*/*.flac"), *digits.glob("*.ogg")]:
        assert len(decode(file, 16_000)) == pytest.approx(sound_info(file).seconds * 16_000, abs=2)
