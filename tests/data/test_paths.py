"""Tables about files: their names wherever these lie, and Parquet with the files in it."""

from __future__ import annotations

import io
import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
from PIL import Image as PILImage

from flambeau import Dataset, Learner
from flambeau.core.errors import DataError
from flambeau.core.files import read_bytes
from flambeau.data.sources.opening import from_path

COUNT = 12


def png(level: int) -> bytes:
    out = io.BytesIO()
    PILImage.new("L", (8, 8), 20 * level % 256).save(out, "PNG")
    return out.getvalue()


def wav(level: int) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, np.sin(np.arange(2000) / (9 + level)), 8000, format="WAV")
    return out.getvalue()


def pictures(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        (folder / name).write_bytes(png(i))


def table(path: Path, names: list[Any], column: str = "file", **more: list[Any]) -> Path:
    pl.DataFrame({column: names, **more, "label": ["ab"[i % 2] for i in range(len(names))]}).write_csv(path)
    return path


def images(data: Dataset) -> list[str]:
    (name,) = data.inputs
    assert data.fields[name].kind == "image"
    return [Path(value).name for value in data.columns[name]]


# -- names --------------------------------------------------------------------------------------------------------

NAMES = [f"a{i:02}.png" for i in range(COUNT)]


@pytest.mark.parametrize(
    ("written", "column"),
    [
        (NAMES, "file"),
        ([f"images/{n}" for n in NAMES], "file"),
        ([f"/kaggle/input/set/images/{n}" for n in NAMES], "path"),
        ([f"C:\\data\\images\\{n}" for n in NAMES], "path"),
        ([Path(n).stem for n in NAMES], "id_code"),
    ],
)
def test_files_are_found_beside_their_table(written: list[str], column: str, tmp_path: Path) -> None:
    pictures(tmp_path / "images", NAMES)
    file = table(tmp_path / "labels.csv", written, column)
    data = Dataset.from_table(file)
    assert images(data) == NAMES
    assert all(Path(value).exists() for value in data.columns[column])
    told = [f for f in data.findings if f.check == "files-found"]
    assert bool(told) == (not written[0].startswith("images/")) and all("images" in f.message for f in told)


@pytest.mark.parametrize(
    "written",
    [
        [f"images/{Path(n).stem}.JPEG" for n in NAMES],
        [n.upper() for n in NAMES],
        [f" images/{n} " for n in NAMES],
        [f"https://example.com/{n}?width=100" for n in NAMES],
    ],
)
def test_files_are_found_in_another_writing_and_with_another_ending(written: list[str], tmp_path: Path) -> None:
    pictures(tmp_path / "images", NAMES)
    data = Dataset.from_table(table(tmp_path / "labels.csv", written))
    assert images(data) == NAMES and any(f.check == "files-found" for f in data.findings)


@pytest.mark.parametrize("start", ["/home/other/set/images/", "C:\\set\\images\\"])
def test_files_of_one_name_in_two_folders_are_told_apart(start: str, tmp_path: Path) -> None:
    for folder in "ab":
        pictures(tmp_path / "images" / folder, NAMES)
    (tmp_path / "images" / "a" / "only.png").write_bytes(png(1))
    written = [f"{start}{'ab'[i % 2]}{start[-1]}{name}" for i, name in enumerate(NAMES)]
    data = Dataset.from_table(table(tmp_path / "labels.csv", [*written, f"{start}b{start[-1]}only.png"]))
    folders = [Path(value).parent.name for value in data.columns["file"][:COUNT]]
    assert folders == ["ab"[i % 2] for i in range(COUNT)]
    assert not Path(data.columns["file"][COUNT]).exists()  # it is missing, and not the one of that name elsewhere


def test_of_two_folders_each_with_captions_the_right_picture_is_read(tmp_path: Path) -> None:
    for folder in "ab":
        pictures(tmp_path / folder, NAMES)
        for name in NAMES:
            (tmp_path / folder / name).with_suffix(".txt").write_text("a caption")
    written = [f"/x/{'ab'[i % 2]}/{Path(name).stem}.JPEG" for i, name in enumerate(NAMES)]
    data = Dataset.from_table(table(tmp_path / "labels.csv", written))
    got = [Path(value).relative_to(tmp_path) for value in data.columns["file"]]
    assert got == [Path("ab"[i % 2], name) for i, name in enumerate(NAMES)]


@pytest.mark.parametrize("address", ["https://example.com/rows.csv", "hf://datasets/a/b"])
def test_addresses_are_not_fetched(address: str) -> None:
    with pytest.raises(DataError, match="an address on the web, which is not fetched"):
        from_path(address)
    with pytest.raises(DataError, match="an address on the web, which is not fetched"):
        read_bytes(Path(address))


def test_an_id_of_a_picture_with_a_caption_names_the_picture(tmp_path: Path) -> None:
    pictures(tmp_path / "images", NAMES)
    for name in NAMES:
        (tmp_path / "images" / name).with_suffix(".txt").write_text("a caption")
    data = Dataset.from_table(table(tmp_path / "labels.csv", [Path(n).stem for n in NAMES], "id"))
    assert images(data) == NAMES


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("https://example.com/{}.jpg", r"addresses, such as 'https://example.com/0.jpg', which are not fetched"),
        ("s3://bucket/{}.png", "not fetched"),
        ("scans/{}.dcm", r"12 .dcm, which is not read: save it as PNG or TIFF of 16 bits"),
        ("{}.m4a", "WAV or FLAC"),
    ],
)
def test_names_of_files_that_are_not_read_are_no_names_of_a_category(written: str, told: str, tmp_path: Path) -> None:
    names = [written.format(i) for i in range(COUNT)]
    with pytest.raises(DataError, match=told):
        Dataset.from_table(table(tmp_path / "labels.csv", names))
    file = table(tmp_path / "more.csv", names, size=[float(i) for i in range(COUNT)])
    data = Dataset.from_table(file)
    assert data.inputs == ["size"]
    assert any(f.check == "unread-files" and told.split(",")[0][-3:] in f.message for f in data.findings)
    with pytest.raises(DataError, match=told):
        Dataset.from_table(file, inputs=["file", "size"])


