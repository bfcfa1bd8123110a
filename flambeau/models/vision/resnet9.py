"""ResNet-9, for pictures of 28 to 64 px: few layers, wide enough, quick to train.

After David Page, "How to train your ResNet" (2018), the network of the DAWNBench entries for CIFAR-10, a quarter as
wide, with each stage's pooling before its convolution: that saves three quarters of the convolution's work, and an
epoch of a CPU's time goes further so than with more work a sample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from flambeau.models.spec import OWN

if TYPE_CHECKING:
    from jaxtyping import Float


def convolution(in_channels: int, out_channels: int) -> nn.Sequential:
    """3×3 convolution, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """Two convolutions around a shortcut. (B, C, H, W) to the same."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(convolution(channels, channels), convolution(channels, channels))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return x + self.body(x)


@OWN.register("resnet9", of=lambda spec: (spec.channels,))
class ResNet9(nn.Module):
    """Four stages, the second and the last with a residual block.

    Args:
        channels: C of the pictures.
        num_outputs: K.
        width: channels of the first stage; the others have 2, 4 and 8 times as many. Work and parameters grow with
            its square: 16 is 18 million FLOPs for a grey 28 px picture, 64 is Page's.

    Shapes: (B, C, H, W) float, H and W at least 8, to (B, K).
    """

    def __init__(self, channels: int, num_outputs: int, width: int = 16):
        super().__init__()
        self.body = nn.Sequential(
            convolution(channels, width),
            nn.MaxPool2d(2),
            convolution(width, 2 * width),
            Residual(2 * width),
            nn.MaxPool2d(2),
            convolution(2 * width, 4 * width),
            nn.MaxPool2d(2),
            convolution(4 * width, 8 * width),
            Residual(8 * width),
        )
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.head = nn.Linear(8 * width, num_outputs)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        x = self.pool(self.body(x))  # (B, 8·width, H/8, W/8) before the pooling
        return self.head(x.flatten(1))
