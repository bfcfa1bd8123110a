"""Targets and answers of detectors between the forms of this package and of torchvision."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from flambeau.core.shapes import Float
from flambeau.fields import Ragged
from flambeau.fields.picture.instances import instance_masks, pasted

Boxes = dict[str, Tensor]
SIDE = 56  # cells of the masks that are trained on


def learned(target: Ragged, size: tuple[int, int], first: int = 0, with_masks: bool = False) -> list[Boxes]:
    """The boxes of each picture that are learned of: {boxes (M, 4) in pixels, labels (M)}, and with masks those of the
    picture's size, {masks uint8 (M, H, W)}; a box whose mask nobody knows is taken for its thing.

    Args:
        target: as `Boxes.follow` gives it; without crowds, and without what is gone from the picture.
        size: height and width in pixels.
        first: the number of the first class.
    """
    H, W = size
    values = target.values.float()
    there = torch.arange(values.shape[1], device=values.device) < target.lengths.to(values.device)[:, None]
    has_area = (values[..., 2:4] > values[..., :2]).all(-1)
    there &= has_area & (values[..., 4] >= 0) & (values[..., 5] == 0)
    pixels = values[..., :4] * values.new_tensor([W, H, W, H])
    labels = values[..., 4].long() + first
    rows = [{"boxes": boxes[kept], "labels": of[kept]} for boxes, of, kept in zip(pixels, labels, there, strict=True)]
    if with_masks:
        for row, encoded, kept in zip(rows, values, there, strict=True):
            inside, known = instance_masks(encoded[kept], SIDE)
            inside = inside | ~known[:, None, None]
            row["masks"] = (pasted(inside, encoded[kept, :4], (H, W)) >= 0.5).to(torch.uint8)
    return rows


def packed(found: Sequence[Boxes], size: tuple[int, int], most: int, first: int = 0) -> Float[Tensor, "B N numbers"]:
    """What torchvision's detectors found, in one tensor: corners in 0…1, score, class, and behind them the mask of each
    box, where there are any; zeros where fewer than `most` were found."""
    H, W = size
    rows = []
    for one in found:
        corners = one["boxes"].float() / one["boxes"].new_tensor([W, H, W, H]).float()
        parts = [corners, one["scores"].float()[:, None], (one["labels"] - first).float()[:, None]]
        if "masks" in one:
            parts.append(one["masks"].float().flatten(1))
        row = torch.cat(parts, 1)[:most]
        rows.append(torch.cat([row, row.new_zeros(most - len(row), row.shape[1])]))
    return torch.stack(rows)
