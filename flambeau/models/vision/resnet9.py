"""ResNet-9, for pictures of 28 to 64 px: few layers, wide enough, quick to train.

After David Page, "How to train your ResNet" (2018), the network of the DAWNBench entries for CIFAR-10, a quarter as
wide, with each stage's pooling before its convolution: that saves three quarters of the convolution's work, and an
epoch of a CPU's time goes further so than with more work a sample.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from flambeau.core.shapes import Float
from flambeau.models import layers
from flambeau.models.spec import OWN


def convolution(
    in_channels: int, out_channels: int, norm: str = "batch", activation: str = "relu", preact: bool = False
) -> nn.Sequential:
    """3×3 convolution, normalisation, activation; or these two first, as in He et al. 2016, arXiv:1603.05027."""
    convolved = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=norm == "none")
    beside = (
        layers.normalisation(norm, in_channels if preact else out_channels),
        layers.activation(activation, not preact),
    )
    return nn.Sequential(*beside, convolved) if preact else nn.Sequential(convolved, *beside)


class Residual(nn.Module):
    """Two convolutions around a shortcut. (B, C, H, W) to the same."""

    def __init__(self, channels: int, drop: float = 0.0, **kinds: Any):
        super().__init__()
        self.drop = layers.StochasticDepth(drop) if drop else nn.Identity()
        self.body = nn.Sequential(convolution(channels, channels, **kinds), convolution(channels, channels, **kinds))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return x + self.drop(self.body(x))


@OWN.register("resnet9", of=lambda spec: (spec.channels,))
class ResNet9(nn.Module):
    """Four stages, the second and the last with a residual block.

    Args:
        channels: C of the pictures.
        num_outputs: K.
        width: channels of the first stage; the others have 2, 4 and 8 times as many. Work and parameters grow with
            its square: 16 is 18 million FLOPs for a grey 28 px picture, 64 is Page's.
        norm: `batch`, `group`, `layer` or `none`.
        activation: a name of `flambeau.models.layers.ACTIVATIONS`.
        preact: whether normalisation and activation come before the convolutions of residual blocks, and not behind.
        stochastic_depth: probability that a residual block is left out for a sample in training.

    Shapes: (B, C, H, W) float, H and W at least 8, to (B, K).
    """

    def __init__(
        self, channels: int, num_outputs: int, width: int = 16, norm: str = "batch", activation: str = "relu",
        preact: bool = False, stochastic_depth: float = 0.0,
    ):  # fmt: skip
        super().__init__()
        kinds: dict[str, Any] = {"norm": norm, "activation": activation}
        in_blocks = {"drop": stochastic_depth, "preact": preact, **kinds}
        self.body = nn.Sequential(
            convolution(channels, width, **kinds),
            nn.MaxPool2d(2),
            convolution(width, 2 * width, **kinds),
            Residual(2 * width, **in_blocks),
            nn.MaxPool2d(2),
            convolution(2 * width, 4 * width, **kinds),
            nn.MaxPool2d(2),
            convolution(4 * width, 8 * width, **kinds),
            Residual(8 * width, **in_blocks),
        )
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.head = nn.Linear(8 * width, num_outputs)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        x = self.pool(self.body(x))  # (B, 8·width, H/8, W/8) before the pooling
        return self.head(x.flatten(1))
