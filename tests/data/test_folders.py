"""Folders as people have them: what is data, what is a class, what is a side of the split."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image as PILImage

from flambeau import Dataset
from flambeau.core.errors import DataError
from flambeau.data.sources.walk import walk
from flambeau.data.split import NAMES


def put(root: Path, *folders: str, count: int = 4, ending: str = ".png") -> Path:
    """Small pictures in each of some folders."""
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            PILImage.new("L", (8, 8), i).save(root / folder / f"{i}{ending}", "PNG")
    return root


def classes(data: Dataset) -> dict[str, int]:
    return dict(Counter(data.columns["label"]))


def sides(data: Dataset) -> dict[str, int]:
    return {name: len(data.rows(name)) for name in NAMES}


def told(data: Dataset, check: str) -> Any:
    return next((f for f in data.findings if f.check == check), None)


# -- what is passed over ------------------------------------------------------------------------------------------


def test_thumbnails_and_hidden_files_are_no_data(tmp_path: Path) -> None:
    put(
        tmp_path,
        "cat",
        "dog",
        "cat/@eaDir",
        "cat/thumbnails",
        ".thumbnails",
        "__MACOSX/cat",
        "dog/.ipynb_checkpoints",
        "#recycle",
    )
    for name in ("._0.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / "cat" / name).write_bytes(b"\0\5\x16\7")
    data = Dataset.from_folder(tmp_path)
    assert classes(data) == {"cat": 4, "dog": 4}
    places = ["#recycle", ".thumbnails", "__MACOSX", "cat/@eaDir", "cat/thumbnails", "dog/.ipynb_checkpoints"]
    assert told(data, "hidden").places == places and told(data, "other-files") is None


@pytest.mark.parametrize("links", [{"cat/loop": ".."}, {"cat/loop": "..", "dog/loop": ".."}, {"cat/all": "/"},
                                   {"alias": "cat"}, {"cat/self": "."}, {"dog/next": "../cat"}])  # fmt: skip
def test_each_real_folder_is_read_once(links: dict[str, str], tmp_path: Path) -> None:
    put(tmp_path, "cat", "dog", count=12)
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    data = Dataset.from_folder(tmp_path)
    assert classes(data) == {"cat": 12, "dog": 12}
    assert told(data, "links").places == list(links)
    assert len(walk(tmp_path).files) == 24


def test_folders_that_are_links_elsewhere_are_read(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere", "cats", "dogs/deeper")
    (tmp_path / "data").mkdir()
    for name in ("cat", "dog"):
        (tmp_path / "data" / name).symlink_to(tmp_path / "elsewhere" / f"{name}s")
    data = Dataset.from_folder(tmp_path / "data")
    assert classes(data) == {"cat": 4, "dog": 4} and told(data, "links") is None


def test_pipes_and_devices_among_pictures_are_left_out(tmp_path: Path) -> None:
    put(tmp_path, "cat", "dog")
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    (tmp_path / "cat" / "endless.png").symlink_to("/dev/zero")
    (tmp_path / "dog" / "broken.png").symlink_to("nowhere.png")
    os.mkfifo(tmp_path / "dog" / "pipe")
    (finding, *others) = [f for f in Dataset.from_folder(tmp_path).check() if f.check == "unreadable"]
    places = [place for f in (finding, *others) for place in f.places]
    assert sorted(places) == ["cat/endless.png", "cat/pipe.png", "dog/broken.png"]


# -- names --------------------------------------------------------------------------------------------------------


def test_names_are_one_in_both_forms_of_unicode(tmp_path: Path) -> None:
    names = {form: [unicodedata.normalize(form, name) for name in ("café", "thé")] for form in ("NFC", "NFD")}
    put(tmp_path / "mixed" / "train", *names["NFC"])
    put(tmp_path / "mixed" / "valid", *names["NFD"])
    data = Dataset.from_folder(tmp_path / "mixed")
    assert classes(data) == {"café": 8, "thé": 8}
    assert all(Path(file).exists() for file in data.columns["image"]), "opened by its real name"
    here, there = (Dataset.from_folder(put(tmp_path / form, *names[form], count=20)) for form in names)
    assert here.split.tolist() == there.split.tolist(), "and split alike on each system"


def test_classes_that_differ_in_capitals_are_told(tmp_path: Path) -> None:
    data = Dataset.from_folder(put(tmp_path, "Cat", "cat", "dog"))
    assert any(f.check == "similar-classes" and "'Cat'" in f.message for f in data.check())
    numbers = Dataset.from_folder(put(tmp_path / "numbers", "01", "1", "10"))
    assert [f.places for f in numbers.check() if f.check == "similar-classes"] == [["01", "1"]]


# -- levels -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folders", "labels", "counts"),
    [
        (["train", "bus", "car"], {"train": 4, "bus": 4, "car": 4}, None),
        (["test", "cat", "dog"], {"test": 4, "cat": 4, "dog": 4}, None),
        (["train_data/a", "train_data/b", "test_data/a", "test_data/b"], {"a": 8, "b": 8}, (6, 2, 8)),
        (["Training/a", "Training/b", "Testing/a", "Testing/b"], {"a": 8, "b": 8}, (6, 2, 8)),
        (["dataset_train/a", "dataset_train/b", "val_images/a", "val_images/b"], {"a": 8, "b": 8}, (8, 8, 0)),
        (["training_set/a", "training_set/b", "test-set/a", "test-set/b"], {"a": 8, "b": 8}, (6, 2, 8)),
        (["train2017/a", "train2017/b", "val2017/a", "val2017/b"], {"a": 8, "b": 8}, (8, 8, 0)),
        (["train/train/a", "train/train/b", "test/images/a", "test/images/b"], {"a": 8, "b": 8}, (6, 2, 8)),
        (["a/train", "a/test", "b/train", "b/test"], {"a": 8, "b": 8}, (6, 2, 8)),
        (["a", "b", "test/a", "test/b"], {"a": 8, "b": 8}, (6, 2, 8)),
        (["photos/a", "photos/b"], {"a": 4, "b": 4}, None),
        (["photos/data/a", "photos/data/b"], {"a": 4, "b": 4}, None),
        (["photos/train/a", "photos/train/b", "photos/val/a"], {"a": 8, "b": 4}, (8, 4, 0)),
        (["a/one", "a/two", "b/one"], {"a": 8, "b": 4}, None),
        (["train/a", "train/b", "bus/a", "bus/b", "car/a"], {"train": 8, "bus": 8, "car": 4}, None),
    ],
)
def test_what_the_levels_of_a_folder_mean(
    folders: list[str], labels: dict[str, int], counts: tuple[int, ...] | None, tmp_path: Path
) -> None:
    data = Dataset.from_folder(put(tmp_path, *folders))
    assert classes(data) == labels
    if counts:
        assert tuple(sides(data).values()) == counts
    plain = ("Training/a", "train/train/a")  # which everybody would read so
    assert (told(data, "folder-levels") is None) == (folders[0] in plain)


def test_another_split_puts_the_folders_together(tmp_path: Path) -> None:
    put(tmp_path, "train/a", "train/b", "test/a", "test/b")
    for method in ("random", "none"):
        data = Dataset.from_folder(tmp_path, split=method)
        assert classes(data) == {"a": 8, "b": 8}
        assert (told(data, "folder-levels") is None) == (method == "none")


# -- kinds of files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "texts", [["{stem}.txt"], ["{stem}.txt", "classes.txt", "notes.txt"], ["{stem}_a.txt", "{stem}_b.txt"]]
)
def test_captions_beside_pictures_are_not_the_data(texts: list[str], tmp_path: Path) -> None:
    put(tmp_path, "cat", "dog")
    for picture in tmp_path.rglob("*.png"):
        for text in texts:
            (picture.parent / text.format(stem=picture.stem)).write_text("a photo")
    data = Dataset.from_folder(tmp_path)
    assert data.inputs == ["image"] and len(data) == 8
    assert ".txt" in told(data, "other-files").message


def test_a_stray_picture_among_texts_is_not_the_data(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(20):
            (tmp_path / name / f"text{i}.txt").write_text(f"text {i} of {name}")
    put(tmp_path, "a", count=1)
    assert Dataset.from_folder(tmp_path).inputs == ["text"]


@pytest.mark.parametrize("ending", [".JPG", ".Png", ".jfif", ".apng", ".tiff"])
def test_endings_in_any_case(ending: str, tmp_path: Path) -> None:
    assert len(Dataset.from_folder(put(tmp_path, "cat", "dog", ending=ending))) == 8


@pytest.mark.parametrize(("ending", "kind", "subtype"), [
    (".opus", "OGG", "OPUS"), (".oga", "OGG", "VORBIS"), (".aiff", "AIFF", "PCM_16"), (".AIF", "AIFF", "PCM_16"),
    (".au", "AU", "PCM_16"), (".wave", "WAV", "PCM_16"), (".w64", "W64", "PCM_16"), (".caf", "CAF", "PCM_16"),
    ("", "FLAC", "PCM_16"),
])  # fmt: skip
def test_sounds_that_libsndfile_reads(ending: str, kind: str, subtype: str, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(2):
            with (tmp_path / name / f"{i}{ending}").open("wb") as file:
                soundfile.write(file, np.sin(np.arange(4000) / 9), 16_000, format=kind, subtype=subtype)
    data = Dataset.from_folder(tmp_path, split="none")
    assert data.fields["audio"].kind == "audio" and len(data) == 4
    data.fit()
    assert np.abs(data.fields["audio"].encode(data.columns["audio"][0])).max() > 10_000


def test_pictures_without_an_ending_are_known_by_what_they_hold(tmp_path: Path) -> None:
    data = Dataset.from_folder(put(tmp_path, "cat", "dog", ending=""))
    assert data.fields["image"].kind == "image" and len(data) == 8
    assert told(data, "no-ending").count == 8


def test_folders_below_the_classes_are_told_of(tmp_path: Path) -> None:
    data = Dataset.from_folder(put(tmp_path, "felis/catus", "felis/silvestris", "canis/lupus", "canis/aureus"))
    assert classes(data) == {"felis": 8, "canis": 8}
    assert told(data, "folder-levels").places == ["canis/aureus", "canis/lupus", "felis/catus", "felis/silvestris"]
    assert told(Dataset.from_folder(put(tmp_path / "flat", "a", "b")), "folder-levels") is None


@pytest.mark.parametrize(
    ("folders", "beside", "message"),
    [
        (
            ["images/train", "images/val"],
            "labels/train/0.txt",
            r"flat in the folder, .*; what lies in 'labels' belongs to no picture",
        ),
        (["train/images", "valid/images"], "train/labels/0.txt", r"in the folder 'images' alone, .* in 'labels'"),
        (["JPEGImages"], "Annotations/0.xml", r"in the folder 'JPEGImages' alone, .* in 'Annotations' belongs"),
        (["images", "masks"], "notes.md", r"in images and masks, .* in 'masks' belongs to no picture"),
        (["."], "0.cls", r"flat in the folder, .*; .cls files of WebDataset are not read"),
    ],
)
def test_boxes_and_masks_are_no_classes(folders: list[str], beside: str, message: str, tmp_path: Path) -> None:
    put(tmp_path, *folders)
    (tmp_path / beside).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / beside).write_text("0 0.5 0.5 0.1 0.1")
    with pytest.raises(DataError, match=rf"files lie {message}"):
        Dataset.from_folder(tmp_path)


@pytest.mark.parametrize(
    "names", [("images", "val"), ("images", "photos"), ("masks", "gloves"), ("labels", "stickers")]
)
def test_classes_may_be_called_as_folders_are(names: tuple[str, str], tmp_path: Path) -> None:
    assert classes(Dataset.from_folder(put(tmp_path, *names))) == dict.fromkeys(sorted(names), 4)


def test_what_is_not_read_is_named_by_its_ending(tmp_path: Path) -> None:
    put(tmp_path / "some", "cat", "dog")
    for folder in ("some", "none"):
        (tmp_path / folder / "cat").mkdir(parents=True, exist_ok=True)
        for i in range(3):
            (tmp_path / folder / "cat" / f"a{i}.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
        (tmp_path / folder / "cat" / "a.xyz").write_text("")
    message = told(Dataset.from_folder(tmp_path / "some"), "other-files").message
    assert "3 .heic, which needs the package pillow-heif" in message and "1 .xyz" in message
    with pytest.raises(DataError, match=r"no files that Flambeau can read \(3 .heic, which needs .*; 1 .xyz\)"):
        Dataset.from_folder(tmp_path / "none")
