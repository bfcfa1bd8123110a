"""A multi-layer perceptron: for numbers, and as a baseline for tiny pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from flambeau.core.shapes import Float
from flambeau.models.layers import activation as activation_of
from flambeau.models.spec import OWN


@OWN.register("mlp", kinds=("image", "number"), of=lambda spec: (math.prod(spec.shape),))
class MLP(nn.Module):
    """Linear layers with an activation between them.

    Args:
        in_features: D, or C·H·W of a picture, which is flattened.
        num_outputs: K.
        hidden: width of each hidden layer; empty for a linear model.
        dropout: probability, after each hidden layer.
        activation: a name of `flambeau.models.layers.ACTIVATIONS`.

    Shapes: (B, D) or (B, C, H, W) float to (B, K).
    """

    def __init__(
        self, in_features: int, num_outputs: int, hidden: Sequence[int] = (256, 128), dropout: float = 0.0,
        activation: str = "relu",
    ):  # fmt: skip
        super().__init__()
        layers: list[nn.Module] = []
        width = in_features
        for next_width in hidden:
            layers += [nn.Linear(width, next_width), activation_of(activation)]
            if dropout:
                layers.append(nn.Dropout(dropout))
            width = next_width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width, num_outputs)

    def forward(self, x: Float[Tensor, " B *shape"]) -> Float[Tensor, "B K"]:
        return self.head(self.body(x.flatten(1)))
