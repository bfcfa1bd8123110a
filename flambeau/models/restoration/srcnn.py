"""SRCNN, the first convolutional network for super-resolution: Dong et al. 2014, arXiv:1501.00092.

Costs three convolutions at the size of the answer. A pixel is made from the 13 around it each way.
"""

from __future__ import annotations

from torch import Tensor, nn

from flambeau.core.shapes import Float
from flambeau.models.restoration.parts import FAINT, enlarged
from flambeau.models.spec import OWN


@OWN.register("srcnn", of=lambda spec: (spec.channels,), layout="dense", stride=None)
class SRCNN(nn.Module):
    """Patches, a mapping of them and what is made of these: convolutions of 9, 5 and 5 on the enlarged input, which
    they are added to.

    Args:
        channels: C.
        num_outputs: K.
        scale: s.
        width: channels of the first; the second has half as many.

    Shapes: (B, C, H, W) float to (B, K, s·H, s·W).
    """

    def __init__(self, channels: int, num_outputs: int, scale: int = 1, width: int = 64):
        super().__init__()
        self.scale, self.num_outputs = scale, num_outputs
        self.body = nn.Sequential(
            nn.Conv2d(num_outputs, width, 9, padding=4),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width // 2, 5, padding=2),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Conv2d(width // 2, num_outputs, 5, padding=2)
        nn.init.normal_(self.head.weight, std=FAINT)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K H2 W2"]:
        x = enlarged(x, self.scale, self.num_outputs)
        return x + self.head(self.body(x))
