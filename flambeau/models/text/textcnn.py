"""A convolutional network over words: convolutions of several widths side by side, and the strongest of each.

Kim, "Convolutional neural networks for sentence classification" (2014), https://arxiv.org/abs/1408.5882.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.core.shapes import Float
from flambeau.fields import Ragged
from flambeau.models import layers
from flambeau.models.spec import OWN, vocabulary
from flambeau.models.text.parts import Pooling, TokenEmbedding


@OWN.register("textcnn", kinds=("text",), of=vocabulary)
class TextCNN(nn.Module):
    """1-D convolutions of several widths over the tokens' vectors, each pooled over time.

    Args:
        vocabulary_size: V.
        num_outputs: K.
        embedding: D, width of the vectors.
        width: channels of each convolution.
        kernels: how many tokens each convolution sees at once.
        dropout: probability, on the vectors and before the last layer.
        token_dropout: probability that a token is left out in training.
        pooling: `max`, `mean` or `attention`.
        activation: a name of `flambeau.models.layers.ACTIVATIONS`.

    Shapes: Ragged (B, T) int64 to (B, K).
    """

    def __init__(
        self,
        vocabulary_size: int,
        num_outputs: int,
        embedding: int = 64,
        width: int = 64,
        kernels: Sequence[int] = (1, 2, 3),
        dropout: float = 0.5,
        token_dropout: float = 0.2,
        pooling: str = "max",
        activation: str = "relu",
    ):
        super().__init__()
        if not kernels or min(kernels) < 1:
            raise UsageError(f"kernels={list(kernels)} does not fit", expected="one or more widths of at least 1")
        self.embedding = TokenEmbedding(vocabulary_size, embedding, dropout, token_dropout)
        # Vectors behind a text's end are zeros, as those are that a convolution pads with.
        self.convolutions = nn.ModuleList(
            nn.Conv1d(embedding, width, kernel, padding=kernel // 2) for kernel in kernels
        )
        self.activation = layers.activation(activation)
        self.pool = Pooling(pooling, width * len(kernels))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width * len(kernels), num_outputs)

    def forward(self, tokens: Ragged) -> Float[Tensor, "B K"]:
        x, mask = self.embedding(tokens)
        T = x.shape[1]
        x = x.transpose(1, 2)  # (B, D, T)
        # An even kernel, padded on both sides, gives one step more.
        x = self.activation(torch.cat([convolution(x)[:, :, :T] for convolution in self.convolutions], 1))
        return self.head(self.dropout(self.pool(x.transpose(1, 2), mask)))  # pooled: (B, kernels·width)
