"""Boxes (…, 4) as left, top, right, bottom: their areas, and how far two overlap."""

from __future__ import annotations

import torch
from torch import Tensor

from flambeau.core.shapes import Float

LEAST = 1e-9  # of a divisor


def area(boxes: Float[Tensor, "*N sides"]) -> Float[Tensor, "*N"]:
    """The areas of boxes, whose first four numbers count; 0 where a side is not above 0."""
    return (boxes[..., 2:4] - boxes[..., :2]).clamp_min(0).prod(-1)


def overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """IoU, and generalized IoU (Rezatofighi et al. 2019, arXiv:1902.09630), of boxes (…, 4) with those at their
    places, which may be broadcast."""
    shared = area(torch.cat([torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:4], b[..., 2:4])], -1))
    union = (area(a) + area(b) - shared).clamp_min(LEAST)
    about = area(torch.cat([torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:4], b[..., 2:4])], -1))
    return shared / union, shared / union - (about - union) / about.clamp_min(LEAST)
