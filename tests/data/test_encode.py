"""A store is made once, never read where it is stale, and says what it left out."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PILImage
from realdata.nasty import UNREADABLE
from sklearn.datasets import load_digits

from flambeau.core.errors import DataError
from flambeau.core.randomness import generator
from flambeau.core.reporter import Reporter
from flambeau.data.batches import Batches
from flambeau.data.dataset import Dataset
from flambeau.data.store.encode import EncodeOptions, encode
from flambeau.data.store.fingerprint import file_fingerprint, memory_fingerprint
from flambeau.data.store.store import FixedColumn, Store, StreamedColumn
from flambeau.fields import Category, Field, Image, MultiLabel, Number


@pytest.fixture
def folder(digits_folder: Path, tmp_path: Path) -> Path:
    """60 digits of three classes that a test may change."""
    for name in "012":
        (tmp_path / "digits" / name).mkdir(parents=True)
        for file in sorted((digits_folder / name).iterdir())[:20]:
            shutil.copyfile(file, tmp_path / "digits" / name / file.name)
    return tmp_path / "digits"


def made(folder: Path, tmp_path: Path, image: Image | None = None, **options: Any) -> tuple[Dataset, Store]:
    data = Dataset.from_folder(folder, fields={"image": image} if image else None)
    data.fit()
    return data, encode(data, EncodeOptions(options.pop("cache", tmp_path / "cache"), **options))


def stores(tmp_path: Path) -> set[str]:
    return {p.name for p in (tmp_path / "cache").iterdir()}


def pictures(store: Store) -> torch.Tensor:
    return store.gather(store.good)["image"]


def test_a_store_is_made_once(folder: Path, tmp_path: Path) -> None:
    _, first = made(folder, tmp_path)
    (name,) = stores(tmp_path)
    file = tmp_path / "cache" / name / "flat.bin"
    written = file.stat().st_mtime_ns
    _, second = made(folder, tmp_path)
    assert stores(tmp_path) == {name} and file.stat().st_mtime_ns == written
    assert first.fingerprint == second.fingerprint
    assert torch.equal(pictures(first), pictures(second))


def _touch(folder: Path) -> None:
    file = folder / "1" / sorted(p.name for p in (folder / "1").iterdir())[3]
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))


def _replace(folder: Path) -> None:
    """Another picture under the same name and time."""
    first, second = sorted((folder / "1").iterdir())[:2]
    status = first.stat()
    first.write_bytes(second.read_bytes() + b"\0")
    os.utime(first, ns=(status.st_atime_ns, status.st_mtime_ns))


def _remove(folder: Path) -> None:
    sorted((folder / "1").iterdir())[0].unlink()


@pytest.mark.parametrize("change", [_touch, _replace, _remove])
def test_a_changed_file_makes_another_store(change: Any, folder: Path, tmp_path: Path) -> None:
    _, before = made(folder, tmp_path)
    change(folder)
    data, after = made(folder, tmp_path)
    assert before.fingerprint != after.fingerprint
    assert len(stores(tmp_path)) == 2
    expected = np.stack([data.fields["image"].encode(v) for v in data.columns["image"]])
    assert np.array_equal(pictures(after).numpy(), expected)


@pytest.mark.parametrize(
    "image", [Image(size=12), Image(resize="crop", size=(6, 8)), Image(colour="rgb"), Image(size=(10, 8), resize="pad"),
              Image(size=(10, 8), resize="pad", background=0)], ids=str,
)  # fmt: skip
def test_another_setting_makes_another_store(image: Image, folder: Path, tmp_path: Path) -> None:
    made(folder, tmp_path)
    made(folder, tmp_path, Image(size=(10, 8), resize="squash"))
    before = len(stores(tmp_path))
    data, store = made(folder, tmp_path, image)
    assert len(stores(tmp_path)) == before + 1
    assert pictures(store).shape[1:] == data.fields["image"].encoding.shape


def test_what_the_bytes_do_not_depend_on_makes_none(folder: Path, tmp_path: Path) -> None:
    """Augmentation and colour spaces come later, so that trying others costs nothing."""
    made(folder, tmp_path, Image(colour="rgb"))
    made(folder, tmp_path, Image(colour="hsv", augment={"rotation": 10}))
    assert len(stores(tmp_path)) == 1


def test_fingerprints_in_memory_tell_values_apart() -> None:
    number, image = Number(), Image(size=2, colour="grey")
    pairs: list[tuple[Field, Any, Any]] = [
        (number, [1, 23], [12, 3]),
        (number, np.asarray([1.0, 2.0]), np.asarray([1.0, 2.0], np.float32)),
        (number, np.asarray([1.0, 2.0]), np.asarray([2.0, 1.0])),
        (image, [np.zeros((2, 4), np.uint8)], [np.zeros((4, 2), np.uint8)]),
        (image, [torch.zeros(3000)], [torch.zeros(3000) + torch.eye(3000)[1500]]),
        (Category(), ["ab", "c"], ["a", "bc"]),
    ]
    for field, a, b in pairs:
        assert memory_fingerprint(field, a) == memory_fingerprint(field, a)
        assert memory_fingerprint(field, a) != memory_fingerprint(field, b)
    assert memory_fingerprint(number, [1.0]) != memory_fingerprint(Number(standardise=False), [1.0])


def test_fingerprints_depend_on_neither_the_order_of_sets_nor_the_place_of_objects() -> None:
    """Both are others in another process, and a resume must not be refused for that."""
    one, other = {0, 8}, {8, 0}
    assert list(one) != list(other), "else this proves nothing"
    assert memory_fingerprint(MultiLabel(), [one]) == memory_fingerprint(MultiLabel(), [other])
    pictures = [PILImage.new("L", (2, 2), 7) for _ in range(2)]
    assert memory_fingerprint(Image(), pictures[:1]) == memory_fingerprint(Image(), pictures[1:])


def test_a_missing_file_is_a_part_of_the_fingerprint(folder: Path) -> None:
    values = [str(p) for p in sorted(folder.rglob("*.png"))]
    before = file_fingerprint(Image(size=8), values)
    Path(values[0]).unlink()
    assert file_fingerprint(Image(size=8), values) != before
    assert file_fingerprint(Image(size=8), [None, *values[1:]]) != file_fingerprint(Image(size=8), values)


# -- rows that cannot be used -------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [None, 0])
def test_bad_files_are_named_and_left_out(
    folder: Path, nasty: dict[str, Path], tmp_path: Path, limit: int | None
) -> None:
    for name in UNREADABLE:
        shutil.copyfile(nasty[name], folder / "1" / f"zz-{nasty[name].name}")
    for _ in range(2):  # as written, and as read again from the store
        data, store = made(folder, tmp_path, limit=limit)
        assert len(store.good) == 60
        places = {p for f in store.findings for p in f.places}
        assert places == {f"1/zz-{nasty[n].name}" for n in UNREADABLE}
        assert {f.check for f in store.findings} == {"left-out"}
        assert all(f.severity == "warning" and "left out" in f.message for f in store.findings)
        messages = " ".join(f.message for f in store.findings)
        assert all(word in messages for word in ("empty", "cut short", "not a picture", "pixels"))
        for f in store.findings:
            assert [data.place(r) for r in f.rows] == f.places
        rows = set(Batches(store, store.good, 16).plan(0)[0].tolist())
        assert not rows & {r for f in store.findings for r in f.rows}


def test_where_no_training_row_can_be_used_the_first_is_named(nasty: dict[str, Path], tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / "bad" / name).mkdir(parents=True)
        shutil.copyfile(nasty["text"], tmp_path / "bad" / name / "x.jpg")
    data = Dataset.from_folder(tmp_path / "bad", fields={"image": Image(size=8)}, split="none")
    with pytest.raises(DataError, match=r"none of 2 pictures could be read .*; run `flambeau check`"):
        data.fit()
    data.fields["label"].fit(["a", "b"])
    data.fields["image"].colour = "rgb"  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=r"a/x.jpg: none of the training rows can be used; the first: this is not"):
        encode(data, EncodeOptions(tmp_path / "cache"))


def test_a_class_that_only_validates_is_named(tmp_path: Path) -> None:
    y = ["a", "b"] * 20 + ["c"] * 3
    data = Dataset({"x": [float(i) for i in range(43)], "y": y}, target="y", split=["train"] * 30 + ["valid"] * 13)
    data.fit()
    store = encode(data, EncodeOptions(tmp_path))
    assert len(store.good) == 40
    (finding,) = store.findings
    assert "the class 'c' is not among the 2 classes of the training rows" in finding.message
    assert finding.places == ["row 40", "row 41", "row 42"]


# -- the same values, however they are kept -------------------------------------------------------------------------


def test_disk_memory_and_streamed_are_the_same_values_in_the_same_order(folder: Path, tmp_path: Path) -> None:
    data, on_disk = made(folder, tmp_path)
    _, streamed = made(folder, tmp_path, cache=tmp_path / "other", limit=0)
    in_memory = Dataset.from_folder(folder)
    in_memory.columns["image"] = [Path(p).read_bytes() for p in in_memory.columns["image"]]
    in_memory.fields = data.fields
    memory = encode(in_memory, EncodeOptions(tmp_path / "unused"))
    assert [type(s.columns["image"]) for s in (on_disk, streamed, memory)] == [FixedColumn, StreamedColumn, FixedColumn]
    assert not (tmp_path / "unused").exists() and not list((tmp_path / "other").glob("*/flat.bin.*"))
    assert sum(f.stat().st_size for f in (tmp_path / "other").glob("*/flat.bin")) == 0, "over the limit: not on disk"

    def all_of(store: Store) -> list[tuple[list[int], torch.Tensor, torch.Tensor]]:
        batches = Batches(store, store.good, 7, seed=3)
        return [(rows.tolist(), g["image"], g["label"]) for e in (0, 1) for rows, g in batches.epoch(e)]

    for other in (streamed, memory):
        for (rows, x, y), (rows2, x2, y2) in zip(all_of(on_disk), all_of(other), strict=True):
            assert rows == rows2 and torch.equal(x, x2) and torch.equal(y, y2)


@pytest.mark.parametrize("threads", [1, 5])
def test_the_number_of_threads_does_not_matter(threads: int, folder: Path, nasty: Any, tmp_path: Path) -> None:
    shutil.copyfile(nasty["truncated"], folder / "0" / "bad.jpg")
    _, expected = made(folder, tmp_path, threads=2)
    for limit in (None, 0):
        _, store = made(folder, tmp_path, cache=tmp_path / f"cache-{threads}-{limit}", threads=threads, limit=limit)
        assert torch.equal(pictures(expected), pictures(store))
        assert [f.to_dict() for f in expected.findings] == [f.to_dict() for f in store.findings]


def test_a_store_that_did_not_fit_is_written_once_it_does(folder: Path, tmp_path: Path) -> None:
    _, store = made(folder, tmp_path, limit=0)
    assert store.streamed and store.nbytes == 60 * 8  # the labels
    _, store = made(folder, tmp_path)
    assert not store.streamed and store.nbytes == 60 * 8 + 60 * 64
    _, store = made(folder, tmp_path, limit=0)
    assert not store.streamed, "it is there already"


def test_a_store_cannot_be_written_through(folder: Path, tmp_path: Path) -> None:
    _, store = made(folder, tmp_path)
    (file,) = (tmp_path / "cache").glob("*/flat.bin")
    before = file.read_bytes()
    batch = store.gather(torch.arange(5))["image"]
    batch.fill_(9)
    store.columns["image"].values[7:9] = 3  # type: ignore[attr-defined]
    assert file.read_bytes() == before
    _, again = made(folder, tmp_path)
    assert not (again.gather(torch.arange(5))["image"] == 9).all()


def test_gathering_does_not_touch_the_users_array(tmp_path: Path) -> None:
    x = np.rint(load_digits().images[:40] * 15).astype(np.uint8)
    before = x.copy()
    data = Dataset.from_arrays(x, [str(i % 2) for i in range(40)])
    data.fit()
    store = encode(data, EncodeOptions(tmp_path))
    store.gather(torch.arange(40))["x"].zero_()
    assert np.array_equal(x, before)


def flip(path: Path, at: int) -> None:
    """Changes one bit."""
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize(("name", "at"), [("flat.bin", 0), ("flat.bin", 1000), ("flat.bin", -1), ("meta.json", 20)])
def test_a_store_with_another_bit_is_made_anew_and_said(
    folder: Path, tmp_path: Path, name: str, at: int, capsys: pytest.CaptureFixture[str]
) -> None:
    _, first = made(folder, tmp_path)
    expected = pictures(first).clone()
    (file,) = (tmp_path / "cache").glob(f"*/{name}")
    whole = file.read_bytes()
    flip(file, at)
    data = Dataset.from_folder(folder)
    data.fit()
    second = encode(data, EncodeOptions(tmp_path / "cache"), Reporter())
    assert torch.equal(pictures(second), expected) and file.read_bytes() == whole
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "is made anew: " in line]
    assert said.startswith("image: the store ") and "not those that were written" in said


# -- crashes ------------------------------------------------------------------------------------------------------


def test_what_killed_encodings_left_is_swept_and_what_running_ones_write_is_not(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    gone = subprocess.Popen(["true"])
    gone.wait()
    for pid in (gone.pid, os.getppid()):
        (cache / f".0123456789abcdef.{pid}.tmp").mkdir()
        (cache / f".0123456789abcdef.{pid}.tmp" / "flat.bin").write_bytes(b"half")
    made(folder, tmp_path)
    assert {p.name for p in cache.glob(".*.tmp")} == {f".0123456789abcdef.{os.getppid()}.tmp"}


class Interrupted(Exception):
    pass


def test_an_encoding_that_fails_leaves_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = Dataset.from_folder(folder)
    data.fit()
    encode_one, seen = Image.encode, []

    def dies(self: Image, value: Any) -> np.ndarray:
        seen.append(value)
        if len(seen) == 40:
            raise Interrupted
        return encode_one(self, value)

    monkeypatch.setattr(Image, "encode", dies)
    with pytest.raises(Interrupted):
        encode(data, EncodeOptions(tmp_path / "cache", threads=2))
    assert stores(tmp_path) == set()
    monkeypatch.undo()
    assert len(made(folder, tmp_path)[1].good) == 60


# -- damaged files ------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_no_damage_to_a_picture_is_more_than_a_data_error(nasty: dict[str, Path]) -> None:
    """300 pictures of every format with a few bytes flipped or a piece cut out: decoded, or refused in one line."""
    image = Image(size=16, colour="rgb")
    random = generator(0, "damage")

    def draw(top: int) -> int:
        return int(torch.randint(top, (), generator=random))

    sound = [p.read_bytes() for n, p in sorted(nasty.items()) if n not in UNREADABLE and n != "wide"]
    refused = 0
    for i in range(300):
        data = bytearray(sound[i % len(sound)])
        for _ in range(1 + draw(6)):
            data[draw(min(len(data), 600) if draw(2) else len(data))] = draw(256)
        if draw(3) == 0:
            at = draw(len(data))
            del data[at : at + 1 + draw(200)]
        try:
            array = image.encode(bytes(data))
        except DataError as error:
            refused += 1
            assert len(str(error)) < 500
        else:
            assert array.shape == (16, 16, 3)
    assert 20 < refused < 280, "else the damage proves nothing"
