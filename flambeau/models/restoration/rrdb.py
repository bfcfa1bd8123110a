"""RRDBNet, the generator of ESRGAN: residual dense blocks in residual blocks: Wang et al. 2018, arXiv:1809.00219.

Costs more than EDSR at the same width: a dense block has five convolutions, the last of which sees all before it. The
paper has 64 channels and 23 blocks, for a GPU; the defaults here are for a CPU. It begins and ends as EDSR does here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flambeau.core.shapes import Float
from flambeau.models.restoration.parts import enlarged, shuffled
from flambeau.models.spec import OWN

SHARE = 0.2
"""Of what a block gives that is added to its input, as there."""


class Dense(nn.Module):
    """(B, F, H, W): convolutions each of which sees what all before it made."""

    def __init__(self, width: int, growth: int, layers: int = 5):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(width + i * growth, growth if i + 1 < layers else width, 3, padding=1) for i in range(layers)
        )
        for layer in self.layers:
            assert isinstance(layer, nn.Conv2d)
            nn.init.kaiming_normal_(layer.weight)
            layer.weight.data.mul_(0.1)

    def forward(self, x: Float[Tensor, "B F H W"]) -> Float[Tensor, "B F H W"]:
        seen = [x]
        for layer in self.layers[:-1]:
            seen.append(nn.functional.leaky_relu(layer(torch.cat(seen, 1)), 0.2, inplace=True))
        return x + SHARE * self.layers[-1](torch.cat(seen, 1))


class RRDB(nn.Module):
    """Dense blocks, one behind the other, whose sum with the input goes on."""

    def __init__(self, width: int, growth: int, count: int = 3):
        super().__init__()
        self.body = nn.Sequential(*(Dense(width, growth) for _ in range(count)))

    def forward(self, x: Float[Tensor, "B F H W"]) -> Float[Tensor, "B F H W"]:
        return x + SHARE * self.body(x)


@OWN.register("rrdb", of=lambda spec: (spec.channels,), layout="dense", stride=None)
class RRDBNet(nn.Module):
    """See above.

    Args:
        channels: C.
        num_outputs: K.
        scale: s.
        width: F, channels between blocks.
        growth: channels that each convolution of a dense block adds.
        blocks: how many.

    Shapes: (B, C, H, W) float to (B, K, s·H, s·W).
    """

    def __init__(
        self, channels: int, num_outputs: int, scale: int = 1, width: int = 32, growth: int = 16, blocks: int = 2
    ):
        super().__init__()
        self.scale, self.num_outputs = scale, num_outputs
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.body = nn.Sequential(*(RRDB(width, growth) for _ in range(blocks)), nn.Conv2d(width, width, 3, padding=1))
        self.head = shuffled(width, num_outputs, scale)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K H2 W2"]:
        deep = self.stem(x)
        return enlarged(x, self.scale, self.num_outputs) + self.head(deep + self.body(deep))
