"""EDSR: residual blocks without normalisation, enlarged at the end by pixel shuffle: Lim et al. 2017, arXiv:1707.02921.

All convolutions work at the size of the input, so that ×2 costs a quarter of what SRCNN's would. Beside the paper: the
head begins with next to nothing and adds to the bicubically enlarged input, so that training begins at what bicubic
reaches.
"""

from __future__ import annotations

from torch import Tensor, nn

from flambeau.core.shapes import Float
from flambeau.models.restoration.parts import enlarged, shuffled
from flambeau.models.spec import OWN


class Block(nn.Module):
    """Two convolutions of 3, (B, F, H, W), whose sum with the input goes on."""

    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(width, width, 3, padding=1)
        )
        for layer in self.body:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                layer.weight.data.mul_(0.3)  # without norms, a sum of many blocks grows

    def forward(self, x: Float[Tensor, "B F H W"]) -> Float[Tensor, "B F H W"]:
        return x + self.body(x)


@OWN.register("edsr", of=lambda spec: (spec.channels,), layout="dense", stride=None)
class EDSR(nn.Module):
    """For any task from pictures to pictures; each pixel of the answer is made from (2 · blocks + 3) pixels around it.

    Args:
        channels: C.
        num_outputs: K.
        scale: s.
        width: F, channels inside.
        blocks: how many residual blocks.

    Shapes: (B, C, H, W) float to (B, K, s·H, s·W).
    """

    def __init__(self, channels: int, num_outputs: int, scale: int = 1, width: int = 32, blocks: int = 6):
        super().__init__()
        self.scale, self.num_outputs = scale, num_outputs
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.body = nn.Sequential(*(Block(width) for _ in range(blocks)), nn.Conv2d(width, width, 3, padding=1))
        self.head = shuffled(width, num_outputs, scale)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K H2 W2"]:
        deep = self.stem(x)
        return enlarged(x, self.scale, self.num_outputs) + self.head(deep + self.body(deep))
