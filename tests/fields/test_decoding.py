"""Pictures in any form become the same bytes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage
from realdata.nasty import UNREADABLE
from sklearn.datasets import load_sample_image

from flambeau.core.errors import DataError
from flambeau.fields.decoding import decode, resize
from flambeau.fields.picture.looking import original_size

GREY = {"grey", "grey16", "float_tiff", "la", "one_bit"}
TRANSPARENT = {"rgba", "la", "palette_transparent"}
ODD_SIZES = {"one_pixel", "wide"}


@pytest.fixture(scope="module")
def photo(nasty: dict[str, Path]) -> np.ndarray:
    return decode(nasty["tiff"], 3)


def test_every_exotic_form_of_a_photo_is_that_photo(nasty: dict[str, Path], photo: np.ndarray) -> None:
    grey = np.asarray(PILImage.fromarray(photo).convert("L"))
    for name in set(nasty) - UNREADABLE - ODD_SIZES:
        array = decode(nasty[name], 3)
        assert array.shape == photo.shape and array.dtype == np.uint8, name
        expected = np.repeat(grey[..., None], 3, 2) if name in GREY else photo
        right = np.s_[:, photo.shape[1] // 2 :] if name in TRANSPARENT else np.s_[:]
        # over blocks of 8×8, where dots and dithering even out; a wrong rotation, mode or range is tens of levels off
        difference = np.abs(_blocks(array[right]) - _blocks(expected[right])).mean()
        assert difference < 6, (name, difference)


def _blocks(array: np.ndarray) -> np.ndarray:
    h, w, c = array.shape
    return array[: h // 8 * 8, : w // 8 * 8].reshape(h // 8, 8, w // 8, 8, c).mean((1, 3))


def test_grey_in_16_bits_or_floats_is_scaled_and_not_clipped(nasty: dict[str, Path], photo: np.ndarray) -> None:
    grey = np.asarray(PILImage.fromarray(photo).convert("L"))
    for name in ("grey16", "float_tiff"):
        assert np.array_equal(decode(nasty[name], 1)[..., 0], grey)


@pytest.mark.parametrize("background", [0, 128, 255])
def test_transparent_pixels_show_the_background(background: int, nasty: dict[str, Path]) -> None:
    for name in TRANSPARENT:
        for channels in (1, 3):
            left = decode(nasty[name], channels, background=background)[:, :150]
            assert np.abs(left.astype(int) - background).max() <= 1, name


def test_pictures_that_cannot_be_read_say_so_with_their_file(nasty: dict[str, Path]) -> None:
    for name in UNREADABLE:
        with pytest.raises(DataError) as error:
            decode(nasty[name], 3)
        assert error.value.where == nasty[name]
        assert len(str(error.value)) < 300


@pytest.mark.parametrize("size", [(30, 30), (60, 80), (120, 160), (240, 320), (300, 400)])
def test_a_jpeg_is_decoded_at_the_smallest_scale_that_is_enough(
    size: tuple[int, int], nasty: dict[str, Path], photo: np.ndarray
) -> None:
    for name in ("plain", "progressive", "exif_6", "cmyk"):
        array = decode(nasty[name], 3, size)
        height, width = array.shape[:2]
        whole = (240, 320)
        assert all(a >= min(s, w) for a, s, w in zip((height, width), size, whole, strict=True)), name
        if size == (30, 30) and name == "plain":
            assert (height, width) == (30, 40)
        small = np.asarray(PILImage.fromarray(photo).resize((width, height), PILImage.Resampling.BOX))
        assert np.abs(array.astype(int) - small).mean() < 12, name


def test_paths_bytes_pil_images_and_arrays_are_one(nasty: dict[str, Path], photo: np.ndarray) -> None:
    data = nasty["tiff"].read_bytes()
    forms = [nasty["tiff"], str(nasty["tiff"]), data, bytearray(data), PILImage.fromarray(photo)]
    forms += [photo, photo.transpose(2, 0, 1), photo / 255, photo.astype(np.int64)]
    for form in forms:
        assert np.array_equal(decode(form, 3), photo)
    black_and_white = photo[..., 0] > 128
    assert np.array_equal(decode(black_and_white, 1)[..., 0], black_and_white * 255)


def test_the_first_frame_and_the_page_order(photo: np.ndarray) -> None:
    out = io.BytesIO()
    first, second = PILImage.fromarray(photo), PILImage.fromarray(255 - photo)
    first.save(out, "TIFF", save_all=True, append_images=[second])
    assert np.array_equal(decode(out.getvalue(), 3), photo)


def test_sizes_are_read_from_the_head(nasty: dict[str, Path]) -> None:
    assert original_size(nasty["plain"]) == (240, 320)
    assert original_size(nasty["one_pixel"]) == (1, 1)
    assert original_size(np.zeros((3, 5), np.uint8)) == (3, 5)
    with pytest.raises(DataError, match=r"text.jpg: this is not a picture"):
        original_size(nasty["text"])


# -- resizing -----------------------------------------------------------------------------------------------------

PHOTO = load_sample_image("flower.jpg")[:200, :300]


@pytest.mark.parametrize("how", ["squash", "crop", "pad"])
@pytest.mark.parametrize("size", [(64, 64), (10, 50), (50, 10), (400, 400), (200, 300), (1, 1)])
def test_the_size_asked_for_comes_out(how: str, size: tuple[int, int]) -> None:
    for channels in (1, 3):
        array = resize(PHOTO[..., :channels], size, how)
        assert array.shape == (*size, channels) and array.dtype == np.uint8


def test_crop_keeps_the_middle_and_pad_keeps_all() -> None:
    marked = np.zeros((200, 300, 3), np.uint8)
    marked[:, :50] = 255  # what a square crop of the middle cuts off
    assert resize(marked, (64, 64), "crop")[:, 1:].max() == 0, "but for what the filter takes from beyond the edge"
    assert resize(marked, (64, 64), "squash")[:, :9].min() == 255
    padded = resize(marked, (60, 60), "pad", background=7)
    assert (padded[:9] == 7).all() and (padded[-9:] == 7).all()
    assert padded[30, 2, 0] == 255 and padded[30, 30, 0] == 0


def test_small_pictures_are_antialiased() -> None:
    stripes = np.zeros((256, 256, 1), np.uint8)
    stripes[:, ::2] = 255
    small = resize(stripes, (32, 32), "squash")
    assert np.abs(small.astype(int) - 127).max() <= 8, "every other pixel taken would be black or white"


def test_extreme_shapes_load(nasty: dict[str, Path]) -> None:
    for how in ("squash", "crop", "pad"):
        for name in ODD_SIZES:
            assert resize(decode(nasty[name], 3, (16, 16)), (16, 16), how).shape == (16, 16, 3)
