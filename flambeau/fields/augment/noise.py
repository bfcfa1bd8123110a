"""Gaussian noise and random erasing."""

from __future__ import annotations

import torch
from torch import Tensor

from flambeau.fields.augment.draws import Draws, places, rectangles
from flambeau.fields.augment.effects import GaussianNoise, RandomErasing


def add_noise(
    out: Tensor, noise: GaussianNoise, chosen: Tensor, std: Tensor, generator: torch.Generator, planar: bool, each: bool
) -> None:
    """Adds normal noise to the chosen samples, in place.

    Args:
        out: normalised float32 (b, C, P) where planar, else (b, P, C).
        noise: its settings; sigma is in 0…1 units.
        chosen: bool (b).
        std: float32 (C) of the normalisation.
        generator: lives on the device of `out`.
        planar: the order of axes.
        each: sample by sample, as suits a CPU, or all at once.
    """
    scale = (noise.sigma / std)[:, None] if planar else noise.sigma / std
    if each:  # normal numbers are dear here (4 ns each): only those that are used
        for i in chosen.nonzero()[:, 0].tolist():
            drawn = torch.empty(out.shape[1:]).normal_(generator=generator)
            out[i].addcmul_(drawn, scale)
        return
    drawn = torch.empty_like(out).normal_(generator=generator)
    out.addcmul_(drawn, scale * chosen[:, None, None])


def erase(images: Tensor, erasing: RandomErasing, draws: Draws, generator: torch.Generator, each: bool) -> None:
    """Erases a rectangle of each chosen sample of normalised images (B, C, H, W), in place."""
    _, C, H, W = images.shape
    # the ratio is height / width here, width / height there (as in torchvision): sides are drawn transposed
    width, height, fits = rectangles(draws, "random_erasing", (W, H), erasing.scale, erasing.ratio)
    chosen = draws.chosen("random_erasing", erasing.p) & fits & (height < H) & (width < W)
    top, left = places(draws, "random_erasing", ((H - height).clamp_(min=0), (W - width).clamp_(min=0)))
    if each:
        picked = chosen.nonzero()[:, 0]
        boxes = torch.stack([picked, top[picked], left[picked], height[picked], width[picked]], 1)
        for i, t, x, h, w in boxes.tolist():
            part = images[i, :, t : t + h, x : x + w]
            if erasing.fill == "mean":
                part.zero_()
            else:
                part.copy_(torch.empty(C, h, w).normal_(generator=generator))
        return
    down, across = torch.arange(H, device=images.device), torch.arange(W, device=images.device)
    rows = (down >= top[:, None]) & (down < (top + height)[:, None])
    columns = (across >= left[:, None]) & (across < (left + width)[:, None])
    mask = (rows[:, None, :, None] & columns[:, None, None, :]) & chosen[:, None, None, None]
    if erasing.fill == "mean":
        images.masked_fill_(mask, 0)
    else:
        drawn = torch.empty(images.shape, device=images.device).normal_(generator=generator)
        images.copy_(torch.where(mask, drawn.to(images.dtype), images))
