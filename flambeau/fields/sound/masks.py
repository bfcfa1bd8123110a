"""SpecAugment for whole batches of spectrograms (B, M, F): bands and spans of time blanked, time warped.

Park et al., "SpecAugment" (2019), https://arxiv.org/abs/1904.08779.
"""

from __future__ import annotations

import torch
from torch import Tensor


def stripes(size: int, widths: Tensor, places: Tensor) -> Tensor:
    """bool (B, size): what stripes cover of an axis.

    Args:
        widths: of each stripe, (B, n), as shares 0…1 of the axis.
        places: of each stripe within the room that it leaves, (B, n), 0…1.
    """
    width = (widths * size).floor()
    start = ((size - width) * places).floor()
    steps = torch.arange(size, device=widths.device)
    return ((steps >= start[..., None]) & (steps < (start + width)[..., None])).any(1)


def warp_time(pictures: Tensor, centres: Tensor, moves: Tensor) -> Tensor:
    """Pictures whose time runs faster before a point and slower behind it, or the other way round.

    Args:
        centres: the point, (B), as a share 0…1 of the frames.
        moves: how far it moves, (B), as a share; centre and centre + move must lie inside 0…1.
    """
    last = pictures.shape[2] - 1
    centre, target = centres[:, None] * last, (centres + moves)[:, None] * last
    steps = torch.arange(last + 1, device=pictures.device, dtype=pictures.dtype)[None]
    before = steps * centre / target.clamp_min(1e-6)
    after = centre + (steps - target) * (last - centre) / (last - target).clamp_min(1e-6)
    position = torch.where(steps < target, before, after).clamp(0, last)  # (B, F)
    whole = position.floor().long().clamp_max(max(last - 1, 0))
    part = (position - whole)[:, None]
    first = whole[:, None].expand_as(pictures)
    return pictures.gather(2, first) * (1 - part) + pictures.gather(2, (first + 1).clamp_max(last)) * part
