"""Boxes: read, mended, and moved with their pictures."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image as PIL

import flambeau as fb
from flambeau.data.prepare import Preparer
from flambeau.data.split import Split
from flambeau.data.store.encode import encode
from flambeau.fields import Image, Ragged
from flambeau.fields.boxes import COLUMNS, Boxes
from flambeau.fields.picture import segments as seg
from flambeau.fields.picture.instances import instance_masks, packed, pasted, unpacked
from flambeau.fields.picture.segments import bounds
from flambeau.fields.placement import Placement
from flambeau.objectives.tasks import task_of

SIDE, COUNT = 64, 60


@pytest.mark.parametrize(
    ("augment", "grown", "whole", "within", "some"),
    [
        ({"horizontal_flip": 0.5, "vertical_flip": 0.5}, 1, True, 0, False),
        ({"zoom": 0.3}, 2, True, 1, False),
        ({"shift": 0.3}, 1, True, 1, True),
        ({"random_resized_crop": [0.2, 0.5]}, 5, True, 1, True),
        # the tip of a turned square is less than half of a pixel for its last two; cut, it is no square
        ({"rotation": 45}, 1, False, 2, False),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_boxes_follow_their_picture_and_leave_with_it(
    augment: dict[str, Any], grown: int, whole: bool, within: int, some: bool
) -> None:
    pictures, raw = torch.zeros(COUNT, SIDE, SIDE, 3, dtype=torch.uint8), torch.zeros(COUNT, 1, len(COLUMNS))
    random = torch.Generator().manual_seed(0)
    for picture, box in zip(pictures, raw, strict=True):
        x, y = torch.randint(0, 44, (2,), generator=random).tolist()
        box[0, :4] = torch.tensor([x, y, x + 20, y + 20])
        picture[y : y + 20, x : x + 20] = 255
    image = Image(SIDE, augment=augment)
    image.mean, image.std, image.colour = [0.0] * 3, [1.0] * 3, "rgb"
    frames = torch.tensor([[SIDE, SIDE, 1, 0, 1, 0]]).float().expand(COUNT, 6)
    seen, placement = image.lead(pictures, frames, True, torch.Generator().manual_seed(1))
    followed = Boxes().follow(Ragged(raw, torch.ones(COUNT)), placement).values[:, 0]
    kept = 0
    for picture, (*corners, kind, _, _) in zip(seen, followed.tolist(), strict=True):
        y, x = (picture[0] > 0.5).nonzero().T
        if kind < 0:  # less than a quarter is left, and a pixel around, of a square that grew to so many times at most
            assert len(x) <= grown * 400 / 4 + 2 * SIDE, len(x)
        elif whole or (min(corners) > 0 and max(corners) < 1):
            kept += 1
            edges = [x.min(), y.min(), x.max() + 1, y.max() + 1]
            assert all(abs(SIDE * c - e) <= within for c, e in zip(corners, edges, strict=True)), (corners, edges)
    assert kept > COUNT / 4 and bool((followed[:, 4] < 0).any()) == some


def blob(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A lopsided thing with a hole, bool (H, W)."""
    y, x = np.mgrid[:height, :width] + 0.5
    (cy, cx), (ry, rx) = generator.uniform(0.4, 0.6, 2) * (height, width), generator.uniform(0.15, 0.3, 2) * height
    radius = np.hypot((y - cy) / ry, (x - cx) / rx + 0.3 * (y - cy) / ry)
    return (radius < 1) & (radius > 0.3)


def painted(mask: np.ndarray) -> np.ndarray:
    return np.repeat(mask[..., None], 3, 2).astype(np.uint8) * 255


