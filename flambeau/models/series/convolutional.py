"""Convolutions over time: causal ones for forecasts, residual and inception ones to tell series apart."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.core.shapes import Float
from flambeau.models.layers import activation as activation_of
from flambeau.models.series.parts import Forecaster
from flambeau.models.spec import OWN, InputSpec


class CausalBlock(nn.Module):
    """Two convolutions that see the past only, `dilation` steps apart, around a shortcut. (B, C, T) to (B, W, T)."""

    def __init__(self, channels: int, width: int, kernel: int, dilation: int, dropout: float, activation: str):
        super().__init__()
        self.activation = activation_of(activation, inplace=False)
        self.reach = (kernel - 1) * dilation
        self.first = nn.Conv1d(channels, width, kernel, dilation=dilation)
        self.second = nn.Conv1d(width, width, kernel, dilation=dilation)
        self.dropout = nn.Dropout(dropout)
        self.shortcut = nn.Conv1d(channels, width, 1) if channels != width else nn.Identity()

    def forward(self, x: Float[Tensor, "B C T"]) -> Float[Tensor, "B C2 T"]:
        out = self.dropout(self.activation(self.first(F.pad(x, (self.reach, 0)))))
        out = self.dropout(self.activation(self.second(F.pad(out, (self.reach, 0)))))
        return self.activation(out + self.shortcut(x))


@OWN.register("tcn", kinds=("history",))
class TCN(Forecaster):
    """Causal convolutions whose reach doubles from block to block until it spans the past; the last step's state
    beside what is known ahead gives all steps that follow.

    Bai, Kolter, Koltun, "An empirical evaluation of generic convolutional and recurrent networks for sequence
    modeling", 2018, arXiv:1803.01271; without weight normalisation.

    Args:
        spec, num_outputs, level: see `Forecaster`.
        width: channels of each block.
        kernel: steps of each convolution.
        dropout: probability, after each.
        activation: a name of `flambeau.models.layers.ACTIVATIONS`.
    """

    def __init__(
        self, spec: InputSpec, num_outputs: int, width: int = 32, kernel: int = 3, dropout: float = 0.1,
        level: str = "last", activation: str = "relu",
    ):  # fmt: skip
        super().__init__(spec, num_outputs, level)
        blocks: list[nn.Module] = []
        reach, dilation = 1, 1
        while reach < self.length:
            blocks.append(CausalBlock(width if blocks else self.channels, width, kernel, dilation, dropout, activation))
            reach += 2 * (kernel - 1) * dilation
            dilation *= 2
        self.body = nn.Sequential(*(blocks or [nn.Conv1d(self.channels, width, 1)]))
        self.head = nn.Linear(width + self.known * self.horizon, num_outputs)

    def steps(self, past: Float[Tensor, "B C L"], future: Float[Tensor, "B K H"]) -> Float[Tensor, "B H Q"]:
        state = self.body(past)[:, :, -1]
        out = self.head(torch.cat((state, future.flatten(1)), 1))
        return out.view(out.shape[0], self.horizon, self.quantiles)


class ResidualBlock(nn.Module):
    """Three convolutions of 7, 5 and 3 steps around a shortcut. (B, C, T) to (B, W, T)."""

    def __init__(self, channels: int, width: int, activation: str):
        super().__init__()
        self.activation = activation_of(activation, inplace=False)
        layers: list[nn.Module] = []
        for i, kernel in enumerate((7, 5, 3)):
            layers += [nn.Conv1d(width if i else channels, width, kernel, padding="same", bias=False),
                       nn.BatchNorm1d(width), *([activation_of(activation)] if i < 2 else [])]  # fmt: skip
        self.body = nn.Sequential(*layers)
        self.shortcut = nn.Sequential(nn.Conv1d(channels, width, 1, bias=False), nn.BatchNorm1d(width))

    def forward(self, x: Float[Tensor, "B C T"]) -> Float[Tensor, "B C2 T"]:
        return self.activation(self.body(x) + self.shortcut(x))


@OWN.register("resnet-1d", kinds=("series",))
class ResNet1d(nn.Module):
    """Three residual blocks and a mean over time.

    Wang, Yan, Oates, "Time series classification from scratch with deep neural networks: a strong baseline", 2016,
    arXiv:1611.06455.

    Args:
        spec: a series (C, T).
        num_outputs: K.
        width: channels of the first block; the others have twice as many.
        activation: a name of `flambeau.models.layers.ACTIVATIONS`.

    Shapes: (B, C, T) to (B, K).
    """

    def __init__(self, spec: InputSpec, num_outputs: int, width: int = 64, activation: str = "relu"):
        super().__init__()
        self.body = nn.Sequential(
            ResidualBlock(spec.channels, width, activation),
            ResidualBlock(width, 2 * width, activation),
            ResidualBlock(2 * width, 2 * width, activation),
        )
        self.head = nn.Linear(2 * width, num_outputs)

    def forward(self, x: Float[Tensor, "B C T"]) -> Float[Tensor, "B K"]:
        return self.head(self.body(x).mean(2))


class Inception(nn.Module):
    """A bottleneck, convolutions of three lengths beside a pooled one, side by side. (B, C, T) to (B, 4·W, T)."""

    def __init__(self, channels: int, width: int, kernel: int, activation: str):
        super().__init__()
        self.activation = activation_of(activation, inplace=False)
        narrow = width if channels > 1 else channels
        self.bottleneck = nn.Conv1d(channels, width, 1, bias=False) if channels > 1 else nn.Identity()
        self.convolutions = nn.ModuleList(
            nn.Conv1d(narrow, width, kernel // 2**i // 2 * 2 + 1, padding="same", bias=False) for i in range(3)
        )
        self.pooled = nn.Sequential(nn.MaxPool1d(3, 1, 1), nn.Conv1d(channels, width, 1, bias=False))
        self.norm = nn.BatchNorm1d(4 * width)

    def forward(self, x: Float[Tensor, "B C T"]) -> Float[Tensor, "B C2 T"]:
        narrow = self.bottleneck(x)
        return self.activation(self.norm(torch.cat([*(c(narrow) for c in self.convolutions), self.pooled(x)], 1)))


@OWN.register("inceptiontime", kinds=("series",))
class InceptionTime(nn.Module):
    """Inception blocks with a shortcut around each three, and a mean over time.

    Ismail Fawaz et al., "InceptionTime: finding AlexNet for time series classification", 2019, arXiv:1909.04939; one
    network of their five, half as wide.

    Args:
        spec: a series (C, T).
        num_outputs: K.
        width: channels of each of a block's four ways.
        blocks: how many, a multiple of 3.
        kernel: steps of the longest convolution; at most half the series.
        activation: a name of `flambeau.models.layers.ACTIVATIONS`.

    Shapes: (B, C, T) to (B, K).
    """

    def __init__(
        self, spec: InputSpec, num_outputs: int, width: int = 16, blocks: int = 6, kernel: int = 40,
        activation: str = "relu",
    ):  # fmt: skip
        super().__init__()
        self.activation = activation_of(activation, inplace=False)
        kernel = max(min(kernel, spec.shape[1] // 2), 4)
        wide = 4 * width
        self.blocks = nn.ModuleList(
            Inception(wide if i else spec.channels, width, kernel, activation) for i in range(blocks)
        )
        self.shortcuts = nn.ModuleList(
            nn.Sequential(nn.Conv1d(wide if i else spec.channels, wide, 1, bias=False), nn.BatchNorm1d(wide))
            for i in range(blocks // 3)
        )
        self.head = nn.Linear(wide, num_outputs)

    def forward(self, x: Float[Tensor, "B C T"]) -> Float[Tensor, "B K"]:
        begun = x
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i % 3 == 2:
                x = begun = self.activation(x + self.shortcuts[i // 3](begun))
        return self.head(x.mean(2))
