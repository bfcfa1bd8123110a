"""Segments: what is filled is outlined and packed again, and read as pycocotools reads it."""

from __future__ import annotations

import numpy as np
import pytest
from faster_coco_eval import mask as coco
from hypothesis import given, settings
from hypothesis.extra import numpy as shapes

from flambeau.core.errors import DataError
from flambeau.fields.picture.segments import area, bounds, filled, joined, outlines, packed, polygons

MASKS = shapes.arrays(bool, shapes.array_shapes(min_dims=2, max_dims=2, max_side=12))


@settings(max_examples=200, deadline=None)
@given(MASKS)
def test_run_lengths_are_those_of_pycocotools_and_come_back(mask: np.ndarray) -> None:
    ours, theirs = packed(mask), coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    counts = theirs["counts"]
    assert ours["counts"] == (counts.decode() if isinstance(counts, bytes) else counts)
    assert ours["size"] == [*theirs["size"]]
    assert (filled(ours, mask.shape) == mask).all() and area(ours) == mask.sum()


@settings(max_examples=200, deadline=None)
@given(MASKS)
def test_the_outlines_of_a_mask_are_filled_to_that_mask(mask: np.ndarray) -> None:
    """With holes, and parts that touch at a corner."""
    found = outlines(mask)
    if not mask.any():
        assert found == []
        return
    assert (filled(found, mask.shape) == mask).all()
    assert (filled([joined(polygons(found)).ravel().tolist()], mask.shape) == mask).all(), "as one line too"
    y, x = np.nonzero(mask)
    assert bounds(found) == bounds(packed(mask)) == (x.min(), y.min(), x.max() + 1, y.max() + 1)


def test_a_polygon_is_filled_as_pycocotools_does_but_for_its_edge() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        angles = np.sort(generator.uniform(0, 2 * np.pi, 9))
        radius = generator.uniform(8, 30, 9)
        ring = np.stack([32 + radius * np.cos(angles), 30 + radius * np.sin(angles)], 1).ravel().tolist()
        theirs = coco.decode(coco.frPyObjects([ring], 60, 64))[..., 0] > 0
        ours = filled([ring], (60, 64))
        shared, either = (ours & theirs).sum(), (ours | theirs).sum()
        assert shared / either > 0.9
        assert abs(ours.sum() - area([ring])) < 0.02 * area([ring]) + 8, "as many pixels as it encloses"


@pytest.mark.parametrize(
    "segment",
    [[], [[1, 2]], [["a", 1, 2, 3, 4, 5]], [[0, 0, 1, float("nan"), 3, 3]], {"size": [2, 2], "counts": [5]},
     {"size": [2, 2]}, {"size": [2, 2], "counts": "\x00"}, {"size": [-1, -4], "counts": [4]}, 3],
)  # fmt: skip
def test_what_is_no_segment_is_said(segment: object) -> None:
    with pytest.raises(DataError):
        filled(segment, (2, 2))  # type: ignore[arg-type]
