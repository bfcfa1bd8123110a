"""Pictures of any size brought to one, within a graph: what `flambeau.fields.decoding.resize` does to a picture before
it is kept, as a product with the weights of each line and column, which hang on the size that comes in.

The antialiased triangle filter of Pillow, whose own two roundings and first coarse step make a difference of a level of
grey here and there; a picture of the right size stays as it is, to the bit. Costs 2·H·h·w·C operations a picture.
"""

from __future__ import annotations

import torch
from torch import Tensor

from flambeau.core.shapes import UInt8


def fit(
    pictures: UInt8[Tensor, "B h w C"], size: tuple[int, int], how: str, background: int
) -> UInt8[Tensor, "B H W C"]:
    """Pictures of one size, any, at another.

    Args:
        size: (H, W).
        how: `squash`, `crop` or `pad`.
        background: what is around a picture that is padded.
    """
    sides = [torch.ones_like(pictures[0, :, 0, 0]).sum(), torch.ones_like(pictures[0, 0, :, 0]).sum()]
    steps = [side.float() / wanted for side, wanted in zip(sides, size, strict=True)]  # pixels that one is made of
    common = torch.minimum(*steps) if how == "crop" else torch.maximum(*steps) if how == "pad" else None
    weights, inside = [], []
    for side, step, wanted, given in zip(sides, steps, size, pictures.shape[1:3], strict=True):
        seen = torch.arange(given, device=pictures.device) + 0.5
        places = torch.arange(wanted, device=pictures.device) + 0.5
        if how == "crop":
            assert common is not None
            start, step, width = (side - wanted * common) / 2, common, torch.full_like(common, wanted)
        elif how == "pad":
            assert common is not None
            width = (side / common).round().clamp_min(1)
            places, start, step = places - ((wanted - width) / 2).floor(), torch.zeros_like(common), side / width
        else:
            start, width = torch.zeros_like(step), torch.full_like(step, wanted)
        middle = start + places * step
        rows = (1 - (seen - middle[:, None]).abs() / step.clamp_min(1)).clamp_min(0)
        weights.append(rows / rows.sum(1, keepdim=True).clamp_min(1e-6))
        inside.append((places > 0) & (places < width))
    small = torch.einsum("yh,bhwc->bywc", weights[0], pictures.float())
    small = torch.einsum("xw,bywc->byxc", weights[1], small).round().clamp(0, 255)
    if how == "pad":
        there = inside[0][:, None] & inside[1]
        small = torch.where(there[None, :, :, None], small, torch.full_like(small, background))
    return small.to(torch.uint8)
