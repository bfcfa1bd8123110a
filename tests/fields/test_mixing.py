"""Mosaic and copy-paste: what is said of the pictures that are made is what is seen in them, to the pixel, and the same
draw gives the same to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

import flambeau as fb
from flambeau.core.errors import UsageError
from flambeau.data.batch import Batch
from flambeau.data.dataset import Dataset
from flambeau.data.prepare import Preparer
from flambeau.data.store.encode import encode
from flambeau.fields import Boxes, Image, Mask, Ragged
from flambeau.fields.boxes import COLUMNS, SEEN
from flambeau.fields.picture.overlap import area

SIDE, COUNT = 64, 12
CPU = torch.device("cpu")


def scene(number: int) -> tuple[np.ndarray, list[dict[str, Any]], np.ndarray]:
    """A black picture with two rectangles, each of a grey of its own in all scenes; its boxes, and the mask of their
    classes 1 and 2."""
    rng = np.random.default_rng(number)
    picture, mask, boxes = np.zeros((SIDE, SIDE), np.uint8), np.zeros((SIDE, SIDE), np.uint8), []
    for k in range(2):
        width, height = rng.integers(14, 28, 2)
        x, y = rng.integers(2, SIDE - width - 2), 2 + k * 32 + rng.integers(0, 31 - min(height, 29))
        height = min(height, SIDE - 2 - y)
        picture[y : y + height, x : x + width] = grey(number, k)
        mask[y : y + height, x : x + width] = 1 + k
        corners = {"x1": int(x), "y1": int(y), "x2": int(x + width), "y2": int(y + height)}
        boxes.append({**corners, "label": f"c{k}", "area": float(grey(number, k))})  # which the field keeps: its name
    return picture, boxes, mask


def grey(number: int, k: int) -> int:
    return 60 + 8 * (2 * number + k)


def batch(target: str, augment: dict[str, Any], seed: int = 0) -> Batch:
    """All scenes as a training batch."""
    pictures, boxes, masks = zip(*(scene(number) for number in range(COUNT)), strict=True)
    values, field = {"boxes": ([*boxes], Boxes()), "mask": ([*masks], Mask())}[target]
    image = Image(SIDE, "grey", augment=augment)
    data = Dataset({"x": [*pictures], "y": values}, fields={"x": image, "y": field}, target="y", split="none")
    data.fit()
    data.fields["x"].mean, data.fields["x"].std = [0.0], [1.0]
    store, rows = encode(data), torch.arange(COUNT)
    prepare = Preparer(data.fields, data.inputs, "y", CPU)
    return prepare(rows, store.gather(rows), True, torch.Generator().manual_seed(seed))


def levels(batch: Batch) -> Tensor:
    return (batch.input[:, 0] * 255).round().long()


@pytest.mark.parametrize("seed", range(3))
def test_in_a_mosaic_each_box_is_about_what_it_is_of(seed: int) -> None:
    made = batch("boxes", {"mosaic": 1.0}, seed)
    values, checked = made.target.values, set[int]()
    for picture, boxes, length in zip(levels(made), values, made.target.lengths.tolist(), strict=True):
        assert (boxes[length:] == 0).all() and (boxes[:length, 4] >= 0).all()
        for left, top, right, bottom, kind, _, name in boxes[:length].tolist():
            assert kind == (name - 60) // 8 % 2
            # All but its edge, which is mixed with black; the edge of a brighter one may be as grey.
            parts = ndimage.find_objects(ndimage.label(picture == round(name))[0])
            y, x = max(parts, key=lambda part: (part[0].stop - part[0].start) * (part[1].stop - part[1].start))
            if min(y.stop - y.start, x.stop - x.start) > 3:
                inner = np.array([x.start, y.start, x.stop, y.stop])
                assert (np.abs(SIDE * np.array([left, top, right, bottom]) - inner) <= 1.5).all()
                checked.add(round(name))
    assert len(checked) > COUNT, "most things are seen somewhere"
    missing = [name for picture, boxes in zip(levels(made), values, strict=True)
               for name in picture.unique().tolist() if (name - 60) % 8 == 0 and name >= 60
               and (picture == name).sum() > 100 and name not in boxes[:, 6].tolist()]  # fmt: skip
    assert not missing


def test_a_mosaic_shows_each_pixel_beside_its_own_class() -> None:
    made = batch("mask", {"mosaic": 1.0})
    picture, mask = levels(made), made.target
    bright, dark = (picture - 60) % 8 == 0, picture == 0
    inside = bright & (picture >= 60)
    for axis in (1, 2):  # no pixel of an edge, which is of two
        for by in (1, -1):
            inside &= picture == picture.roll(by, axis)
    assert (mask[inside & (mask > 0)] == ((picture[inside & (mask > 0)] - 60) // 8 % 2 + 1)).all()
    assert (mask[dark] == 0).all() and (mask[inside] > 0).float().mean() > 0.97


def test_what_is_pasted_is_in_the_picture_and_what_it_hides_is_not() -> None:
    plain, made = batch("boxes", {}), batch("boxes", {"copy_paste": {"p": 1.0, "share": 0.6}})
    picture = levels(made)
    assert set(picture.unique().tolist()) <= set(levels(plain).unique().tolist()), "no pixel is of two"
    told = 0
    for shown, boxes, length in zip(picture, made.target.values, made.target.lengths.tolist(), strict=True):
        names = {round(name) for name in boxes[:length, 6].tolist()}
        told += len(names)
        for left, top, right, bottom, _, _, name in boxes[:length].tolist():
            there = (shown == round(name)).sum() / (area(torch.tensor([left, top, right, bottom])) * SIDE**2)
            assert there > SEEN - 0.01
        for name in shown.unique().tolist():  # nothing that is whole is left out
            k = (name - 60) // 8 % 2
            whole = (levels(plain)[(name - 60) // 16] == name).sum() if name else 0
            assert name == 0 or round(name) in names or (shown == name).sum() <= SEEN * whole + 1, k
    assert told > 2 * COUNT


def test_classes_are_pasted_with_their_pixels_and_never_the_background() -> None:
    plain, made = batch("mask", {}), batch("mask", {"copy_paste": {"p": 1.0, "share": 1.0}})
    picture, mask = levels(made), made.target
    thing = picture >= 60
    assert torch.equal(mask > 0, thing) and (mask[thing] == (picture[thing] - 60) // 8 % 2 + 1).all()
    assert ((plain.target > 0) <= (mask > 0)).all(), "things are added, and nothing is wiped out"


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["boxes", "mask"]),
    st.fixed_dictionaries({}, optional={"mosaic": st.floats(0.1, 1), "copy_paste": st.floats(0.1, 1),
                                        "large_scale_jitter": st.just((0.4, 2.0)), "rotation": st.just(40)}),
    st.integers(0, 10**6),
)  # fmt: skip
def test_a_step_that_is_taken_again_gives_the_same_bits_and_boxes_stay_within(
    target: str, augment: dict[str, Any], seed: int
) -> None:
    one, two = batch(target, augment, seed), batch(target, augment, seed)
    assert torch.equal(one.input, two.input)
    if target == "mask":
        assert torch.equal(one.target, two.target) and set(one.target.unique().tolist()) <= {-100, 0, 1, 2}
        return
    values, lengths = one.target
    assert torch.equal(values, two.target.values) and values.shape[2] == len(COLUMNS)
    corners = values[..., :4]
    assert (corners >= -1e-6).all() and (corners <= 1 + 1e-6).all() and (corners[..., 2:] >= corners[..., :2]).all()
    assert set(values[..., 4].unique().tolist()) <= {-1.0, 0.0, 1.0}
    live = values[..., 4] >= 0
    assert (area(corners)[live & (torch.arange(values.shape[1]) < lengths[:, None])] > 0).all()


def test_without_a_place_or_beside_other_inputs_it_is_refused() -> None:
    image = Image(8, "grey", augment={"mosaic": 0.5})
    image.mean, image.std = [0.0], [1.0]
    with pytest.raises(UsageError, match="mosaic and copy_paste are for targets that have a place in the picture"):
        image.prepare(torch.zeros(2, 8, 8, 1, dtype=torch.uint8), True, torch.Generator())
    with pytest.raises(UsageError, match="mosaic mixes samples"):
        fb.fields.Image(8, augment={"together": {"mosaic": 0.5}})
    field = Boxes(["a"])
    empty = Ragged(torch.zeros(2, 0, 7), torch.zeros(2, dtype=torch.int64))
    assert not field.cutouts(empty, (8, 8), 0.5, torch.Generator()).any()
