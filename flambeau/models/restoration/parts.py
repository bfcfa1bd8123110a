"""What networks from pictures to pictures have in common: the input enlarged as what they add to, and pixel shuffle."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.core.shapes import Float

FAINT = 1e-3
"""The deviation of a last layer's weights in the beginning, when what it is added to is an answer already."""


def enlarged(x: Float[Tensor, "B C H W"], scale: int, num_outputs: int) -> Float[Tensor, "B K H2 W2"]:
    """(B, C, H, W) to (B, K, s·H, s·W), bicubic; of other channels than K their mean for each."""
    x = x if x.shape[1] == num_outputs else x.mean(1, keepdim=True).expand(-1, num_outputs, -1, -1)
    return x if scale == 1 else F.interpolate(x, scale_factor=float(scale), mode="bicubic")


def shuffled(width: int, num_outputs: int, scale: int) -> nn.Sequential:
    """A head (B, F, H, W) to (B, K, s·H, s·W) that begins with next to nothing: s² numbers of each channel for a pixel,
    put side by side (Shi et al. 2016, "Real-time single image super-resolution", arXiv:1609.05158)."""
    last = nn.Conv2d(width, num_outputs * scale**2, 3, padding=1)
    nn.init.normal_(last.weight, std=FAINT)
    assert last.bias is not None
    nn.init.zeros_(last.bias)
    return nn.Sequential(last, nn.PixelShuffle(scale))
