"""Through every augmentation by name: a box that is drawn into the picture and the box itself stay together to half a
pixel, points and masks stay on it too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from flambeau.fields.augment import EFFECTS, Augmentation
from flambeau.fields.augment.movement import Movement
from flambeau.fields.placement import Placement

SIZE = H, W = (112, 144)
COUNT = 24
DARK, BRIGHT = 0.15, 0.75  # no solarization makes them alike
TONED = ("one of", "randaugment", "trivialaugment")  # change half-bright edges as they change tones, after moving them
AUGMENTATIONS = {name: {name: True} for name in EFFECTS} | {
    "window and shape": {"random_resized_crop": (0.5, 1.0), "rotation": 30, "zoom": 0.2, "horizontal_flip": 0.5},
    "bent": {"perspective": 0.3, "elastic": 0.02, "vertical_flip": 0.5, "padding": "edge"},
    "one of": {"one_of": [{"shear": 15, "blur": 1.0}, {"vertical_shear": 15}, {"shift": 0.2, "solarize": 1.0}]},
}  # fmt: skip


def drawn() -> tuple[Tensor, Tensor]:
    """Grey pictures with a rectangle each, uint8 (B, H, W, 1), and its box, float32 (B, 1, 4)."""
    generator = torch.Generator().manual_seed(0)
    sides = torch.randint(16, 40, (COUNT, 2), generator=generator)
    corners = torch.tensor([W, H]) // 2 - sides // 2 + torch.randint(-12, 13, (COUNT, 2), generator=generator)
    pictures = torch.full((COUNT, H, W, 1), round(255 * DARK), dtype=torch.uint8)
    for picture, (x, y), (width, height) in zip(pictures, corners.tolist(), sides.tolist(), strict=True):
        picture[y : y + height, x : x + width] = round(255 * BRIGHT)
    return pictures, torch.cat([corners, corners + sides], 1)[:, None].float()


def edges(picture: Tensor, level: float) -> list[float]:
    """Left, top, right and bottom of where (H, W) in 0…1 is above `level`, between the middles of pixels."""
    found = []
    for profile in (picture.amax(0), picture.amax(1)):
        above = (profile > level).nonzero()[:, 0]
        first, last = int(above[0]), int(above[-1])
        for inner, outer in ((first, first - 1), (last, last + 1)):
            share = (level - profile[outer]) / (profile[inner] - profile[outer])
            found.append(float(outer + 0.5 + (inner - outer) * share))
    return [found[0], found[2], found[1], found[3]]


def moved(settings: dict[str, object], pictures: Tensor, seed: int) -> tuple[Tensor, Movement, Placement]:
    augmentation = Augmentation.from_dict({"fill": DARK, **settings})
    out, movement = augmentation.moving(pictures, size=SIZE, generator=torch.Generator().manual_seed(seed))
    frames = torch.tensor([[H, W, 1.0, 0.0, 1.0, 0.0]]).repeat(len(pictures), 1)
    return out, movement, Placement.of(frames, SIZE, movement)


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS.keys() - {"random_erasing"}))  # which may erase the rectangle
def test_a_box_stays_on_what_is_drawn_there(name: str) -> None:
    pictures, boxes = drawn()
    checked = 0
    for seed in range(2):
        out, movement, placement = moved(AUGMENTATIONS[name], pictures, seed)
        # Half of an edge is half as bright. Of a corner that is turned, a quarter: a level between both is a quarter
        # of a pixel off at most. What is not moved may be blurred, which leaves its half where it was.
        level = 0.5 if movement.still else 0.35
        placed = placement.boxes(boxes, cut=False)[:, 0]
        middles = placement.points(boxes.unflatten(2, (2, 2)).mean(2))[:, 0]
        mask = placement.nearest((pictures[..., 0] > 255 * (DARK + BRIGHT) / 2).byte(), 255)
        targets = placement.picture(pictures)[..., 0].float() / 255
        for picture, box, middle, classes, target in zip(out[:, 0], placed, middles, mask, targets, strict=True):
            if not ((box > 4).all() and (box < torch.tensor([W - 4, H - 4]).repeat(2)).all()):
                continue
            x, y = middle.long().tolist()
            dark, bright = picture.quantile(0.5 if movement.still else 0.3), picture[y, x]
            if (bright - dark).abs() < 0.02:
                continue  # so faint that nothing can be read from it
            checked += 1
            seen = ((picture - dark) / (bright - dark)).clamp(0, 1)
            np.testing.assert_allclose(edges(seen, level), box, atol=1.0 if name in TONED else 0.5)
            share = (target - DARK) / (BRIGHT - DARK)
            np.testing.assert_allclose(edges(share, level), box, atol=0.5)
            assert (classes[share > 0.99] == 1).all() and (classes[share < 0.01] != 1).all(), "but for the edge"
    assert checked >= COUNT / 2
