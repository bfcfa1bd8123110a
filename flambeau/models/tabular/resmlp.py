"""A multi-layer perceptron with residual blocks, over embeddings of a row.

Gorishniy, Rubachev, Khrulkov, Babenko, "Revisiting deep learning models for tabular data" (its ResNet), 2021,
arXiv:2106.11959.
"""

from __future__ import annotations

from torch import Tensor, nn

from flambeau.core.shapes import Float
from flambeau.fields import Row
from flambeau.models import layers
from flambeau.models.spec import OWN, InputSpec
from flambeau.models.tabular.parts import RowEmbedding


class Block(nn.Module):
    """x + Linear(Dropout(activation(Linear(LayerNorm(x))))). Shapes: (B, W) to (B, W)."""

    def __init__(self, width: int, dropout: float, activation: str = "relu"):
        super().__init__()
        self.body = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), layers.activation(activation), nn.Dropout(dropout),
            nn.Linear(2 * width, width),
        )  # fmt: skip

    def forward(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        return x + self.body(x)


@OWN.register("resmlp", kinds=("table", "number"))
class ResMLP(nn.Module):
    """Embeddings of numbers and categories, a linear layer, residual blocks and a head.

    Args:
        spec: a table (D, K1, …), or numbers (D,).
        num_outputs: K.
        width: W.
        blocks: how many residual blocks.
        dropout: probability, inside each block.
        number_width: numbers of the vector of each number; 0 to take numbers as they are.
        bins: see `PiecewiseLinear`.
        activation: a name of `flambeau.models.layers.ACTIVATIONS`.

    Shapes: Row, or numbers (B, D), to (B, K).
    """

    def __init__(
        self, spec: InputSpec, num_outputs: int, width: int = 128, blocks: int = 2, dropout: float = 0.1,
        number_width: int = 8, bins: int = 16, activation: str = "relu",
    ):  # fmt: skip
        super().__init__()
        self.embedding = RowEmbedding(spec.shape, number_width, bins)
        self.body = nn.Sequential(
            nn.Linear(self.embedding.width, width), *(Block(width, dropout, activation) for _ in range(blocks)),
            nn.LayerNorm(width), layers.activation(activation),
        )  # fmt: skip
        self.head = nn.Linear(width, num_outputs)

    def forward(self, row: Row | Float[Tensor, "B D"]) -> Float[Tensor, "B K"]:
        return self.head(self.body(self.embedding(row)))
