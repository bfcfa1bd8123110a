"""What the Image field finds out about pictures, and what a model sees of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_sample_image

from flambeau.core.errors import DataError, UsageError
from flambeau.fields import Image
from flambeau.fields.picture.colour_spaces import COLOURS
from flambeau.fields.picture.looking import DEFAULT_SIZE

GREY = np.rint(load_digits().images[:100] * (255 / 16)).astype(np.uint8)
CHINA = load_sample_image("china.jpg")


def fitted(values: Any, **settings: Any) -> Image:
    image = Image(**settings)
    image.fit(values)
    return image


def test_small_pictures_of_one_size_are_kept_and_grey_is_seen() -> None:
    image = fitted(GREY)
    assert (image.size, image.colour, image.input_shape) == ([8, 8], "grey", (1, 8, 8))
    assert image.source_sizes == [8, 8]


def test_photos_are_brought_to_the_default_size_in_colour() -> None:
    image = fitted([CHINA, CHINA[::-1]])
    assert (image.size, image.colour) == ([DEFAULT_SIZE] * 2, "rgb")
    assert image.source_sizes == [427, 640]


def test_small_pictures_of_several_sizes_are_brought_to_the_largest() -> None:
    assert fitted([CHINA[:20, :30], CHINA[:40, :10]]).size == [40, 40]


def test_one_colour_picture_anywhere_makes_the_column_colour() -> None:
    """Rows are often sorted by class, and the last class may be the only one in colour."""
    colour = np.stack([GREY[0], GREY[0] // 2, GREY[0] // 3], -1)
    assert fitted([*list(GREY) * 4, *[colour] * 100]).colour == "rgb"
    assert fitted([np.repeat(g[..., None], 3, 2) for g in GREY]).colour == "grey", "stored as colour, shown as grey"


@pytest.mark.parametrize("colour", [c for c in COLOURS if c != "grey"])
def test_a_model_sees_mean_zero_and_deviation_one_in_every_colour_space(colour: str) -> None:
    photos = [CHINA[y : y + 60, x : x + 60] for y in range(0, 360, 60) for x in range(0, 600, 60)]
    image = fitted(photos, colour=colour, size=60)
    prepared = image.prepare(torch.from_numpy(np.stack([image.encode(p) for p in photos])))
    assert prepared.shape == (60, 3, 60, 60) and prepared.dtype == torch.float32
    assert prepared.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(prepared.mean((0, 2, 3)), torch.zeros(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(prepared.std((0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)


def test_augmentation_of_nothing_is_preparing_without_it() -> None:
    for colour in ("rgb", "hsv", "lab"):
        plain, moved = (fitted([CHINA], size=32, colour=colour, augment=a) for a in (None, {"gaussian_noise": 1e-9}))
        batch = torch.from_numpy(np.stack([plain.encode(CHINA)]))
        expected = plain.prepare(batch)
        trained_on = moved.prepare(batch, True, torch.Generator().manual_seed(0))
        torch.testing.assert_close(trained_on, expected, atol=1e-2, rtol=0)
        assert torch.equal(moved.prepare(batch), expected)


def test_pictures_that_cannot_be_read_do_not_stop_the_fit(nasty: dict[str, Path]) -> None:
    image = fitted([*map(str, (nasty["text"], nasty["plain"], nasty["truncated"])), None])
    assert image.colour == "rgb"
    with pytest.raises(DataError, match=r"none of 1 pictures could be read .*; run `flambeau check`"):
        fitted([str(nasty["text"])])


def test_the_fit_is_the_same_every_time() -> None:
    photos = [CHINA[i : i + 30, i : i + 40] for i in range(300)]
    assert fitted(photos).to_dict() == fitted(photos).to_dict()


def test_a_thumbnail_is_small_and_self_contained(nasty: dict[str, Path]) -> None:
    image = Image()
    shown = image.render(str(nasty["plain"]))
    assert shown.startswith('<img src="data:image/jpeg;base64,') and len(shown) < 20_000
    assert "data:image/png" in image.render(GREY[0])
    assert "unreadable" in image.render(str(nasty["text"]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"colour": "gray"}, "did you mean 'grey'"),
        ({"resize": "stretch"}, "known: squash, crop, pad"),
        ({"size": 0}, r"the size 0 does not fit; expected pixels, or \(height, width\)"),
        ({"size": (1, 2, 3)}, "does not fit"),
        ({"size": "large"}, "the size 'large' does not fit"),
        ({"augment": {"rotations": 5}}, "did you mean 'rotation'"),
    ],
)
def test_settings_that_do_not_exist_are_told(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Image(**settings)


def test_sizes_in_any_form() -> None:
    assert Image(size=np.int64(12)).size == Image(size=(12, 12)).size == Image(size=[12, 12]).size == [12, 12]  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="not known yet; call fit first"):
        _ = Image().encoding
