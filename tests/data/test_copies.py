"""Copies of a row are on its side of a split; without copies a split is as it ever was."""

import os
import shutil

import numpy as np
import polars as pl
import pytest
from PIL import Image

import flambeau as fb
from flambeau.core.errors import UsageError
from flambeau.data.copies import contents
from flambeau.data.split import TEST, TRAIN, VALID, Split

WORDS = [f"this is the review number {i} of a film" for i in range(300)]


def test_texts_that_are_equal_are_on_one_side_and_it_is_said():
    texts = [*WORDS, *(f"  {text.upper()} " for text in WORDS[:60])]
    labels = [str(row % 2) for row in range(360)]
    data = fb.Dataset({"text": texts, "label": labels}, target="label")
    assert (data.split[300:] == data.split[:60]).all() and {*data.split.tolist()} == {TRAIN, VALID, TEST}
    [said] = [f for f in data.findings if f.check == "kept-together"]
    assert "copies of other rows (60)" in said.message
    assert f"; {said.count} of them put with their copies)" in data.describe()
    assert not [f for f in data.check() if f.check == "leakage"]
    again = fb.Dataset({"text": texts, "label": labels}, target="label")
    assert (again.split == data.split).all()
    for fold in data.folds(5):
        assert (fold.split[300:] == fold.split[:60]).all()


def test_a_split_without_copies_and_one_of_before_are_as_they_were(tmp_path):
    labels = [str(row % 3) for row in range(300)]
    data = fb.Dataset({"text": WORDS, "label": labels}, target="label")
    assert (data.split == Split("stratified").assign(range(300), labels)).all()

    rows = pl.DataFrame({"text": [*WORDS, *WORDS[:60]], "label": [*labels, *labels[:60]]})
    rows.write_csv(tmp_path / "t.csv")
    now = fb.Dataset.from_table(tmp_path / "t.csv", target="label")
    assert (fb.Dataset.from_source(now.source).split == now.split).all()
    before = {**now.source, "split": {k: v for k, v in now.source["split"].items() if k != "together"}}
    drawn = fb.Dataset.from_source(before).split
    assert (drawn != now.split).any()  # what a run of before held out is held out still
    assert (drawn == fb.Dataset.from_table(tmp_path / "t.csv", target="label", split=Split(together=False)).split).all()


def test_files_are_copies_byte_for_byte_whatever_they_are_called(tmp_path):
    random = np.random.default_rng(0)
    for number in range(60):
        folder = tmp_path / "f" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (8, 8), dtype=np.uint8)).save(folder / f"{number}.bmp")
    for number in range(12):
        shutil.copy(tmp_path / "f" / "a" / f"{2 * number}.bmp", tmp_path / "f" / "b" / f"copy-{2 * number}.bmp")
    data = fb.Dataset.from_folder(tmp_path / "f")
    place = {data.place(row): row for row in range(len(data))}
    for number in range(12):
        one, copy = place[f"a/{2 * number}.bmp"], place[f"b/copy-{2 * number}.bmp"]
        assert data.split[one] == data.split[copy]
    assert (data.firsts != np.arange(72)).sum() == 12


def test_what_cannot_be_read_is_a_copy_of_nothing(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 5000)
    (tmp_path / "b").write_bytes(b"x" * 4999 + b"y")
    os.mkfifo(tmp_path / "pipe")
    files = [str(tmp_path / name) for name in ("a", "b", "pipe", "gone")]
    known = contents([*files, None, files[0]])
    assert known[2] is known[3] is known[4] is None and known[0] == known[5] != known[1]


def test_equal_numbers_and_classes_need_not_be_copies():
    sizes = [float(row % 7) for row in range(300)]
    data = fb.Dataset({"size": sizes, "label": [str(row % 2) for row in range(300)]}, target="label")
    assert (data.firsts == np.arange(300)).all()


@pytest.mark.parametrize("many", [50, 200])
def test_what_is_there_too_often_for_a_part_trains_and_no_class_is_lost(many):
    texts = [*WORDS[: 300 - many], *["the same again and again"] * many]
    data = fb.Dataset({"text": texts, "label": ["a"] * (300 - many) + ["b"] * many}, target="label", split="random")
    assert {*data.split.tolist()} == {TRAIN, VALID, TEST}
    assert (data.split[300 - many :] == TRAIN).all()


def test_names_in_a_pattern_group_files_of_class_folders(tmp_path):
    for number in range(80):
        folder = tmp_path / "f" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"kit{number // 8}_{number}.txt").write_text(f"text number {number}")
    data = fb.Dataset.from_folder(tmp_path / "f", pattern="{kit}_{n}.txt", split=Split(by="kit"))
    kits = np.asarray(data.columns["kit"])
    assert {*data.columns["label"]} == {"a", "b"} and data.inputs == ["text"]
    parts = [{*kits[data.split == part]} for part in (TRAIN, VALID)]
    assert parts[0] and parts[1] and not parts[0] & parts[1]
    assert (fb.Dataset.from_source(data.source).split == data.split).all()


def test_rows_that_are_alike_are_on_one_side_where_it_is_asked_for(tmp_path):
    """Pictures once more as a JPEG, a little brighter; texts with one word changed."""
    random = np.random.default_rng(0)
    for number in range(80):
        coarse = Image.fromarray(random.integers(0, 200, (6, 6, 3), dtype=np.uint8))
        picture = coarse.resize((48, 48), Image.Resampling.BICUBIC)
        folder = tmp_path / "f" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        picture.save(folder / f"{number:02}.png")
        if number < 24:
            picture.point(lambda v: min(255, v + 12)).save(folder / f"{number:02}-again.jpg", quality=70)
    data = fb.Dataset.from_folder(tmp_path / "f", split=Split(together="near"))
    place = {data.place(row): row for row in range(len(data))}
    twins = [(place[f"{k}/{n:02}.png"], place[f"{k}/{n:02}-again.jpg"]) for n in range(24) for k in "ab"[n % 2]]

    def apart(split: np.ndarray) -> int:
        return sum(split[one] != split[other] for one, other in twins)

    assert apart(data.split) == 0 and {*data.split.tolist()} == {TRAIN, VALID}
    assert apart(fb.Dataset.from_folder(tmp_path / "f").split) > 0
    [said] = [f for f in data.findings if f.check == "kept-together"]
    assert "and rows like them (24)" in said.message and "near-leakage" not in {f.check for f in data.check()}
    assert (fb.Dataset.from_source(data.source).split == data.split).all()
    for fold in data.folds(4):
        assert apart(fold.split) == 0 and len([f for f in fold.findings if f.check == "kept-together"]) == 1

    words = [" ".join(random.choice([*WORDS[0].split(), *"abcdefghijklmnopqrstuvwxyz"], 40)) for _ in range(80)]
    texts = [*words, *(f"{text} indeed" for text in words[:20])]
    data = fb.Dataset({"text": texts, "label": ["x", "y"] * 50}, target="label", split=Split(together="near"))
    assert (data.split[80:] == data.split[:20]).all()


def test_what_keeps_no_rows_together_says_so():
    with pytest.raises(UsageError, match="'grouped' keeps no rows together that are alike"):
        Split("grouped", by="kit", together="near")
