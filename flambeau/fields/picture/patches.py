"""Patches: the same part, cut at random, of a picture and of what lies on its pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from flambeau.core.errors import UsageError, shown


def checked_patch(patch: int | None) -> int | None:
    """Raises UsageError where it is no number of pixels."""
    if patch is not None and (not isinstance(patch, int) or isinstance(patch, bool) or patch < 1):
        raise UsageError(f"patch={shown(patch)} does not fit", expected="pixels a side")
    return patch


def cut(
    picture: Tensor, value: Tensor, side: int, generator: torch.Generator, scale: int = 1
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The same part of each, `side` pixels of the picture a side at most, somewhere else in each sample.

    Args:
        picture: (B, C, H, W).
        value: (B, …, s·H, s·W).
        scale: s.
    """
    size = [min(side, length) for length in picture.shape[2:]]
    if size == [*picture.shape[2:]]:
        return picture, value
    room = picture.new_tensor([length - part + 1 for length, part in zip(picture.shape[2:], size, strict=True)])
    places = (torch.rand(len(picture), 2, generator=generator, device=picture.device) * room).long().tolist()
    (h, w), s = size, scale
    parts = [one[..., y : y + h, x : x + w] for one, (y, x) in zip(picture, places, strict=True)]
    there = [one[..., s * y : s * (y + h), s * x : s * (x + w)] for one, (y, x) in zip(value, places, strict=True)]
    return torch.stack(parts), torch.stack(there)
