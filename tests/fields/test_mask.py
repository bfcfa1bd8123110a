"""Masks in each form that files have: class numbers, palettes, one colour a class, black and white."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage

from flambeau.core.errors import DataError, UsageError
from flambeau.fields import Field, Mask

COLOURS = [(0, 0, 0), (128, 0, 0), (0, 128, 0)]
rng = np.random.default_rng(0)
NUMBERS = rng.integers(0, 3, (6, 5)).repeat(16, 0).repeat(16, 1).astype(np.uint8)


def file(picture: PILImage.Image, kind: str = "png", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def palette() -> bytes:
    picture = PILImage.fromarray(NUMBERS)
    picture.putpalette([level for colour in COLOURS for level in colour])
    return file(picture)


RGB = PILImage.fromarray(np.array(COLOURS, np.uint8)[NUMBERS])
FORMS = {
    "array": NUMBERS,
    "png": file(PILImage.fromarray(NUMBERS)),
    "grey in RGB": file(PILImage.fromarray(NUMBERS).convert("RGB")),
    "16 bits": file(PILImage.fromarray(NUMBERS.astype(np.uint16))),
    "palette": palette(),
    "colours": file(RGB),
    "colours with alpha": file(RGB.convert("RGBA")),
    "colours as an array": np.asarray(RGB),
}


@pytest.mark.parametrize("form", FORMS)
def test_class_numbers_come_out_of_each_form(form: str) -> None:
    """Those of masks in colours are in the order of the colours, where nobody says which is which."""
    field = Mask()
    field.fit([FORMS[form]])
    order = [0, 2, 1] if "colours" in form else [0, 1, 2]  # 008000 comes before 800000
    np.testing.assert_array_equal(np.array(order)[field.pixels(FORMS[form])], NUMBERS)
    assert len(field.classes) == 3 and field.counts == np.bincount(NUMBERS.ravel(), minlength=3)[order].tolist()
    again = Field.from_dict(field.to_dict())
    assert isinstance(again, Mask)
    np.testing.assert_array_equal(again.pixels(FORMS[form]), field.pixels(FORMS[form]))


def test_a_file_that_is_no_mask_is_named_in_words(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"the mask cannot be read \(it is no picture\)"):
        Mask(["a", "b"]).pixels(tmp_path / "a.png")


def test_a_mask_drawn_over_its_picture_leaves_the_background_as_it_is() -> None:
    field = Mask()
    field.fit([NUMBERS])
    picture = PILImage.fromarray(rng.integers(0, 256, (*NUMBERS.shape, 3)).astype(np.uint8))
    same = (np.asarray(field.drawn_in(NUMBERS, picture)) == np.asarray(picture)).all(2)
    assert same[NUMBERS == 0].all() and same[NUMBERS > 0].mean() < 0.01


def test_colours_that_are_said_give_the_order_and_the_rest_is_unknown(tmp_path: Path) -> None:
    field = Mask(["soil", "leaf"], [[0, 0, 0], "#008000"])
    for form in ("palette", "colours"):
        field.fit([FORMS[form]])
        expected = np.array([0, 255, 1])[NUMBERS]
        np.testing.assert_array_equal(field.pixels(FORMS[form]), expected)
    written = field.write(field.pixels(FORMS["colours"]), tmp_path / "mask")
    np.testing.assert_array_equal(field.pixels(str(written)), expected)
    assert PILImage.open(written).convert("RGB").getpixel((0, 0)) in (*COLOURS, (255, 255, 255))


def test_a_jpeg_mask_is_read_but_for_the_edges_between_its_colours() -> None:
    jpeg = file(RGB, "jpeg", quality=80)
    field = Mask()
    field.fit([jpeg])
    assert len(field.classes) == 3
    given = np.array([0, 2, 1])[np.minimum(field.pixels(jpeg), 2)]
    known = field.pixels(jpeg) != 255
    assert known.mean() > 0.7 and (given == NUMBERS)[known].mean() > 0.99


def test_colours_that_are_near_one_another_are_classes_where_both_are_used() -> None:
    near = np.array([(0, 60, 100), (0, 80, 100), (0, 0, 142)], np.uint8)  # of Cityscapes
    field = Mask()
    field.fit([near[NUMBERS]])
    assert field.classes == ["#00008e", "#003c64", "#005064"]


def test_black_and_white_are_two_classes_and_255_among_numbers_is_unknown() -> None:
    field, white = Mask(), np.where(NUMBERS > 0, 255, 0).astype(np.uint8)
    field.fit([white, np.zeros((3, 3), np.uint8)])
    np.testing.assert_array_equal(field.pixels(white), NUMBERS > 0)
    np.testing.assert_array_equal(field.pixels((NUMBERS > 0).astype(np.uint8)), NUMBERS > 0)
    field.fit([NUMBERS, white])
    assert field.classes == ["0", "1", "2"] and (field.pixels(white) == 255).any()


def test_a_mask_follows_the_orientation_of_its_file() -> None:
    exif = PILImage.Exif()
    exif[0x0112] = 6
    turned = file(PILImage.fromarray(NUMBERS), exif=exif.tobytes())
    np.testing.assert_array_equal(Mask(3).pixels(turned), np.rot90(NUMBERS, -1))


def test_what_is_no_mask_or_has_other_classes_is_said() -> None:
    photo = rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)
    with pytest.raises(DataError, match="colours, of which 0 fill areas"):
        Mask().fit([photo])
    with pytest.raises(DataError, match="a pixel is of class 2"):
        Mask(2).pixels(NUMBERS)
    for wrong in (["#00"], [0, "#000000"], [0, 0], [[1, 2]], [300]):
        with pytest.raises(UsageError, match="do not fit"):
            Mask(colours=wrong)
    with pytest.raises(UsageError, match="3 classes have 2 colours"):
        Mask(3, [0, 1])
