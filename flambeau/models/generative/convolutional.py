"""A convolutional encoder and decoder, for pictures of any size and channels (after Radford et al. 2015,
arXiv:1511.06434, without its discriminator)."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from flambeau.core.shapes import Float
from flambeau.models.generative.coder import Coder
from flambeau.models.spec import OWN, InputSpec

SMALLEST = 4  # pixels of a side from which nothing is halved
WIDEST = 256


@OWN.register("conv-coder", ("image",), layout="code")
class ConvolutionalCoder(Coder):
    """Strided convolutions that halve both sides, rounded up, while the shorter is above 4 px; transposed ones back.

    Args:
        spec: of pictures (C, H, W).
        num_outputs: numbers of a code that the decoder takes.
        width: channels of the first convolution; each further one has twice as many, up to 256.
    """

    def __init__(self, spec: InputSpec, num_outputs: int, width: int = 32):
        super().__init__()
        self.sides = [spec.size]
        while min(self.sides[-1]) > SMALLEST:
            self.sides.append((-(-self.sides[-1][0] // 2), -(-self.sides[-1][1] // 2)))
        widths = [min(width * 2**i, WIDEST) for i in range(len(self.sides))]
        self.down = nn.Sequential(_block(nn.Conv2d(spec.channels, widths[0], 3, 1, 1, bias=False)))
        for before, after in itertools.pairwise(widths):
            self.down.append(_block(nn.Conv2d(before, after, 3, 2, 1, bias=False)))
        height, width = self.sides[-1]
        self.features = widths[-1] * height * width
        self.start = nn.Sequential(nn.Linear(num_outputs, self.features), nn.Unflatten(1, (widths[-1], height, width)))
        self.up = nn.ModuleList(
            _block(nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False))
            for after, before in reversed([*itertools.pairwise(widths)])
        )
        self.out = nn.Conv2d(widths[0], spec.channels, 3, 1, 1)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F"]:
        return self.down(x).flatten(1)

    def decode(self, code: Float[Tensor, "B D"]) -> Float[Tensor, "B C H W"]:
        x = self.start(code)
        for up, (height, width) in zip(self.up, reversed(self.sides[:-1]), strict=True):
            x = up(x)[:, :, :height, :width]  # a side that was odd comes back one larger
        return self.out(x)


def _block(convolution: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU(inplace=True))