def test_numbers_are_ids_too(tmp_path: Path) -> None:
    pictures(tmp_path / "train_images", [f"{i}.png" for i in range(1, COUNT + 1)])
    data = Dataset.from_table(table(tmp_path / "train.csv", list(range(1, COUNT + 1)), "id"))
    assert images(data) == [f"{i}.png" for i in range(1, COUNT + 1)]


def test_train_csv_is_about_the_folder_train(tmp_path: Path) -> None:
    for folder in ("test", "train"):
        pictures(tmp_path / folder, NAMES)
    table(tmp_path / "train.csv", NAMES)
    pl.DataFrame({"file": NAMES}).write_csv(tmp_path / "test.csv")
    pl.DataFrame({"file": NAMES, "label": ["a"] * COUNT}).write_csv(tmp_path / "sample_submission.csv")
    data = from_path(tmp_path)
    assert images(data) == NAMES
    assert {Path(value).parent.name for value in data.columns["file"]} == {"train"}
    assert any("train.csv" in f.message for f in data.findings)


def test_a_run_on_ids_predicts_and_measures_by_ids(tmp_path: Path) -> None:
    from flambeau import Predictor
    from flambeau.cli.asked import Layout, asked
    from flambeau.evaluation import evaluate_run

    for folder in ("train", "test"):
        pictures(tmp_path / folder, NAMES)
    ids = [Path(n).stem for n in NAMES]
    file = table(tmp_path / "train.csv", ids, "id")
    Learner(Dataset.from_table(file), model="lenet", epochs=1, run=tmp_path / "run", quiet=True).fit(check=False)
    assert evaluate_run(tmp_path / "run", file)["samples"] == COUNT
    pl.DataFrame({"id": ids}).write_csv(tmp_path / "test.csv")
    for root, folder in ((None, "test"), (tmp_path / "train", "train")):
        values = list(asked([str(tmp_path / "test.csv")], Predictor.load(tmp_path / "run"), Layout(root=root)))
        assert {Path(value.value["id"]).parent.name for value in values} == {folder}


