"""Blur and sharpness: what looks at a pixel's neighbours."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from flambeau.fields.augment import colour
from flambeau.fields.augment.draws import Draws
from flambeau.fields.augment.effects import Blur, Effect, Sharpness, get

NEIGHBOURS = ((1, 1, 1), (1, 5, 1), (1, 1, 1))
"""Thirteenths: what sharpness sees as the smooth picture, as in PIL and torchvision."""


class Filters:
    """Blurs, then sharpens, the samples of a batch. Both are linear and keep a flat picture as it is, so that they may
    follow normalisation.

    Args:
        active: the effects that are on.
        draws: their random numbers.
        each: only the samples that are changed are touched, as suits a CPU; else all of them, without waiting.
    """

    def __init__(self, active: Mapping[type[Effect], Effect], draws: Draws, each: bool):
        self.each = each
        blur = get(active, Blur)
        self.sigma, self.factor = None, colour.factor("sharpness", get(active, Sharpness), draws)
        if blur:
            self.sigma = draws.between("blur", *blur.sigma, blur.p, 0.0)
            self.radius = math.ceil(3 * blur.sigma[1])

    def __bool__(self) -> bool:
        return self.sigma is not None or self.factor is not None

    def apply(self, out: Tensor, rows: slice, planar: bool) -> None:
        """Samples `rows`, float32 (b, C, H, W), or (b, H, W, C) where not planar, in place."""
        images = out if planar else out.permute(0, 3, 1, 2)
        for amount, idle, change in ((self.sigma, 0.0, self._blurred), (self.factor, 1.0, sharpened)):
            if amount is None:
                continue
            amount = amount[rows]
            if not self.each:
                images.copy_(change(images, amount))
                continue
            at = (amount != idle).nonzero()[:, 0]
            if len(at):
                images[at] = change(images[at], amount[at])

    def _blurred(self, images: Tensor, sigma: Tensor) -> Tensor:
        return blurred(images, sigma, self.radius)


def blurred(images: Tensor, sigma: Tensor, radius: int, beyond: str = "reflect") -> Tensor:
    """float32 (B, C, H, W) by a Gaussian of deviation sigma (B) in pixels, cut at `radius`; a sigma of 0 changes
    nothing. What is taken to lie `beyond` the edges is a mode of `torch.nn.functional.pad`."""
    B, C, H, W = images.shape
    for axis, side in ((2, H), (3, W)):
        reach = min(radius, side - 1)
        distance = torch.arange(-reach, reach + 1, device=images.device)
        weights = torch.exp(-0.5 * (distance / sigma.clamp(min=0.01)[:, None]) ** 2)
        weights = (weights / weights.sum(1, keepdim=True)).repeat_interleave(C, 0)
        across = axis == 3
        padding = (reach, reach, 0, 0) if across else (0, 0, reach, reach)
        padded = F.pad(images.reshape(1, B * C, H, W), padding, mode=beyond)
        kernel = weights[:, None, None, :] if across else weights[:, None, :, None]
        images = F.conv2d(padded, kernel, groups=B * C).view(B, C, H, W)
    return images


def sharpened(images: Tensor, factor: Tensor) -> Tensor:
    """float32 (B, C, H, W): distances to the smooth picture times factor (B); the edge pixels stay as they are."""
    B, C, H, W = images.shape
    if min(H, W) < 3:
        return images
    kernel = images.new_tensor(NEIGHBOURS)[None, None] / 13
    inside = images[:, :, 1:-1, 1:-1]
    smooth = F.conv2d(images.reshape(B * C, 1, H, W), kernel).view(B, C, H - 2, W - 2)
    changed = images.clone()
    changed[:, :, 1:-1, 1:-1] = smooth + (inside - smooth) * factor[:, None, None, None]
    return changed
