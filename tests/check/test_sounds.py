"""Each thing that can be wrong with sounds is found, at its rows, and nothing else is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tones import as_file, noise, tone, tune

import flambeau as fb
from flambeau.check.hearing import low_wave, same_recording
from flambeau.core.findings import Finding, Severity
from flambeau.fields.sound.files import resample

RATE = 16_000


def sounds(count: int = 12, seconds: float = 0.5) -> tuple[list[bytes], list[str]]:
    """Different sounds of two classes alike in level and form."""
    files = [as_file(noise(seconds, seed=i) + tone(300 + 40 * i, seconds, level=0.1)) for i in range(count)]
    return files, ["a" if i % 2 else "b" for i in range(count)]


def findings(files: list[bytes], labels: list[str], **options: object) -> dict[str, Finding]:
    fields = {"sound": fb.fields.Audio()}
    data = fb.Dataset({"sound": files, "label": labels}, target="label", fields=fields, split="none", **options)  # type: ignore[arg-type]
    return {f.check: f for f in data.check() if f.check != "nothing-held-out"}


def test_nothing_is_said_of_good_sounds() -> None:
    assert not {c for c in findings(*sounds(24)) if c not in ("few-samples",)}


def with_one(file: bytes, check: str) -> Finding:
    files, labels = sounds()
    files[5] = file
    found = findings(files, labels)
    assert check in found, found
    assert found[check].rows == [5]
    return found[check]


def test_bad_sounds_are_named() -> None:
    assert with_one(as_file(1e-4 * tone(300)), "silent").severity is Severity.WARNING
    assert with_one(as_file(np.clip(3 * tone(300), -1, 1)), "clipping").severity is Severity.WARNING
    assert with_one(as_file(0.3 * tone(300) + 0.2), "dc-offset").severity is Severity.NOTE
    assert with_one(as_file(noise(0.02)), "short").severity is Severity.WARNING
    assert "20 s" in with_one(as_file(noise(20.0)), "long").message
    assert "8,000 Hz (1)" in with_one(as_file(noise(0.5, 8_000), 8_000), "mixed-rates").message
    assert "6 (1)" in with_one(as_file(np.repeat(noise(0.5)[:, None], 6, 1)), "mixed-channels").message
    assert "web page" in with_one(b"<html></html>", "unreadable").message
    assert "not finite" in with_one(as_file(np.full(90, np.nan, np.float32), subtype="FLOAT"), "unreadable").message


def test_a_class_of_silence_is_told() -> None:
    files, labels = sounds()
    for row, label in enumerate(labels):
        if label == "b":
            files[row] = as_file(np.zeros(RATE // 2, np.float32) + 1e-5 * row)
    found = findings(files, labels)
    assert found["silent-class"].places == ["b"] and len(found["silent"].rows) == 6


def test_a_level_that_tells_the_class_is_a_giveaway() -> None:
    files, labels = sounds(20)
    soft = [as_file((0.1 if label == "a" else 1.0) * noise(0.5, seed=i)) for i, label in enumerate(labels)]
    told = findings(soft, labels)["level-giveaway"].message
    assert "'a'" in told and "'b'" in told
    assert "level-giveaway" not in findings(files, labels)


def test_a_form_that_tells_the_class_is_a_giveaway() -> None:
    _, labels = sounds(20)
    files = [as_file(noise(0.5, seed=i), 16_000 if label == "a" else 22_050) for i, label in enumerate(labels)]
    assert "100%" in findings(files, labels)["format-giveaway"].message


def test_copies_are_found_whatever_the_file() -> None:
    files, labels = sounds()
    wave = (20_000 * tune(2)).astype(np.int16)
    files[2] = as_file(wave)
    files[4] = as_file(np.r_[np.zeros(100, np.int16), wave], kind="FLAC")  # with silence before it, of its class
    assert findings(files, labels)["duplicate"].rows == [2, 4]
    labels[4] = "a"
    assert findings(files, labels)["label-conflict"].rows == [2, 4]


@pytest.mark.parametrize("form", [("OGG", None), ("MP3", None)])
def test_near_copies_are_found_on_both_sides(form: tuple[str, str | None]) -> None:
    """The same recording again, softer, at another rate, through a lossy coder."""
    labels = ["a" if row % 2 else "b" for row in range(20)]
    files = [as_file(tune(row)) for row in range(20)]
    other = resample((20_000 * tune(2)).astype(np.int16), RATE, 22_050)
    files[4] = as_file(other, 22_050, *form)
    split = ["valid" if row == 4 else "train" for row in range(20)]
    data = fb.Dataset(
        {"sound": files, "label": labels}, target="label", fields={"sound": fb.fields.Audio()}, split=split
    )
    found = {f.check: f for f in data.check()}
    assert found["near-leakage"].rows == [2, 4]


def test_other_sounds_are_not_one_recording() -> None:
    def same(one: np.ndarray, other: np.ndarray) -> bool:
        return same_recording(low_wave(as_file(one)), low_wave(as_file(other)))

    fading = np.linspace(1, 0, 8000, dtype=np.float32)
    assert same(noise(0.5), 0.1 * noise(0.5)[500:]) and same(tune(3), -tune(3)[500:])
    assert not same(noise(0.5), noise(0.5, seed=1)) and not same(tone(300) * fading, tone(320) * fading)


def test_clips_of_one_recording_on_both_sides_are_told(tmp_path: Path) -> None:
    """ESC-50's layout: fold-clip-take-class.wav; takes of one clip come from one recording."""
    for clip in range(20):
        for take in "AB":
            name = f"{clip % 5 + 1}-{100 + clip}-{take}-{clip % 2}.wav"
            (tmp_path / name).write_bytes(as_file(noise(0.3, seed=2 * clip + (take == "A"))))
    options = {"pattern": "{fold}-{clip}-{take}-{class}.wav"}
    data = fb.Dataset.from_folder(tmp_path, **options, split="random")
    (told,) = [f for f in data.check() if f.check == "same-recording"]
    assert "--by clip" in told.fix and told.count > 0
    for folds in data.folds(by="fold"):
        assert not [f for f in folds.check() if f.check == "same-recording"]
        assert set(np.asarray(folds.columns["fold"])[folds.rows("valid")]) != {"1", "2"}
        assert len(folds.rows("valid")) == 8


@pytest.mark.network
def test_real_speech_has_a_level_that_gives_languages_away(realdata: Callable[[str], Path], tmp_path: Path) -> None:
    from realdata.sounds import write_stamps_speech

    realdata("tuxpaint-stamps-default")
    folder = write_stamps_speech(tmp_path / "speech", ("bg", "es"), 40)
    data = fb.Dataset.from_folder(folder, pattern="{class}-{stamp}", split=fb.Split("grouped", by="stamp"))
    found = {f.check for f in data.check()}
    assert "level-giveaway" in found and not found & {"unreadable", "near-label-conflict", "label-conflict"}
