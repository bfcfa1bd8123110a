"""The way of sounds: from a folder to predictions on the command line, past everything that can be wrong with files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from forkserver import Forkserver
from tones import as_file, noise, tone, write_tones

import flambeau as fb
from flambeau.core.errors import DataError


def test_a_folder_of_sounds(flambeau: Forkserver, tmp_path: Path) -> None:
    write_tones(tmp_path / "tones")
    trained = flambeau("train", "tones", "--epochs", 6, "--run", "run", "--json", cwd=tmp_path)
    assert trained.status == 0, trained.err
    assert trained.json["metrics"]["accuracy"] > 0.8
    told = flambeau("predict", "run", "tones/low/00.wav", "tones/high", "--json", cwd=tmp_path)
    assert told.status == 0 and len(told.json["predictions"]) == 13
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "media-src data:" in report
    again = flambeau("evaluate", "run", "--json", cwd=tmp_path)
    assert again.json["metrics"]["accuracy"] == pytest.approx(trained.json["metrics"]["accuracy"])


def test_waves_and_whole_clips(flambeau: Forkserver, tmp_path: Path) -> None:
    write_tones(tmp_path / "tones")
    settings = ("--set", "fields.audio.length=0.2", "--set", "fields.audio.segment=windows")
    trained = flambeau(
        "train", "tones", "--model", "m5", "--epochs", 2, "--no-check", "--run", "run", *settings, cwd=tmp_path
    )
    assert trained.status == 0, trained.err
    told = flambeau("predict", "run", "tones/low/00.wav", "--json", cwd=tmp_path)
    assert told.status == 0 and 0 < told.json["predictions"][0]["confidence"] <= 1
    predictor = fb.load(tmp_path / "run")
    parts = [predictor.predict(as_file(part)) for part in (tone(200, 0.2), tone(3000, 0.2))]
    whole = predictor.predict(as_file(np.r_[tone(200, 0.2), tone(3000, 0.2)]))
    logits = [np.log([p.probabilities[c] for c in predictor.classes]) for p in parts]
    expected = torch.tensor(np.mean(logits, 0)).softmax(0).tolist()
    found = [whole.probabilities[c] for c in predictor.classes]
    assert found == pytest.approx(expected, abs=1e-3), "the mean over the windows"


def test_all_that_can_be_wrong_is_told_and_the_rest_is_trained_on(flambeau: Forkserver, tmp_path: Path) -> None:
    folder = write_tones(tmp_path / "tones")
    low = folder / "low"
    bad = {
        "no-samples.wav": as_file(np.zeros(0, np.float32)),
        "nan.wav": as_file(np.full(4000, np.nan, np.float32), subtype="FLOAT"),
        "header.wav": b"RIFF\x10\x00\x00\x00JUNKjunkjunkjunk" * 20,
        "page.mp3": b"<!DOCTYPE html><html><title>404</title></html>",
        "empty.ogg": b"",
    }
    good = {
        "8khz.wav": as_file(noise(0.4, 8_000) + tone(200, 0.4, 8_000), 8_000),
        "six.wav": as_file(np.repeat(tone(220, 0.4)[:, None], 6, 1)),
        "long.flac": as_file(np.tile(tone(230, 1.0), 60), kind="FLAC"),
    }
    for name, data in {**bad, **good}.items():
        (low / name).write_bytes(data)
    silent = folder / "silent"
    silent.mkdir()
    for i in range(12):
        (silent / f"{i}.wav").write_bytes(as_file(np.full(6400 + i, 1e-5, np.float32)))
    checked = flambeau("check", "tones", "--json", cwd=tmp_path)
    found = {f["check"]: f for f in checked.json["findings"]}
    unreadable = {place for f in checked.json["findings"] if f["check"] == "unreadable" for place in f["places"]}
    assert unreadable == {f"low/{name}" for name in bad}
    assert found["silent-class"]["places"] == ["silent"] and len(found["silent"]["rows"]) == 12
    assert found["long"]["places"] == ["low/long.flac"]
    assert "low/8khz.wav" in found["mixed-rates"]["places"] and "low/six.wav" in found["mixed-channels"]["places"]
    trained = flambeau("train", "tones", "--epochs", 1, "--run", "run", "--json", cwd=tmp_path)
    assert trained.status == 0, trained.err
    told = flambeau("predict", "run", *(low / name for name in bad), low / "six.wav", "--json", cwd=tmp_path)
    assert told.status == 2
    rows = told.json["predictions"]
    assert [("error" in row) for row in rows] == [True] * len(bad) + [False]
    assert all("\n" not in row["error"] for row in rows[:-1])


def test_a_name_that_the_pattern_does_not_fit_is_named(tmp_path: Path) -> None:
    (tmp_path / "1-100-A-0.wav").write_bytes(as_file(noise(0.1)))
    (tmp_path / "notes.wav").write_bytes(as_file(noise(0.1)))
    with pytest.raises(DataError, match=r"notes.wav: 1 of 2 file names do not fit the pattern"):
        fb.Dataset.from_folder(tmp_path, pattern="{fold}-{clip}-{take}-{class}.wav")


def test_a_table_with_a_column_of_paths(tmp_path: Path) -> None:
    folder = write_tones(tmp_path / "tones", each=4)
    lines = [f"tones/{file.parent.name}/{file.name},{file.parent.name}" for file in sorted(folder.rglob("*.wav"))]
    (tmp_path / "table.csv").write_text("file,label\n" + "\n".join(lines))
    data = fb.Dataset.from_csv(tmp_path / "table.csv")
    assert data.describe().endswith("file (audio) → label (category)") and len(data) == 12


def test_a_run_on_one_fold_is_evaluated_on_that_fold(tmp_path: Path) -> None:
    data = fb.Dataset.from_folder(write_tones(tmp_path / "tones", each=5))
    folds = list(data.folds(3))
    assert sorted(np.concatenate([fold.rows("valid") for fold in folds]).tolist()) == list(range(15))
    learner = fb.Learner(folds[1], epochs=1, run=tmp_path / "run", cache=tmp_path / "cache", quiet=True)
    learner.fit(check=False)
    assert fb.Dataset.from_source(folds[1].source).rows("valid").tolist() == folds[1].rows("valid").tolist()


def test_equal_trainings_end_with_equal_weights(tmp_path: Path) -> None:
    """Crops, stretches, rooms and stripes: all of it depends on seed and step alone."""
    write_tones(tmp_path / "tones", each=8)

    def learner(run: str, epochs: int) -> fb.Learner:
        return fb.Learner(fb.Dataset.from_folder(tmp_path / "tones"), epochs=epochs, run=tmp_path / run, quiet=True,
                          augment="strong", schedule="constant", seed=3, cache=tmp_path / "cache",
                          **{"fields.audio.length": 0.3, "fields.audio.segment": "crop"})  # fmt: skip

    first, second = learner("a", 2), learner("b", 2)
    first.fit(check=False)
    second.fit(check=False)
    for a, b in zip(first.objective.model.parameters(), second.objective.model.parameters(), strict=True):
        assert torch.equal(a, b)
