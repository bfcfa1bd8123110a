"""Folders, tables, frames and arrays become Datasets, or one line says where they do not and what to do."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import polars
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits, load_wine

from flambeau.core.errors import DataError, UsageError
from flambeau.data.dataset import Dataset
from flambeau.data.sources.opening import from_path
from flambeau.data.split import Split
from flambeau.data.store.encode import EncodeOptions, encode
from flambeau.fields import Category, Image, MultiLabel, Number, Tokens


def take(digits_folder: Path, dest: Path, classes: str, number: int, start: int = 0) -> Path:
    """The first pictures of some classes under `dest/<class>/`."""
    for name in classes:
        (dest / name).mkdir(parents=True, exist_ok=True)
        for file in sorted((digits_folder / name).iterdir())[start : start + number]:
            shutil.copyfile(file, dest / name / file.name)
    return dest


# -- folders ------------------------------------------------------------------------------------------------------


def test_a_folder_of_class_folders(digits_folder: Path) -> None:
    data = Dataset.from_folder(digits_folder)
    assert len(data) == 1797 and data.inputs == ["image"] and data.target == "label"
    assert isinstance(data.fields["image"], Image) and isinstance(data.fields["label"], Category)
    assert set(data.columns["label"]) == set("0123456789")
    for row in (0, 900, 1796):
        assert data.place(row) == f"{data.columns['label'][row]}/{Path(data.columns['image'][row]).name}"
    train = np.asarray(data.columns["label"])[data.rows("train")]
    shares = {c: n / len(data.rows("train")) for c, n in Counter(train.tolist()).items()}
    assert all(abs(s - 0.1) < 0.005 for s in shares.values()), "stratified by default"


def test_the_same_folder_elsewhere_is_split_alike(digits_folder: Path, tmp_path: Path) -> None:
    for name in ("here", "there/deeper"):
        take(digits_folder, tmp_path / name, "01", 30)
    here, there = (Dataset.from_folder(tmp_path / n) for n in ("here", "there/deeper"))
    assert here.split.tolist() == there.split.tolist()


def test_a_file_added_to_another_class_moves_nothing(digits_folder: Path, tmp_path: Path) -> None:
    folder = take(digits_folder, tmp_path, "012", 30)
    before = Dataset.from_folder(folder)
    sides = dict(zip(before.keys or [], before.split.tolist(), strict=True))
    take(digits_folder, folder, "1", 7, start=100)
    take(digits_folder, folder, "3", 10)
    after = Dataset.from_folder(folder)
    for key, side in zip(after.keys or [], after.split.tolist(), strict=True):
        if key[0] in "02":
            assert sides[key] == side


def test_train_valid_and_test_folders_are_used(digits_folder: Path, tmp_path: Path) -> None:
    take(digits_folder, tmp_path / "train", "01", 20)
    take(digits_folder, tmp_path / "Val", "01", 10, start=20)
    take(digits_folder, tmp_path / "test", "01", 5, start=30)
    data = Dataset.from_folder(tmp_path)
    assert [len(data.rows(s)) for s in ("train", "valid", "test")] == [40, 20, 10]
    for row in data.rows("test"):
        assert data.place(row).startswith("test/")
    assert Counter(data.columns["label"]) == {"0": 35, "1": 35}


def test_without_a_valid_folder_a_share_of_the_training_rows_validates(digits_folder: Path, tmp_path: Path) -> None:
    take(digits_folder, tmp_path / "train", "01", 20)
    take(digits_folder, tmp_path / "test", "01", 5, start=30)
    data = Dataset.from_folder(tmp_path, split=Split(valid=0.25))
    assert [len(data.rows(s)) for s in ("train", "valid", "test")] == [30, 10, 10]
    assert Counter(data.columns["label"][r] for r in data.rows("valid")) == {"0": 5, "1": 5}
    without = Dataset.from_folder(tmp_path, split=Split(valid=0.0))
    assert [len(without.rows(s)) for s in ("train", "valid", "test")] == [40, 0, 10]


def test_what_lies_elsewhere_is_left_out_and_told(digits_folder: Path, tmp_path: Path) -> None:
    take(digits_folder, tmp_path / "train", "01", 5)
    (tmp_path / "train" / "empty").mkdir()
    shutil.copyfile(next((digits_folder / "0").iterdir()), tmp_path / "train" / "loose.png")
    shutil.copyfile(next((digits_folder / "0").iterdir()), tmp_path / "stray.png")
    (tmp_path / "train" / "0" / "notes.doc").write_text("Notes.")
    (tmp_path / "train" / "0" / ".hidden.png").write_text("…")
    data = Dataset.from_folder(tmp_path)
    assert len(data) == 10
    found = {f.check: f.places for f in data.findings}
    assert found["other-files"] == ["train/0/notes.doc"]
    assert found["empty-class"] == ["empty"]
    outside = [p for f in data.findings if f.check == "outside" for p in f.places]
    assert sorted(outside) == ["stray.png", "train/loose.png"]


def test_labels_in_file_names_as_esc50_has_them(digits_folder: Path, tmp_path: Path) -> None:
    pictures = sorted((digits_folder / "4").iterdir())
    for i in range(40):
        name = f"{i % 5 + 1}-{1000 + i // 2}-{'AB'[i % 2]}-{i % 4}.png"
        shutil.copyfile(pictures[i], tmp_path / name)
    pattern = "{fold}-{clip}-{take}-{class}.wav".replace("wav", "png")
    data = Dataset.from_folder(tmp_path, pattern=pattern, split=Split("grouped", by="clip"))
    assert set(data.columns["label"]) == {"0", "1", "2", "3"} and set(data.columns["fold"]) == set("12345")
    assert data.inputs == ["image"], "fold and clip are to split by, not to learn from"
    clips = np.asarray(data.columns["clip"])
    assert not set(clips[data.rows("train")]) & set(clips[data.rows("valid")])


def test_patterns_may_leave_the_ending_out_and_have_separators_in_classes(digits_folder: Path, tmp_path: Path) -> None:
    for i, name in enumerate(["ab-cd_1", "ab_2", "x-y_z_3"]):
        shutil.copyfile(sorted((digits_folder / "4").iterdir())[i], tmp_path / f"{name}.png")
    data = Dataset.from_folder(tmp_path, pattern="{class}_{number}", split="none")
    assert sorted(data.columns["label"]) == ["ab", "ab-cd", "x-y_z"]


def test_what_is_wrong_with_a_folder_is_told_in_a_line(digits_folder: Path, tmp_path: Path) -> None:
    take(digits_folder, tmp_path / "photos", "01", 3)
    flat = take(digits_folder, tmp_path / "flat", "0", 3) / "0"
    (tmp_path / "void").mkdir()
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "a.doc").write_text("words")
    cases: list[tuple[Any, str]] = [
        (lambda: Dataset.from_folder(tmp_path / "fotos"), r"fotos: there is no such folder; did you mean 'photos'\?"),
        (
            lambda: Dataset.from_folder(flat / "00000.png"),
            "this is a file; expected a folder, an archive of one, or a table",
        ),
        (lambda: Dataset.from_folder(tmp_path / "void"), "void: the folder holds no files .* put one folder per class"),
        (lambda: Dataset.from_folder(tmp_path / "words"), "words: the folder holds no files that Flambeau can read"),
        (lambda: Dataset.from_folder(flat), "the 3 files lie flat .* give a pattern such as"),
        (lambda: Dataset.from_folder(flat, pattern="{class}-{n}"), "3 of 3 file names do not fit .* mend the pattern"),
        (lambda: Dataset.from_folder(tmp_path / "photos", split="given"), "does not say which rows train .* train/"),
        (lambda: Dataset.from_folder(tmp_path / "photos", fields={"picture": Image()}), "given for 'picture'"),
    ]
    for make, message in cases:
        with pytest.raises(DataError, match=message):
            make()
    with pytest.raises(UsageError, match=r"does not say where the class is; write \{class\}"):
        Dataset.from_folder(flat, pattern="{label}_{n}")


# -- tables and frames --------------------------------------------------------------------------------------------


@pytest.fixture
def table(digits_folder: Path, tmp_path: Path) -> polars.DataFrame:
    """Pictures beside the table, by relative paths."""
    take(digits_folder, tmp_path / "pictures", "0123", 10)
    rows = [(f"pictures/{c}/{p.name}", c, p.stem, int(c) % 2) for c in "0123" for p in
            sorted((tmp_path / "pictures" / c).iterdir())]  # fmt: skip
    return polars.DataFrame(rows, schema=["file", "label", "writer", "odd"], orient="row")


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "jsonl"])
def test_tables_with_a_path_column(ending: str, table: polars.DataFrame, tmp_path: Path) -> None:
    file = tmp_path / f"table.{ending}"
    write: Any = {"csv": table.write_csv, "parquet": table.write_parquet, "jsonl": table.write_ndjson,
             "tsv": lambda f: table.write_csv(f, separator="\t")}[ending]  # fmt: skip
    write(file)
    data = Dataset.from_table(file)
    assert data.inputs == ["file"] and isinstance(data.fields["file"], Image)
    assert data.target == "label" and len(data) == 40
    data.fit()
    assert len(encode(data, EncodeOptions(tmp_path / "store")).good) == 40, "paths are relative to the table"
    assert data.place(0).startswith("row 1 (")
    other = Dataset.from_table(file, target="odd")
    assert other.target == "odd" and other.inputs == ["file"]


def test_a_table_moved_with_its_pictures_is_split_alike(table: polars.DataFrame, tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(tmp_path / "pictures", tmp_path / name / "pictures")
        table.write_csv(tmp_path / name / "table.csv")
    first, second = (Dataset.from_table(tmp_path / n / "table.csv") for n in "ab")
    assert first.split.tolist() == second.split.tolist()


def test_a_column_called_split_is_used(table: polars.DataFrame, tmp_path: Path) -> None:
    table.with_columns(split=polars.Series(["train", "val", "test", "train"] * 10)).write_csv(tmp_path / "t.csv")
    data = Dataset.from_table(tmp_path / "t.csv")
    assert [len(data.rows(s)) for s in ("train", "valid", "test")] == [20, 10, 10]
    random = Dataset.from_table(tmp_path / "t.csv", split="random")
    assert len(random.rows("test")) == 0


@pytest.mark.parametrize("library", ["polars", "pandas"])
def test_frames_of_numbers(library: str) -> None:
    wine = load_wine(as_frame=True)
    frame = wine.frame if library == "pandas" else polars.from_pandas(wine.frame)
    data = Dataset.from_frame(frame)
    assert data.target == "target" and len(data.inputs) == 13
    assert all(isinstance(data.fields[c], Number) for c in data.inputs)
    assert isinstance(data.fields["target"], Category)
    diabetes = load_diabetes(as_frame=True).frame
    numbers = Dataset.from_frame(diabetes if library == "pandas" else polars.from_pandas(diabetes))
    assert isinstance(numbers.fields["target"], Number)


@pytest.mark.parametrize("library", ["polars", "pandas"])
def test_missing_values_in_frames_are_named_with_their_rows(library: str, tmp_path: Path) -> None:
    columns: dict[str, list[Any]] = {"x": [0.5, None, 2.5, 3.5] * 10, "y": ["a", "b", "a", None] * 10}
    frame = pandas.DataFrame(columns) if library == "pandas" else polars.DataFrame(columns)
    data = Dataset.from_frame(frame, target="y")
    data.fit()
    store = encode(data, EncodeOptions(tmp_path))
    assert len(store.good) == 20
    assert sorted(p for f in store.findings for p in f.places)[:2] == ["row 10", "row 12"]


def test_what_is_wrong_with_a_table_is_told_in_a_line(table: polars.DataFrame, tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    table.write_csv(file)
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "no.parquet").write_text("this is not parquet")
    (tmp_path / "no.jsonl").write_text("{this is not JSON}\n")
    (tmp_path / "none.csv").write_text("a,b\n1,2\n")
    cases: list[tuple[Any, str]] = [
        (lambda: Dataset.from_table(tmp_path / "tabel.csv"), "tabel.csv: there is no such file"),
        (lambda: Dataset.from_table(file, target="lable"), "table.csv: there is no column 'lable'; did you mean"),
        (lambda: Dataset.from_table(file, inputs=["fiel"]), "there is no column 'fiel'; did you mean 'file'"),
        (lambda: Dataset.from_table(tmp_path / "none.csv"), "no column of .*none.csv looks like .* known: a, b"),
        (lambda: Dataset.from_table(tmp_path / "empty.csv"), "empty.csv: the file is empty"),
        (lambda: Dataset.from_table(tmp_path / "no.parquet"), "no.parquet: the table cannot be read"),
        (lambda: Dataset.from_table(tmp_path / "no.jsonl"), "no.jsonl: line 1 is not JSON"),
        (lambda: Dataset.from_table(tmp_path / "pictures" / "a.xlsx"), "there is no such file"),
        (lambda: Dataset.from_table(file, split="given"), "there is no column 'split'; expected one with train, valid"),
        (lambda: Dataset.from_table(file, split=Split("time", by="wirter")), "did you mean 'writer'"),
    ]
    for make, message in cases:
        with pytest.raises(DataError, match=message):
            make()


# -- arrays -------------------------------------------------------------------------------------------------------

DIGITS = load_digits()
GREY = np.rint(DIGITS.images[:60] * (255 / 16)).astype(np.uint8)
COLOUR = np.stack([GREY, GREY // 2, 255 - GREY], -1)
TEXTS = [str(t) for t in DIGITS.target[:60]]


@pytest.mark.parametrize(
    ("x", "shape"),
    [
        (GREY, (8, 8, 1)),
        (GREY[..., None], (8, 8, 1)),
        (COLOUR, (8, 8, 3)),
        (COLOUR.transpose(0, 3, 1, 2) / 255, (8, 8, 3)),
        (COLOUR.transpose(0, 3, 1, 2), (8, 8, 3)),
        (GREY[:, None] / 255.0, (8, 8, 1)),
        (torch.from_numpy(GREY), (8, 8, 1)),
        (torch.from_numpy(COLOUR.transpose(0, 3, 1, 2).copy()).float() / 255, (8, 8, 3)),
        (list(COLOUR), (8, 8, 3)),
        (list(torch.from_numpy(COLOUR)), (8, 8, 3)),
        (COLOUR[:, ::-1, ::-1], (8, 8, 3)),
        (np.concatenate([COLOUR, np.full((60, 8, 8, 1), 255, np.uint8)], -1), (8, 8, 3)),
    ],
    ids=["HW", "HW1", "HWC", "CHW floats", "CHW", "1HW floats", "tensor", "tensor CHW", "list", "list of tensors",
         "a view", "RGBA"],
)  # fmt: skip
def test_pictures_in_any_layout_become_the_same_bytes(x: Any, shape: tuple[int, ...], tmp_path: Path) -> None:
    data = Dataset.from_arrays(x, TEXTS)
    assert isinstance(data.fields["x"], Image) and data.target == "y"
    data.fit()
    store = encode(data, EncodeOptions(tmp_path))
    stored = store.gather(torch.arange(60))["x"].numpy()
    expected = GREY[..., None] if shape[-1] == 1 else COLOUR
    if isinstance(x, np.ndarray) and x.strides[1] < 0:
        expected = expected[:, ::-1, ::-1]
    assert stored.shape == (60, *shape) and np.array_equal(stored, expected)


def test_read_only_arrays_are_taken_without_a_word(recwarn: pytest.WarningsRecorder, tmp_path: Path) -> None:
    x = GREY.copy()
    x.flags.writeable = False
    data = Dataset.from_arrays(x, TEXTS)
    data.fit()
    encode(data, EncodeOptions(tmp_path))
    assert not recwarn.list


def test_vectors_and_several_inputs() -> None:
    wine = load_wine()
    data = Dataset.from_arrays(wine.data, wine.target)
    data.fit()
    assert isinstance(data.fields["x"], Number) and data.fields["x"].input_shape == (13,)
    both = Dataset.from_arrays({"picture": GREY, "ink": GREY.mean((1, 2))}, DIGITS.target[:60])
    assert both.inputs == ["picture", "ink"]
    assert [both.fields[c].kind for c in both.inputs] == ["image", "number"]


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        (DIGITS.target[:60], Category),
        (DIGITS.target[:60].astype(float), Category),
        (torch.from_numpy(DIGITS.target[:60]), Category),
        (list(torch.from_numpy(DIGITS.target[:60])), Category),
        (DIGITS.target[:60, None], Category),
        (pandas.Series(TEXTS), Category),
        (np.asarray(TEXTS), Category),
        (DIGITS.target[:60] % 2 == 0, Category),
        (GREY.mean((1, 2)), Number),
        (GREY.mean((1, 2))[:, None], Number),
        ([["even"] if t % 2 == 0 else ["odd", "other"] for t in DIGITS.target[:60]], MultiLabel),
        ([("even;small", "odd;small", "odd")[t % 3] for t in DIGITS.target[:60]], MultiLabel),
    ],
)
def test_targets_in_any_form(y: Any, kind: type, tmp_path: Path) -> None:
    data = Dataset.from_arrays(GREY, y)
    assert isinstance(data.fields["y"], kind)
    data.fit()
    assert len(encode(data, EncodeOptions(tmp_path)).good) == 60
    if kind is Category and len(data.fields["y"].classes) == 10:  # type: ignore[attr-defined]
        assert data.fields["y"].classes == list("0123456789"), "1, 1.0 and '1' are one class"  # type: ignore[attr-defined]
    if kind is Number:
        assert data.fields["y"].encoding.shape == ()


def test_paths_in_an_array_are_files(digits_folder: Path, tmp_path: Path) -> None:
    paths = sorted(digits_folder.rglob("*.png"))[:40]
    data = Dataset.from_arrays(np.asarray([str(p) for p in paths]), [p.parent.name for p in paths])
    data.fit()
    encode(data, EncodeOptions(tmp_path))
    assert list(tmp_path.glob("*/flat.bin")), "kept in a store, and not in memory"


def test_given_sides_of_arrays() -> None:
    parts = {"valid": (GREY[40:50], TEXTS[40:50]), "test": (GREY[50:], TEXTS[50:])}
    data = Dataset.from_arrays(GREY[:40], TEXTS[:40], **parts)
    assert [len(data.rows(s)) for s in ("train", "valid", "test")] == [40, 10, 10]
    assert np.array_equal(data.take("x", data.rows("test")), GREY[50:])


@pytest.mark.parametrize("y", [DIGITS.target, DIGITS.images.mean((1, 2))])
def test_a_share_validates_where_only_a_test_side_is_given(y: np.ndarray) -> None:
    data = Dataset.from_arrays(DIGITS.images[:1000] / 16, y[:1000], test=(DIGITS.images[1000:] / 16, y[1000:]))
    assert len(data.rows("test")) == 797
    assert len(data.rows("valid")) == pytest.approx(200, abs=5)


def test_what_is_wrong_with_arrays_is_told() -> None:
    with pytest.raises(DataError, match=r"different lengths: \{'x': 60, 'y': 59\}; expected one length"):
        Dataset.from_arrays(GREY, TEXTS[:59])
    with pytest.raises(DataError, match="the valid part has x; expected x, y"):
        Dataset.from_arrays(GREY[:40], TEXTS[:40], valid=(GREY[40:], None))
    with pytest.raises(DataError, match="no rows"):
        Dataset.from_arrays(GREY[:0], [])
    with pytest.raises(DataError, match=r"column 'x': no kind of field suits .* set one by hand"):
        Dataset.from_arrays([{}, {}], ["a", "b"])
    with pytest.raises(DataError, match="a field is given for 'z', but there is no such column"):
        Dataset.from_arrays(GREY, TEXTS, fields={"z": Image()})


# -- recipes and paths --------------------------------------------------------------------------------------------


def test_a_dataset_comes_back_from_its_source(digits_folder: Path, table: polars.DataFrame, tmp_path: Path) -> None:
    table.write_csv(tmp_path / "table.csv")
    for data in (
        Dataset.from_folder(digits_folder, split=Split("stratified", valid=0.3, seed=4)),
        Dataset.from_table(tmp_path / "table.csv", target="odd", split=Split("grouped", by="writer", valid=0.4)),
    ):
        again = Dataset.from_source(data.source)
        assert again.split.tolist() == data.split.tolist()
        assert again.columns.keys() == data.columns.keys() and again.target == data.target
        assert list(again.columns[again.inputs[0]]) == list(data.columns[data.inputs[0]])


def test_kinds_set_by_hand_come_back_with_their_split(digits_folder: Path, tmp_path: Path) -> None:
    """Else a resumed training, or an evaluation, takes other rows: classes are split alike, and numbers are not."""
    polars.DataFrame({"x": range(300), "y": [i * i % 4 for i in range(300)]}).write_csv(tmp_path / "table.csv")
    (tmp_path / "sentences.conll").write_text("".join(f"w{i} A\nx B\n\n" for i in range(60)))
    for data in (
        Dataset.from_table(tmp_path / "table.csv", target="y", fields={"y": Number()}),
        Dataset.from_folder(digits_folder, fields={"label": Number()}),
        Dataset.from_tagged(tmp_path / "sentences.conll", fields={"tokens": Tokens(max_length=7)}),
    ):
        again = Dataset.from_source(json.loads(json.dumps(data.source)))
        assert again.split.tolist() == data.split.tolist()
        assert {n: f.chosen() for n, f in again.fields.items()} == {n: f.chosen() for n, f in data.fields.items()}


def test_data_in_memory_does_not_come_back_by_itself() -> None:
    with pytest.raises(DataError, match="in memory, which its recipe cannot bring back; make the same Learner"):
        Dataset.from_source(Dataset.from_arrays(GREY, TEXTS).source)


def test_from_path_knows_folders_tables_and_archives(
    digits_folder: Path, table: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table.write_csv("table.csv")
    take(digits_folder, tmp_path / "photos", "01", 4)
    shutil.make_archive("photos", "zip", tmp_path, "photos")
    assert len(from_path("table.csv")) == 40
    assert len(from_path("photos")) == len(from_path("photos.zip")) == 8
    with pytest.raises(UsageError, match="photos: target is for tables"):
        from_path("photos", target="label")


def test_frames_whose_columns_are_numbers_or_mixed(tmp_path: Path) -> None:
    data = Dataset.from_frame(
        pandas.DataFrame({0: ["a b c d e f", "g h i j k l"] * 9, 1: ["x", "y"] * 9}), target=1, inputs=[0]
    )
    assert data.inputs == ["0"] and data.target == "1"
    with pytest.raises(DataError, match="make each column of one kind"):
        Dataset.from_frame(pandas.DataFrame({"text": ["a", 1, "b"], "label": ["x", "y", "x"]}), target="label")
    with pytest.raises(DataError, match="the input 'text' is given twice"):
        Dataset({"text": ["a"], "y": ["b"]}, target="y", inputs=["text", "text"])
    (tmp_path / "book.docx").write_bytes(b"PK")
    with pytest.raises(DataError, match="this is a file; expected a folder"):
        from_path(tmp_path / "book.docx")


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl", "json", "arff", "npz", "ts", "zip", "tar.gz", "conll"])
def test_a_pipe_in_place_of_a_file_is_told_and_not_waited_for(ending: str, tmp_path: Path) -> None:
    from flambeau.data.sources.opening import from_path

    os.mkfifo(tmp_path / f"pipe.{ending}")
    (tmp_path / f"endless.{ending}").symlink_to("/dev/zero")
    for name in ("pipe", "endless"):
        with pytest.raises(DataError) as told:
            from_path(tmp_path / f"{name}.{ending}")
        assert f"{name}.{ending}" in str(told.value)
