"""Views of a picture by name: mirrored, and the crops of its middle and corners (Krizhevsky et al. 2012)."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

CROP = 0.875
"""Of a side: 224 of 256 pixels, as there."""


def mirrored(images: Tensor) -> Tensor:
    """uint8 (B, H, W, C), left and right exchanged."""
    return images.flip(2)


def crop(images: Tensor, down: float, right: float, mirror: bool) -> Tensor:
    """uint8 (B, H, W, C): a part of CROP of each side, brought to the same shape.

    Args:
        down, right: where it lies, of the room that it has: 0 at the top or left, 1 at the bottom or right.
    """
    _, H, W, _ = images.shape
    height, width = max(1, round(CROP * H)), max(1, round(CROP * W))
    top, left = round(down * (H - height)), round(right * (W - width))
    part = images[:, top : top + height, left : left + width].permute(0, 3, 1, 2).float()
    part = part.flip(3) if mirror else part
    # of bytes no bilinear value lies beyond 0…255
    return F.interpolate(part, (H, W), mode="bilinear", align_corners=False).round().byte().permute(0, 2, 3, 1)


PLACES = ((0.5, 0.5), (0, 0), (0, 1), (1, 0), (1, 1))
CROPS = [functools.partial(crop, down=d, right=r, mirror=mirror) for mirror in (False, True) for d, r in PLACES]
VIEWS: dict[str, list[Callable[[Tensor], Tensor] | None]] = {
    "flip": [None, mirrored], "five_crops": [*CROPS[:5]], "ten_crops": [*CROPS],
}  # fmt: skip
"""None is the whole picture as it is."""
