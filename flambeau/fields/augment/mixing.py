"""Pictures that are made of several of their batch, with what has a place in them: mosaic and copy-paste."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from flambeau.core.shapes import Bool, Float
from flambeau.fields.augment.effects import CopyPaste, Mosaic, get
from flambeau.fields.pieces import Pieces

if TYPE_CHECKING:
    from flambeau.fields.augment.pipeline import Augmentation
    from flambeau.fields.base import Field

MIDDLE = (0.3, 0.7)
"""Shares of the sides between which the four pictures of a mosaic meet."""


def mix(
    augmentation: Augmentation,
    images: Float[Tensor, "B C H W"],
    followers: Mapping[str, tuple[Field, Any]],
    generator: torch.Generator,
) -> tuple[Float[Tensor, "B C H W"], dict[str, Any]]:
    """A training batch with the pictures mixed, where that is on: mosaics first, then things are pasted.

    Args:
        images: as the model is to see them.
        followers: by column, what has a place in the pictures: its field and its prepared values.
        generator: the only source of randomness, on any device.

    Raises:
        UsageError: something cannot be mixed, see `Field.assembled` and `Field.cutouts`.
    """
    values = {name: value for name, (_, value) in followers.items()}
    mosaic, paste = get(augmentation.effects, Mosaic), get(augmentation.effects, CopyPaste)
    B, _, H, W = images.shape

    def made(pieces: Pieces) -> Tensor:
        for name, (field, _) in followers.items():
            values[name] = field.assembled(values[name], pieces)
        return pieces.picture(images)

    if mosaic is not None:
        images = made(quarters(mosaic, B, (H, W), generator, images.device))
    if paste is not None:
        for name, (field, _) in followers.items():
            there = field.cutouts(values[name], (H, W), paste.share, generator)
            if there is not None:
                images = made(pasted(paste, there, generator))
                break
    return images, values


def quarters(mosaic: Mosaic, B: int, size: tuple[int, int], generator: torch.Generator, device: torch.device) -> Pieces:
    """Four samples each that meet at a point in the middle, each as small as fills its quarter, as large as it was, or
    between; samples without a mosaic are as they were."""
    drawn = torch.rand(B, 15, generator=generator, device=generator.device).to(device)
    order = torch.randperm(B, generator=generator, device=generator.device).to(device)
    place = order.argsort()
    sources = [order[(place + k) % B] for k in range(4)]  # its own, and three others where there are four
    chosen = drawn[:, 0] < mosaic.p
    H, W = size
    sides = drawn.new_tensor([W, H])
    middle = ((MIDDLE[0] + (MIDDLE[1] - MIDDLE[0]) * drawn[:, 1:3]) * sides).round() / sides  # between whole pixels
    right, below = torch.tensor([0, 1, 0, 1], device=device), torch.tensor([0, 0, 1, 1], device=device)
    second = torch.stack([right, below], 1).bool()  # (4, 2)
    start = torch.where(second, middle[:, None], 0.0)
    length = torch.where(second, 1 - middle[:, None], middle[:, None])
    least = length.amax(2, keepdim=True)
    scale = (least + (1 - least) * drawn[:, 3:7, None]).expand(-1, -1, 2)
    offset = start - drawn[:, 7:15].unflatten(1, (4, 2)) * (scale - length)
    x, y = torch.arange(W, device=device) >= middle[:, :1] * W, torch.arange(H, device=device) >= middle[:, 1:] * H
    owner = x[:, None].long() + 2 * y[:, :, None].long()
    plain = ~chosen[:, None, None]
    return Pieces(
        owner.masked_fill(plain, 0),
        torch.stack(sources, 1),
        torch.where(plain, 1.0, scale),
        torch.where(plain, 0.0, offset),
    )


def pasted(paste: CopyPaste, there: Bool[Tensor, "B H W"], generator: torch.Generator) -> Pieces:
    """Onto each sample what another one has, where `there` says; nothing onto those that are left as they are."""
    B, device = len(there), there.device
    chosen = (torch.rand(B, generator=generator, device=generator.device) < paste.p).to(device)
    other = torch.randperm(B, generator=generator, device=generator.device).to(device)
    owner = (there[other] & chosen[:, None, None]).long()
    return Pieces(owner, torch.stack([torch.arange(B, device=device), other], 1))
