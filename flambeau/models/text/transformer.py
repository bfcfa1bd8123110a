"""A small Transformer encoder, from scratch: layers that normalise first, and train without a warm-up of their own.

Vaswani et al., "Attention is all you need" (2017), https://arxiv.org/abs/1706.03762; normalisation first as in
Xiong et al., "On layer normalization in the Transformer architecture" (2020), https://arxiv.org/abs/2002.04745.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, fx, nn

from flambeau.core.errors import ModelError, UsageError
from flambeau.core.shapes import Bool, Float
from flambeau.fields import Ragged
from flambeau.models.layers import attended
from flambeau.models.spec import OWN, vocabulary
from flambeau.models.text.parts import Pooling, TokenEmbedding

fx.wrap("attended")  # one step, for what follows a forward pass


class Block(nn.Module):
    """Self-attention and a feed-forward network, each around a shortcut.

    Shapes: x (B, T, D) and mask (B, 1, 1, T) to (B, T, D).
    """

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.attention_dropout = heads, dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "B T D"], mask: Bool[Tensor, "B 1 1 T"]) -> Float[Tensor, "B T D"]:
        B, T, D = x.shape
        parts = self.query_key_value(self.norm1(x)).view(B, T, 3, self.heads, D // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # (B, heads, T, D/heads) each
        dropout = self.attention_dropout if self.training else 0.0
        heard = attended(query, key, value, mask, dropout_p=dropout)
        x = x + self.dropout(self.projection(heard.transpose(1, 2).reshape(B, T, D)))
        return x + self.dropout(self.feed_forward(self.norm2(x)))


@OWN.register("transformer", kinds=("text",), of=vocabulary)
class TextTransformer(nn.Module):
    """Attention blocks over the tokens' vectors and positions, pooled over time.

    Args:
        vocabulary_size: V.
        num_outputs: K.
        embedding: D, width of the vectors and of all blocks.
        layers: blocks.
        heads: of each block's attention; divides D.
        positions: `sinusoidal`, for texts of any length, or `learned`, up to `max_length`.
        max_length: tokens, where positions are learned.
        dropout: probability, in all places.
        token_dropout: probability that a token is left out in training.
        pooling: `mean`, `max`, `last` or `attention`.

    Shapes: Ragged (B, T) int64 to (B, K).

    Raises:
        UsageError: the heads do not divide the width, or there are no such positions.
        ModelError: a text is longer than the learned positions, when called.
    """

    def __init__(
        self,
        vocabulary_size: int,
        num_outputs: int,
        embedding: int = 64,
        layers: int = 2,
        heads: int = 4,
        positions: str = "sinusoidal",
        max_length: int = 512,
        dropout: float = 0.2,
        token_dropout: float = 0.2,
        pooling: str = "mean",
    ):
        super().__init__()
        if embedding % (2 * heads):
            raise UsageError(
                f"{heads} heads do not fit a width of {embedding}", expected="a multiple of twice the heads"
            )
        if positions not in ("sinusoidal", "learned"):
            raise UsageError(f"no positions are called '{positions}'", expected="sinusoidal or learned")
        self.embedding = TokenEmbedding(vocabulary_size, embedding, dropout, token_dropout)
        self.positions = nn.Embedding(max_length, embedding) if positions == "learned" else None
        if self.positions is not None:
            nn.init.normal_(self.positions.weight, std=0.02)
        self.blocks = nn.ModuleList(Block(embedding, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(embedding)
        self.pool = Pooling(pooling, embedding)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(embedding, num_outputs)

    def forward(self, tokens: Ragged) -> Float[Tensor, "B K"]:
        x, mask = self.embedding(tokens)
        x = x + self._positions(x)
        for block in self.blocks:
            x = block(x, mask[:, None, None])
        return self.head(self.dropout(self.pool(self.norm(x), mask)))

    def _positions(self, x: Tensor) -> Tensor:
        """(T, D), of the size of the vectors that they are added to."""
        T, D = x.shape[1:]
        if self.positions is None:
            return 0.1 * sinusoids(T, D, x.device).to(x.dtype)
        if self.positions.num_embeddings < T:
            raise ModelError(
                f"a text of {T:,} tokens does not fit {self.positions.num_embeddings:,} learned positions",
                where="transformer",
                fix="cut texts shorter, raise max_length, or use sinusoidal positions",
            )
        return self.positions.weight[:T]


def sinusoids(length: int, width: int, device: torch.device) -> Tensor:
    """Sines and cosines of wavelengths from 2π to 20,000π: (length, width) float32, width even."""
    steps = torch.arange(length, device=device, dtype=torch.float32)[:, None]
    rates = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(10_000.0) / width))
    return torch.cat([(steps * rates).sin(), (steps * rates).cos()], 1)
