"""Whatever is drawn of an augmentation: boxes lie in the model's input, are of their class or gone, and those within
others stay within them; crops that are to keep boxes do; and a seed gives the same to the bit."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from flambeau.fields import Boxes, Image, Ragged
from flambeau.fields.augment import Augmentation
from flambeau.fields.boxes import SEEN
from flambeau.fields.picture.overlap import area
from flambeau.fields.placement import Placement

SIDE = 48
RAW = 60, 96  # height and width of the raw pictures
LIMITS = torch.tensor([96.0, 60.0, 96.0, 60.0])
GEOMETRY: dict[str, st.SearchStrategy[Any]] = {
    "horizontal_flip": st.just(0.5),
    "vertical_flip": st.just(0.5),
    "rotation": st.floats(0, 180),
    "shift": st.floats(0, 0.5),
    "zoom": st.floats(0, 0.9),
    "shear": st.floats(0, 60),
    "perspective": st.floats(0, 0.8),
    "elastic": st.floats(0, 0.03),
}
WINDOWS: list[st.SearchStrategy[dict[str, Any]]] = [
    st.just({}),
    st.builds(lambda keep: {"random_resized_crop": {"scale": (0.1, 1.0), "keep": keep}}, st.sampled_from([0.0, 0.6])),
    st.builds(lambda low: {"large_scale_jitter": (low, 2.0)}, st.floats(0.1, 1)),
]
augmentations = st.builds(
    lambda effects, window, padding: {**effects, **window, "padding": padding},
    st.fixed_dictionaries({}, optional=GEOMETRY),
    st.one_of(WINDOWS),
    st.sampled_from(["constant", "edge"]),
)


def random_boxes(seed: int, count: int = 6) -> Tensor:
    """float32 (4, count, 7) as `Boxes` encodes them, in raw pictures; some reach beyond them."""
    generator = torch.Generator().manual_seed(seed)
    H, W = RAW
    middles = torch.rand(4, count, 2, generator=generator) * torch.tensor([W, H])
    halves = torch.rand(4, count, 2, generator=generator) * 20 + 1
    classes = torch.randint(0, 3, (4, count, 1), generator=generator).float()
    return torch.cat([middles - halves, middles + halves, classes, torch.zeros_like(classes), classes + 5], 2)


def led(augment: dict[str, Any], boxes: Tensor, seed: int) -> tuple[Tensor, Placement, Tensor]:
    """Pictures as the model sees them, where they lie, and the boxes there."""
    image = Image(SIDE, "grey", augment=augment)
    image.mean, image.std = [0.0], [1.0]
    H, W = RAW
    frames = torch.tensor([[H, W, SIDE / W, 0.0, SIDE / H, 0.0]]).repeat(len(boxes), 1)
    stored = torch.randint(0, 256, (len(boxes), SIDE, SIDE, 1), dtype=torch.uint8, generator=seeded(5))
    field, ragged = Boxes(["a", "b", "c"]), Ragged(boxes, torch.full((len(boxes),), boxes.shape[1]))
    picture, placement = image.lead(stored, frames, True, seeded(seed), field.things(ragged))
    return picture, placement, field.follow(ragged, placement).values


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=60, deadline=None)
@given(augmentations, st.integers(0, 10**6))
def test_boxes_stay_in_the_picture_and_of_their_class_or_are_gone(augment: dict[str, Any], seed: int) -> None:
    boxes = random_boxes(seed)
    picture, placement, followed = led(augment, boxes, seed)
    corners, classes = followed[..., :4], followed[..., 4]
    assert (corners >= 0).all() and (corners <= 1).all() and (corners[..., 2:] >= corners[..., :2]).all()
    assert ((classes == boxes[..., 4]) | (classes == -1)).all() and torch.equal(followed[..., 5:], boxes[..., 5:])
    whole = area(placement.boxes(boxes[..., :4].clamp(torch.zeros(4), LIMITS), cut=False))
    share = area(corners) * SIDE**2 / whole.clamp_min(1e-6)
    assert (share <= 1 + 1e-3).all(), "what is cut is not larger"
    sure = (share - SEEN).abs() > 1e-3
    assert ((classes == -1) == (share <= SEEN))[sure].all()
    again = led(augment, boxes, seed)
    assert torch.equal(again[0], picture) and torch.equal(again[2], followed), "a step that is taken again"


@settings(max_examples=40, deadline=None)
@given(augmentations, st.integers(0, 10**6))
def test_a_box_within_another_stays_within_it(augment: dict[str, Any], seed: int) -> None:
    outer = random_boxes(seed)
    inner = outer.clone()
    inner[..., :2], inner[..., 2:4] = torch.lerp(
        outer[..., :2], outer[..., 2:4], torch.tensor([[0.2], [0.7]])[..., None, None]
    )
    kept = {**augment, **({"random_resized_crop": (0.1, 1.0)} if "random_resized_crop" in augment else {})}
    small, large = (led(kept, boxes, seed)[2][..., :4] for boxes in (inner, outer))
    slack = 0.5 / SIDE if "elastic" in augment else 1e-4  # a bent box is that about points along its edges
    assert (small[..., :2] >= large[..., :2] - slack).all() and (small[..., 2:] <= large[..., 2:] + slack).all()


@settings(max_examples=60, deadline=None)
@given(st.floats(0.05, 1), st.integers(0, 10**6), st.integers(0, 3))
def test_a_crop_keeps_one_of_the_boxes_or_shows_all(keep: float, seed: int, count: int) -> None:
    boxes = random_boxes(seed, count)[..., :4].clamp(torch.zeros(4), LIMITS) / torch.tensor(RAW[::-1] * 2)
    augmentation = Augmentation(random_resized_crop={"scale": (0.02, 0.5), "keep": keep})
    pictures = torch.zeros(4, SIDE, SIDE, 1, dtype=torch.uint8)
    for each in (True, False):
        _, movement = augmentation.moving(pictures, generator=seeded(seed), each=each, things=boxes)
        frames = torch.tensor([[SIDE, SIDE, 1.0, 0.0, 1.0, 0.0]]).repeat(4, 1)
        placed = Placement.of(frames, (SIDE, SIDE), movement)
        stored = boxes * SIDE
        share = area(placed.boxes(stored)) / area(placed.boxes(stored, cut=False)).clamp_min(1e-6)
        shown = movement.inverse[:, 0, 0] * movement.inverse[:, 1, 1]  # of the picture's area
        for i in range(4):
            assert shown[i] == 1 or (share[i] >= keep - 1e-3).any() or count == 0
        assert count > 0 or (shown < 0.6).all(), "without boxes any window will do"