def test_where_the_files_lie_can_be_said(tmp_path: Path) -> None:
    pictures(tmp_path / "elsewhere", NAMES)
    (tmp_path / "tables").mkdir()
    file = table(tmp_path / "tables" / "labels.csv", NAMES)
    data = Dataset.from_table(file, root=tmp_path / "elsewhere")
    assert all(Path(value).exists() for value in data.columns["file"])
    again = Dataset.from_source(data.source)
    assert again.columns["file"] == data.columns["file"] and again.split.tolist() == data.split.tolist()


def test_names_in_both_forms_of_unicode_are_one_file(tmp_path: Path) -> None:
    names = [f"café{i:02}.png" for i in range(COUNT)]
    pictures(tmp_path / "images", [unicodedata.normalize("NFD", n) for n in names])
    data = Dataset.from_table(table(tmp_path / "labels.csv", names))
    assert all(Path(value).exists() for value in data.columns["file"])


def test_a_table_of_numbers_beside_pictures_stays_one(tmp_path: Path) -> None:
    pictures(tmp_path / "plots", ["loss.png"])
    numbers = [i * 1.5 for i in range(COUNT)]
    data = Dataset.from_table(table(tmp_path / "rows.csv", numbers, "size", width=numbers))
    assert data.inputs == ["size", "width"]


def test_a_folder_with_several_tables_asks_which(tmp_path: Path) -> None:
    pictures(tmp_path / "images", NAMES)
    for name in ("one.csv", "two.csv"):
        table(tmp_path / name, NAMES)
    with pytest.raises(DataError, match=r"several tables lie in the folder: one.csv, two.csv; say which"):
        from_path(tmp_path)


def test_class_folders_are_read_though_a_table_lies_beside_them(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        pictures(tmp_path / name, NAMES)
    table(tmp_path / "notes.csv", NAMES)
    data = from_path(tmp_path)
    assert data.inputs == ["image"] and set(data.columns["label"]) == {"cat", "dog"}


# -- contents -----------------------------------------------------------------------------------------------------


def hub(make: Any, *, with_bytes: bool = True, listed: bool = False) -> pl.DataFrame:
    """Rows as the Hugging Face Hub has them."""
    struct = pl.Struct({"bytes": pl.Binary, "path": pl.String})
    rows = [{"bytes": make(i) if with_bytes else None, "path": f"{i}.png"} for i in range(2 * COUNT)]
    values = [[row] for row in rows] if listed else rows
    return pl.DataFrame({"input": values, "label": [i % 2 for i in range(2 * COUNT)]},
                        schema_overrides={"input": pl.List(struct) if listed else struct})  # fmt: skip


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize(("kind", "make"), [("image", png), ("audio", wav)])
def test_bytes_in_structs_are_pictures_and_sounds(kind: str, make: Any, listed: bool, tmp_path: Path) -> None:
    hub(make, listed=listed).write_parquet(tmp_path / "hub.parquet")
    data = Dataset.from_table(tmp_path / "hub.parquet")
    assert data.inputs == ["input"] and data.fields["input"].kind == kind
    assert "(" not in data.place(3), "no bytes in a message"
    data.fit()
    assert data.fields["input"].encode(data.columns["input"][0]).size


def test_paths_in_structs_are_files(tmp_path: Path) -> None:
    pictures(tmp_path / "data", [f"{i}.png" for i in range(2 * COUNT)])
    hub(png, with_bytes=False).write_parquet(tmp_path / "hub.parquet")
    assert images(Dataset.from_table(tmp_path / "hub.parquet"))[0] == "0.png"


def test_a_column_of_bytes_beside_others(tmp_path: Path) -> None:
    frame = pl.DataFrame({"name": [f"n{i}" for i in range(COUNT)], "picture": [png(i) for i in range(COUNT)],
                          "label": [i % 2 for i in range(COUNT)]})  # fmt: skip
    frame.write_parquet(tmp_path / "a.parquet")
    assert Dataset.from_table(tmp_path / "a.parquet").inputs == ["picture"]


def test_a_run_on_such_a_table_predicts_and_measures_it(tmp_path: Path) -> None:
    from flambeau import Predictor
    from flambeau.cli.asked import Layout, asked
    from flambeau.evaluation import evaluate_run

    file = tmp_path / "hub.parquet"
    hub(png).write_parquet(file)
    learner = Learner(Dataset.from_table(file), model="lenet", epochs=1, run=tmp_path / "run", quiet=True)
    learner.fit(check=False)
    predictor = Predictor.load(tmp_path / "run")
    values = list(asked([str(file)], predictor, Layout()))
    assert len(values) == 2 * COUNT and all(len(value.name) < 40 for value in values)
    assert len(predictor.predict(pl.read_parquet(file))) == 2 * COUNT
    assert evaluate_run(tmp_path / "run", file)["samples"] == 2 * COUNT


def class_label(*names: str) -> dict[str, str]:
    feature = {"label": {"names": names, "_type": "ClassLabel"}, "text": {"dtype": "string", "_type": "Value"}}
    return {"huggingface": json.dumps({"info": {"features": feature}})}


def test_classes_have_the_names_that_a_parquet_file_gives_them(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"text": [f"a text {i}" for i in range(COUNT)], "label": [[1, 0, -1][i % 3] for i in range(12)]}
    )
    (tmp_path / "data").mkdir()
    for name in ("one.parquet", "data/train-00000-of-00001.parquet"):
        frame.write_parquet(tmp_path / name, metadata=class_label("neg", "pos"))
    for data in (Dataset.from_table(tmp_path / "one.parquet"), from_path(tmp_path / "data")):
        assert list(data.columns["label"][:3]) == ["pos", "neg", None]
        assert any(f.check == "class-names" for f in data.findings)
    frame.write_parquet(tmp_path / "damaged.parquet", metadata={"huggingface": "{"})
    assert list(Dataset.from_table(tmp_path / "damaged.parquet").columns["label"][:2]) == [1, 0]


