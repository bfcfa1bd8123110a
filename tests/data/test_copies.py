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
    data = fb.Dataset({"text": texts, "label": labels}, target="label", split=Split(together=True))
    assert (data.split[300:] == data.split[:60]).all() and {*data.split.tolist()} == {TRAIN, VALID, TEST}
    [said] = [f for f in data.findings if f.check == "kept-together"]
    assert "copies of other rows (60)" in said.message
    assert f"; {said.count} of them put with their copies)" in data.describe()
    assert not [f for f in data.check() if f.check == "leakage"]
    again = fb.Dataset({"text": texts, "label": labels}, target="label", split=Split(together=True))
    assert (again.split == data.split).all()
    for fold in data.folds(5):
        assert (fold.split[300:] == fold.split[:60]).all()


def test_a_split_without_copies_and_one_of_before_are_as_they_were(tmp_path):
    labels = [str(row % 3) for row in range(300)]
    data = fb.Dataset({"text": WORDS, "label": labels}, target="label", split=Split(together=True))
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
    assert apart(fb.Dataset.from_folder(tmp_path / "f", split=Split(together=True)).split) > 0
    [said] = [f for f in data.findings if f.check == "kept-together"]
    assert "and rows like them (24)" in said.message and "near-leakage" not in {f.check for f in data.check()}
    assert (fb.Dataset.from_source(data.source).split == data.split).all()
    for fold in data.folds(4):
        assert apart(fold.split) == 0 and len([f for f in fold.findings if f.check == "kept-together"]) == 1

    words = [" ".join(random.choice([*WORDS[0].split(), *"abcdefghijklmnopqrstuvwxyz"], 40)) for _ in range(80)]
    texts = [*words, *(f"{text} indeed" for text in words[:20])]
    data = fb.Dataset({"text": texts, "label": ["x", "y"] * 50}, target="label", split=Split(together="near"))
    assert (data.split[80:] == data.split[:20]).all()


def likely_known(data: fb.Dataset, features: np.ndarray) -> float:
    """The share of held-out rows whose label the most alike training row has."""
    labels, train, held = np.asarray(data.columns["label"]), data.rows("train"), data.rows("valid")
    nearest = ((features[held][:, None] - features[train]) ** 2).sum(2).argmin(1)
    return float((labels[train][nearest] == labels[held]).mean())


def test_validation_does_not_see_twins_of_what_was_learned_of_pictures_and_texts():
    """Labels are drawn: who knows nothing is right in a quarter of the rows, and who has seen a twin in nearly all."""
    random = np.random.default_rng(0)
    labels = [str(label) for label in random.integers(0, 4, 100)] * 2
    coarse = random.integers(0, 200, (100, 6, 6, 3), dtype=np.uint8)
    pictures = [Image.fromarray(one).resize((48, 48), Image.Resampling.BICUBIC) for one in coarse]
    pictures += [one.point(lambda v: min(255, v + 12)) for one in pictures]
    pixels = np.stack([np.asarray(one.resize((12, 12)), np.float64).ravel() for one in pictures])
    vocabulary = np.asarray([*WORDS[0].split(), *"abcdefghijklmnopqrstuvwxyz"])
    words = random.integers(0, len(vocabulary), (100, 40))
    words = np.concatenate([words, np.where(np.arange(40) == 7, (words + 1) % len(vocabulary), words)])
    texts = [" ".join(row) for row in vocabulary[words]]
    counts = (words[:, :, None] == np.arange(len(vocabulary))).sum(1)
    for name, values, features in (("picture", pictures, pixels), ("text", texts, counts)):
        columns = {name: values, "label": labels}
        apart = fb.Dataset(columns, target="label", split=Split(together=True, valid=0.3, test=0.0))
        data = fb.Dataset(columns, target="label", split=Split(valid=0.3, test=0.0))
        assert likely_known(apart, features) > 0.6 and likely_known(data, features) < 0.45
        assert not {f.check for f in data.check()} & {"near-leakage", "leakage"}


def test_of_too_many_pictures_or_texts_it_is_said_that_they_were_not_compared():
    texts = [f"{i} {'word ' * 20}" for i in range(20_001)]
    data = fb.Dataset({"text": texts, "label": ["a", "b", "c"] * 6_667}, target="label", inputs=["text"])
    [said] = [f for f in data.findings if f.check == "kept-together"]
    assert "texts that merely look alike may be in several parts" in said.message and "--split-near" in said.fix


def test_where_all_look_alike_the_split_is_as_drawn_and_says_so():
    random = np.random.default_rng(0)
    ground = random.integers(60, 180, (8, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(ground).resize((48, 48), Image.Resampling.BICUBIC)
    frames = [picture.point(lambda v, i=i: min(255, v + i // 8)) for i in range(240)]
    data = fb.Dataset({"frame": frames, "label": ["a", "b", "c"] * 80}, target="label")
    assert len(data.rows("valid")) + len(data.rows("test")) > 60
    assert any("too many rows look alike" in f.message for f in data.findings)


def test_what_keeps_no_rows_together_says_so():
    with pytest.raises(UsageError, match="'grouped' keeps no rows together that are alike"):
        Split("grouped", by="kit", together="near")
