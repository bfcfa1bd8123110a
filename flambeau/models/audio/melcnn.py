"""A convolutional network for log-mel pictures, which keeps bands apart and averages over time.

After Kong et al., "PANNs: large-scale pretrained audio neural networks" (2020), https://arxiv.org/abs/1912.10211, much
narrower: where in the spectrum something is tells more than where in time, so time alone is pooled away at the end.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from flambeau.core.shapes import Float
from flambeau.models import layers
from flambeau.models.spec import OWN, InputSpec


def block(in_channels: int, out_channels: int, norm: str = "batch", activation: str = "relu") -> nn.Sequential:
    """(B, C, M, F) to (B, C', M/2, F/2)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        layers.normalisation(norm, out_channels),
        layers.activation(activation),
        nn.MaxPool2d(2),
    )


@OWN.register("melcnn")
class MelCNN(nn.Module):
    """Four convolutions, each halving bands and frames, and a linear layer over the mean and the largest over time.

    Args:
        spec: of the pictures, (C, M, F), M and F at least 16.
        num_outputs: K.
        width: channels of the first convolution; the others have 2, 4 and 4 times as many.
        dropout: probability, before the last layer.
        norm: of the convolutions, a name of `flambeau.models.layers.NORMS`.
        activation: a name of `flambeau.models.layers.ACTIVATIONS`.

    Shapes: (B, C, M, F) float to (B, K).
    """

    def __init__(
        self, spec: InputSpec, num_outputs: int, width: int = 16, dropout: float = 0.3, norm: str = "batch",
        activation: str = "relu",
    ):  # fmt: skip
        super().__init__()
        widths = [spec.channels, width, 2 * width, 4 * width, 4 * width]
        self.body = nn.Sequential(*(block(a, b, norm, activation) for a, b in itertools.pairwise(widths)))
        features = 2 * widths[-1] * (spec.size[0] // 16)
        self.norm = nn.BatchNorm1d(features)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features, num_outputs)

    def forward(self, x: Float[Tensor, "B C M T"]) -> Float[Tensor, "B K"]:
        x = self.body(x).flatten(1, 2)  # (B, 4·width · M/16, F/16)
        return self.head(self.dropout(self.norm(torch.cat([x.mean(2), x.amax(2)], 1))))
