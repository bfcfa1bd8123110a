"""Very deep networks for raw waves.

Dai, Dai, Qu, Li, Das, "Very deep convolutional neural networks for raw waveforms" (2016),
https://arxiv.org/abs/1610.00087: a first convolution as wide as a band-pass filter, then short ones in stages, each
stage on a quarter of the steps, and a mean over time. A quarter as wide as theirs, and for 16 kHz instead of 8.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from flambeau.core.shapes import Float
from flambeau.models import layers
from flambeau.models.spec import OWN, InputSpec


def convolution(
    in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1, activation: str = "relu"
) -> nn.Sequential:
    """Convolution, batch normalisation, activation. (B, C, T) to (B, C', T / stride)."""
    return nn.Sequential(
        nn.Conv1d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm1d(out_channels),
        layers.activation(activation),
    )


class WaveCNN(nn.Module):
    """A wide first convolution, stages of short ones with pooling by 4 before each, and a mean over time.

    Args:
        channels: C of the waves.
        num_outputs: K.
        depths: convolutions of each stage.
        widths: channels of each stage; the first convolution has those of the first.
        kernel, stride: samples that the first convolution sees, and moves by.
        activation: a name of `flambeau.models.layers.ACTIVATIONS`.

    Shapes: (B, C, T) float to (B, K); T at least `stride` times 4 for each stage.
    """

    def __init__(
        self,
        channels: int,
        num_outputs: int,
        depths: Sequence[int],
        widths: Sequence[int],
        kernel: int = 160,
        stride: int = 8,
        activation: str = "relu",
    ):
        super().__init__()
        body: list[nn.Module] = [convolution(channels, widths[0], kernel, stride, activation)]
        previous = widths[0]
        for depth, width in zip(depths, widths, strict=True):
            body.append(nn.MaxPool1d(4))
            for _ in range(depth):
                body.append(convolution(previous, width, activation=activation))
                previous = width
        self.body = nn.Sequential(*body)
        self.head = nn.Linear(previous, num_outputs)

    def forward(self, x: Float[Tensor, "B C T"]) -> Float[Tensor, "B K"]:
        return self.head(self.body(x).mean(2))  # (B, widths[-1], steps) before the mean


@OWN.register("m5", kinds=("audio",))
def m5(
    spec: InputSpec, num_outputs: int, width: int = 32, kernel: int = 160, stride: int = 8, activation: str = "relu"
) -> nn.Module:
    """`WaveCNN` of four convolutions and a linear layer."""
    return WaveCNN(spec.channels, num_outputs, (1, 1, 1), (width, 2 * width, 4 * width), kernel, stride, activation)


@OWN.register("m11", kinds=("audio",))
def m11(
    spec: InputSpec, num_outputs: int, width: int = 16, kernel: int = 160, stride: int = 8, activation: str = "relu"
) -> nn.Module:
    """`WaveCNN` of ten convolutions and a linear layer."""
    widths = (width, 2 * width, 4 * width, 8 * width)
    return WaveCNN(spec.channels, num_outputs, (2, 2, 3, 2), widths, kernel, stride, activation)
