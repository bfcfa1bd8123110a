"""What is trained beside pretrained weights, and can be left out to have these as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


class Added(nn.Module):
    """A part that adds something to what pretrained weights give.

    Attributes:
        scale: that what it adds is multiplied by.
        removable: whether the weights beside it stay as they were, also when the training is done.
    """

    scale: float
    removable: bool


@contextmanager
def left_out(model: nn.Module) -> Iterator[int]:
    """While entered, a model is as it was before it was trained; gives how many parts are left out."""
    parts = [part for part in model.modules() if isinstance(part, Added) and part.removable]
    scales = [part.scale for part in parts]
    for part in parts:
        part.scale = 0.0
    try:
        yield len(parts)
    finally:
        for part, scale in zip(parts, scales, strict=True):
            part.scale = scale
