"""Mistakes in masks, each made on purpose in real files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage

from flambeau.fields import Image, Mask

PHOTO = np.zeros((40, 30, 3), np.uint8)
GOOD = np.zeros((40, 30), np.uint8)
GOOD[:20, :10], GOOD[20:] = 1, 2


def jpeg(array: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    PILImage.fromarray(array).save(buffer, "jpeg", **options)
    return buffer.getvalue()


def found(field: Mask, masks: list[Any], photos: list[Any] | None = None) -> dict[str, list[int]]:
    findings = field.check_in([*masks, *[GOOD] * (12 - len(masks))], Image(), photos or [PHOTO] * 12)
    return {finding.check: finding.rows for finding in findings if finding.check != "class-share"}


COLOURED = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)[GOOD]
OTHER = GOOD.copy()
OTHER[5:9, 5:9] = 7
CASES: dict[str, tuple[Mask, list[Any], dict[str, list[int]]]] = {
    "nothing": (Mask(), [], {}),
    "turned": (Mask(), [GOOD, GOOD.T], {"turned-mask": [1]}),
    "aspect": (Mask(), [GOOD[:, :15]], {"aspect": [0]}),
    "half as large": (Mask(), [GOOD, GOOD[::2, ::2]], {"scaled-mask": [1]}),
    "a stray class": (Mask(), [GOOD, OTHER], {"stray-class": [1], "unused-class": []}),
    "a value that is no class": (Mask(["a", "b", "c"]), [OTHER], {"unknown-class": [0]}),
    "named, not used": (Mask(["a", "b", "c", "d"]), [], {"unused-class": []}),
    "not a picture": (Mask(), [GOOD, b"nothing"], {"unreadable-mask": [1]}),
    "all unknown": (Mask(), [np.full_like(GOOD, 255)], {"all-unknown": [0]}),
    "one class throughout": (Mask(), [GOOD, np.ones_like(GOOD)], {"single-class-mask": [1]}),
    "JPEG of class numbers": (Mask(3), [GOOD, jpeg(GOOD, quality=100)], {"jpeg-mask": [1]}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_told_of_with_its_rows_and_nothing_else_is(name: str) -> None:
    field, masks, expected = CASES[name]
    assert found(field, masks) == expected
    assert not field.counts, "a check fits nothing"


def test_a_photo_turned_by_its_exif_wants_a_mask_that_is_turned_too() -> None:
    exif = PILImage.Exif()
    exif[0x0112] = 6
    stored = jpeg(PHOTO.transpose(1, 0, 2), exif=exif.tobytes())  # 30 high and 40 wide, shown as 40 high and 30 wide
    assert found(Mask(), [GOOD], [stored] * 12) == {}
    assert found(Mask(), [GOOD.T], [stored] * 12) == {"turned-mask": [0]}


def test_all_masks_of_one_class_are_an_error_and_shares_are_counted() -> None:
    ones = [np.ones_like(GOOD)] * 12
    assert "one-class" in found(Mask(["a", "b"]), ones)
    (share,) = (f for f in Mask(["a", "b", "c"]).check_in([GOOD], Image(), [PHOTO]) if f.check == "class-share")
    assert share.places == ["c: 50.00%", "a: 33.33%", "b: 16.67%"]


def test_edges_of_a_jpeg_between_colours_are_blended(tmp_path: Path) -> None:
    masks = [COLOURED] * 11
    assert found(Mask(), [*masks, COLOURED]) == {}
    PILImage.fromarray(COLOURED).resize((31, 41), PILImage.Resampling.BILINEAR).save(tmp_path / "smooth.png")
    assert found(Mask(), [*masks, jpeg(COLOURED, quality=60)]) == {"blended-colours": [11]}
    assert found(Mask(), [*masks, str(tmp_path / "smooth.png")]) == {"blended-colours": [11], "scaled-mask": [11]}
    photo = np.random.default_rng(0).integers(0, 256, (40, 30, 3)).astype(np.uint8)
    assert found(Mask(), [photo] * 12) == {"mask-colours": []}