def test_sounds_as_arrays_have_their_rate(tmp_path: Path) -> None:
    sounds = [{"array": (np.sin(np.arange(4000) / (9 + i))).tolist(), "sampling_rate": 8000, "path": f"{i}.wav"}
              for i in range(COUNT)]  # fmt: skip
    pl.DataFrame({"audio": sounds, "label": ["a", "b"] * 6}).write_parquet(tmp_path / "sounds.parquet")
    data = Dataset.from_table(tmp_path / "sounds.parquet")
    assert data.fields["audio"].kind == "audio"
    assert {soundfile.info(io.BytesIO(value)).samplerate for value in data.columns["audio"]} == {8000}


def test_a_folder_of_parts_is_one_table_with_its_split(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for i in range(2):
        hub(png).write_parquet(tmp_path / "data" / f"train-0000{i}-of-00002.parquet")
    hub(png).write_parquet(tmp_path / "data" / "test-00000-of-00001.parquet")
    data = from_path(tmp_path)
    assert len(data) == 6 * COUNT and len(data.rows("test")) == 2 * COUNT
    assert data.inputs == ["input"] and data.fields["input"].kind == "image"
    assert Dataset.from_source(data.source).split.tolist() == data.split.tolist()
    pl.DataFrame({"other": [1]}).write_parquet(tmp_path / "data" / "train-00009-of-00002.parquet")
    with pytest.raises(DataError, match="its columns are others"):
        from_path(tmp_path)


def test_masks_named_in_a_column_lie_beside_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "scenes"
    for name in ("photo", "mask"):
        (folder / name).mkdir(parents=True)
        for i in range(4):
            PILImage.fromarray(np.full((8, 8), i % 2, np.uint8)).save(folder / name / f"{i}.png")
    (folder / "t.csv").write_text("photo,mask\n" + "".join(f"photo/{i}.png,mask/{i}.png\n" for i in range(4)))
    monkeypatch.chdir(tmp_path)
    data = Dataset.from_table("scenes/t.csv", target="mask", read={"mask": "mask"}, split="none")
    assert [Path(name).resolve() for name in data.columns["mask"]] == [folder / "mask" / f"{i}.png" for i in range(4)]
