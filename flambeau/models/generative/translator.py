"""A network from pictures of one kind to pictures of another: Johnson et al. 2016, arXiv:1603.08155, as CycleGAN takes
it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.core.shapes import Float

STRIDE = 4


def _convolved(before: int, after: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    """A convolution whose channels are normalised in each picture (Ulyanov et al. 2016, arXiv:1607.08022)."""
    return [nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False), nn.GroupNorm(after, after)]


class Block(nn.Module):
    """Two convolutions of 3, (B, F, H, W), whose sum with the input goes on."""

    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(*_convolved(width, width), nn.ReLU(inplace=True), *_convolved(width, width))

    def forward(self, x: Float[Tensor, "B F H W"]) -> Float[Tensor, "B F H W"]:
        return x + self.body(x)


class Translator(nn.Module):
    """(B, C, H, W) to the same, at a quarter of the size inside. Nothing of the input goes past the layers: a picture
    that stays as it is costs nothing, and two networks that begin there find no way out of it.

    Args:
        channels: C.
        width: channels of the first convolution, four times as many inside.
        blocks: residual blocks inside.
        bounded: whether what it makes lies in -1…1.
    """

    def __init__(self, channels: int, width: int, blocks: int, bounded: bool):
        super().__init__()
        inside = STRIDE * width
        down = [*_convolved(channels, width, 7), nn.ReLU(inplace=True)]
        down += [*_convolved(width, 2 * width, 3, 2), nn.ReLU(inplace=True)]
        down += [*_convolved(2 * width, inside, 3, 2), nn.ReLU(inplace=True)]
        up: list[nn.Module] = []
        for before in (inside, 2 * width):  # larger first, and convolved then: no chequers (Odena et al. 2016)
            up += [nn.Upsample(scale_factor=2), *_convolved(before, before // 2), nn.ReLU(inplace=True)]
        up += [nn.Conv2d(width, channels, 7, padding=3), *([nn.Tanh()] if bounded else [])]
        self.layers = nn.Sequential(*down, *(Block(inside) for _ in range(blocks)), *up)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        height, width = x.shape[2:]
        filled = F.pad(x, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        return self.layers(filled)[:, :, :height, :width]