def overlapping(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_masks_are_encoded_inside_their_boxes_from_whatever_says_them() -> None:
    generator = np.random.default_rng(0)
    for _ in range(5):
        mask = blob(generator, 90, 120)
        left, top, right, bottom = bounds(seg.packed(mask))
        forms = [mask, seg.packed(mask), seg.outlines(mask), {"size": [90, 120], "counts": runs(mask)}]
        box = {"x1": left, "y1": top, "x2": right, "y2": bottom, "label": "ring"}
        field = Boxes(["ring"], masks=56)
        encoded = [torch.from_numpy(field.encode([{**box, "mask": form}])) for form in forms]
        apart = [(instance_masks(one, 56)[0] ^ instance_masks(encoded[0], 56)[0]).float().mean() for one in encoded]
        assert apart[1] == apart[3] == 0 and apart[2] < 0.01, "a middle on an edge of pixels is of either"
        assert float(encoded[0][0, 6]) == mask.sum(), "its area is that of the mask"
        cells, known = instance_masks(encoded[0], 56)
        corners = encoded[0][:, :4] / torch.tensor([120, 90, 120, 90])
        again = pasted(cells, corners, (90, 120))[0].numpy() > 0.5
        assert bool(known.all()) and overlapping(again, mask) > 0.93
        assert torch.equal(unpacked(packed(cells)), cells)
        assert not instance_masks(torch.from_numpy(field.encode([box])), 28)[1].any()


def runs(mask: np.ndarray) -> list[int]:
    flat = np.concatenate([[False], mask.ravel(order="F")])
    return np.diff([0, *np.flatnonzero(np.diff(flat)), mask.size]).tolist()


@pytest.mark.parametrize(
    "augment",
    [{}, {"horizontal_flip": 0.5, "vertical_flip": 0.5}, {"rotation": 45}, {"random_resized_crop": [0.3, 0.8]},
     {"shear": 0.2}, {"elastic": 0.03}],
    ids=lambda augment: "-".join(augment) or "none",
)  # fmt: skip
def test_masks_follow_their_picture(augment: dict[str, Any]) -> None:
    generator = np.random.default_rng(0)
    masks = [blob(generator, 96, 96) for _ in range(24)]
    image = Image(96, augment=augment)
    image.mean, image.std, image.colour = [0.0] * 3, [1.0] * 3, "rgb"
    pictures = torch.stack(
        [torch.from_numpy(np.repeat(mask[..., None] * 255, 3, 2).astype(np.uint8)) for mask in masks]
    )
    field = Boxes(["ring"], masks=56)
    raw = []
    for mask in masks:
        corners = dict(zip(("x1", "y1", "x2", "y2"), bounds(seg.packed(mask)), strict=True))
        raw.append(torch.from_numpy(field.encode([{**corners, "label": "ring", "mask": mask}])))
    frames = torch.tensor([[96.0, 96, 1, 0, 1, 0]]).expand(len(masks), 6)
    seen, placement = image.lead(pictures, frames, True, torch.Generator().manual_seed(1))
    followed = field.follow(Ragged(torch.stack(raw), torch.ones(len(masks))), placement).values[:, 0]
    there = followed[:, 4] >= 0
    cells = instance_masks(followed, 56)[0]
    again = pasted(cells, followed[:, :4], (96, 96)).numpy() > 0.5
    assert there.sum() > len(masks) / 2
    for row in there.nonzero()[:, 0].tolist():
        assert overlapping(again[row], seen[row, 0].numpy() > 0.5) > 0.85, row


def test_an_answer_with_a_mask_is_run_lengths_of_the_raw_picture() -> None:
    generator = np.random.default_rng(0)
    mask = blob(generator, 60, 90)
    image = Image((40, 50), resize="pad")
    picture = painted(mask)
    image.fit([picture] * 4)
    field = Boxes(["ring"], masks=56)
    corners = dict(zip(("x1", "y1", "x2", "y2"), bounds(seg.packed(mask)), strict=True))
    encoded = torch.from_numpy(field.encode([{**corners, "label": "ring", "mask": mask}]))[None]
    placed = field.follow(Ragged(encoded, torch.ones(1)), image.placement([picture])).values[0]
    cells = instance_masks(placed, 28)[0].float().flatten(1)
    answer = torch.cat([placed[:, :4], torch.tensor([[0.9, 0]]), cells], 1).numpy()
    (box,) = task_of(field).decode(answer, asked=image, value=picture).label
    assert box["mask"]["size"] == [60, 90] and overlapping(seg.filled(box["mask"], (60, 90)), mask) > 0.85
    assert all(abs(box[name] - edge) < 0.1 for name, edge in corners.items())


def found(values: list[Any], pictures: list[Any], field: Boxes | None = None, image: Image | None = None) -> Any:
    """The findings about boxes, by their check."""
    field = field or Boxes()
    findings = [*field.check(values), *field.check_in(values, image or Image(), pictures)]
    assert len({finding.check for finding in findings}) == len(findings)
    return {finding.check: finding for finding in findings}


WRONG: dict[str, tuple[list[Any], str]] = {
    "swapped-corners": ([(30, 30, 10, 10, "cat")], "warning"),
    "no-area": ([(10, 10, 10, 30, "cat")], "warning"),
    "same-box": ([(10, 10, 30, 30, "cat")] * 2, "warning"),
    "empty-pictures": ([], "note"),
    "normalised": ([(0.1, 0.1, 0.5, 0.5, "cat")], "warning"),
    "outside-picture": ([(200, 10, 230, 30, "cat")], "warning"),
    "partly-outside": ([(-20, 10, 30, 30, "cat")], "note"),
    "tiny-objects": ([(10, 10, 12, 12, "cat")], "note"),
}


@pytest.mark.parametrize("check", WRONG)
def test_what_is_wrong_with_boxes_is_told_with_its_row_and_mended(check: str) -> None:
    good = [(10, 10, 40, 40, "cat")]
    (boxes, severity), pictures = WRONG[check], [np.zeros((80, 100, 3), np.uint8)] * 40
    values: list[Any] = [good] * 40
    assert not found(values, pictures)
    values[7] = boxes
    findings = found(values, pictures)
    assert [*findings] == [check] and findings[check].rows == [7]
    assert str(findings[check].severity) == severity and findings[check].fix
    field = Boxes()
    field.fit(values)
    encoded = field.encode(boxes)
    assert len(encoded) == {"no-area": 0, "empty-pictures": 0}.get(check, 1)
    assert (encoded[:, :2] < encoded[:, 2:4]).all()
    placed = field.follow(Ragged(torch.from_numpy(encoded)[None], torch.ones(1)), placed_as_it_is(100, 80)).values[0]
    assert ((placed[:, :4] >= 0) & (placed[:, :4] <= 1)).all()
    assert (placed[:, 4] == (-1 if check == "outside-picture" else 0)).all(), "one partly outside is cut, and there"


def placed_as_it_is(width: int, height: int) -> Placement:
    return Placement.of(torch.tensor([[height, width, 1, 0, 1, 0]]).float(), (height, width))


def test_what_is_wrong_with_all_of_the_boxes_is_told() -> None:
    pictures = [np.zeros((80, 100, 3), np.uint8)] * 40
    shares = found([[(0.1, 0.1, 0.5, 0.5, "cat")]] * 40, pictures)
    assert [*shares] == ["normalised"] and str(shares["normalised"].severity) == "error"
    unused = found([[(10, 10, 40, 40, "cat")]] * 40, pictures, Boxes(["cat", "dog"]))
    assert unused["unused-class"].places == ["dog"]
    rare = found([[(10, 10, 40, 40, "dog" if row == 3 else "cat")] for row in range(40)], pictures)
    assert rare["few-samples"].places == ["dog: 1"]
    assert str(found([[]] * 40, pictures)["no-boxes"].severity) == "error"
    small = found([[(10, 10, 30, 30, "cat")]] * 40, [np.zeros((800, 1000, 3), np.uint8)] * 40, image=Image(128))
    assert small["tiny-objects"].count == 40 and "at 128×128" in small["tiny-objects"].message
    assert "of 192 pixels" in small["tiny-objects"].fix
    assert not found([[(10, 10, 30, 30, "cat")]] * 40, [np.zeros((800, 1000, 3), np.uint8)] * 40, image=Image(512))


def test_boxes_of_the_picture_as_it_is_stored_are_told_from_those_of_the_picture_as_it_is_shown() -> None:
    exif = PIL.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    PIL.new("RGB", (100, 60)).save(buffer, "JPEG", exif=exif)  # shown 60 wide and 100 high
    pictures = [buffer.getvalue()] * 40
    shown, stored = [(10, 50, 50, 95, "cat")], [(50, 10, 95, 50, "cat")]
    values = [shown] * 40
    assert not found(values, pictures)
    values[3] = stored
    assert [*found(values, pictures)] == ["exif-boxes"] and found(values, pictures)["exif-boxes"].rows == [3]


def test_masks_that_cannot_be_learned_are_told_of() -> None:
    pictures = [np.zeros((80, 100, 3), np.uint8)] * 40
    box = {"x1": 10, "y1": 10, "x2": 40, "y2": 40, "label": "cat"}
    good = [{**box, "mask": [[10, 10, 40, 10, 40, 40]]}]
    masks = lambda: Boxes(masks=56)  # noqa: E731
    assert not found([good] * 40, pictures, masks())
    assert str(found([[box]] * 40, pictures, masks())["no-masks"].severity) == "error"
    values: list[Any] = [good] * 40
    values[2], values[3] = [*good, {**box, "x1": 5, "mask": [[1, 2]]}], [box]
    values[4] = [{**box, "mask": {"size": [5, 5], "counts": [0, 25]}}]
    findings = found(values, pictures, masks())
    assert {check: finding.rows for check, finding in findings.items()} == {
        "unreadable-mask": [2], "without-mask": [3], "mask-size": [4],
    }  # fmt: skip


def test_things_are_counted_by_class_and_size() -> None:
    values = [[(0, 0, 20, 20, "cat"), (0, 0, 90, 90, "dog")], [(0, 0, 200, 100, "cat"), (5, 5, 5, 9, "cat")]]
    described = Boxes().describe(values)
    assert described["counts"] == {"cat": 2, "dog": 1}
    assert described["sizes"]["cat"] == {"small": 1, "medium": 0, "large": 1}
    assert described["sizes"]["dog"] == {"small": 0, "medium": 1, "large": 0}


def test_lists_of_boxes_beside_pictures_are_a_dataset_and_pictures_in_two_splits_are_told_of() -> None:
    generator = np.random.default_rng(0)
    pictures = [generator.integers(0, 255, (40, 50, 3)).astype(np.uint8) for _ in range(30)]
    boxes = [[{"x1": 4, "y1": 5, "x2": 20, "y2": 30, "label": "cat"}]] * 29 + [[]]
    data = fb.Dataset.from_arrays(pictures, boxes, split=Split(together=True))
    assert data.fields["y"].kind == "boxes"
    train, valid = (int(data.rows(split)[0]) for split in ("train", "valid"))
    data.columns["x"][valid] = data.columns["x"][train]
    (leak,) = (finding for finding in data.check() if finding.check == "leakage")
    assert leak.rows == [train, valid]
    frame = pl.DataFrame({"x": range(30), "boxes": [[{**b, "crowd": None} for b in some] for some in boxes]})
    assert Boxes.recognise(frame["boxes"].to_list()).score > 0.9


@pytest.mark.parametrize("augment", [{"mosaic": 1.0}, {"copy_paste": {"p": 1.0, "share": 0.6}}], ids=str)
def test_masks_are_what_is_seen_of_things_in_pictures_that_are_made_of_several(augment: dict[str, Any]) -> None:
    """Each thing has a grey of its own, and one picture has none of another's."""
    generator, side = np.random.default_rng(0), 96
    pictures, values = [], []
    for number in range(10):
        picture, boxes = np.zeros((side, side), np.uint8), []
        for k in range(2):
            mask = np.zeros((side, side), bool)
            mask[:, k * 48 : k * 48 + 48] = blob(generator, side, 48) if k else blob(generator, 48, 48).repeat(2, 0)
            picture[mask] = 60 + 9 * (2 * number + k)
            corners = dict(zip(("x1", "y1", "x2", "y2"), bounds(seg.packed(mask)), strict=True))
            boxes.append({**corners, "label": "ring", "mask": mask, "area": float(60 + 9 * (2 * number + k))})
        pictures.append(picture)
        values.append(boxes)
    image, field = Image(side, "grey", augment=augment), Boxes(masks=56)
    data = fb.Dataset({"x": pictures, "y": values}, fields={"x": image, "y": field}, target="y", split="none")
    data.fit()
    image.mean, image.std = [0.0], [1.0]
    store, rows = encode(data), torch.arange(10)
    prepare = Preparer(data.fields, data.inputs, "y", torch.device("cpu"))
    made = prepare(rows, store.gather(rows), True, torch.Generator().manual_seed(3))
    greys, checked = (made.input[:, 0] * 255).round(), 0
    for grey, boxes in zip(greys, made.target.values, strict=True):
        masks = pasted(instance_masks(boxes, 56)[0], boxes[:, :4], (side, side)) > 0.5
        for box, mask in zip(boxes, masks, strict=True):
            shown = (grey - box[6]).abs() < 4
            if box[4] >= 0 and box[6] > 0 and shown.sum() > 200:
                assert overlapping(mask.numpy(), shown.numpy()) > 0.7, "but for its edge, which is of two greys"
                checked += 1
    assert checked > 10
