"""A bag of embeddings: the mean of the words' vectors, and of word pairs' vectors, then one linear layer.

Joulin, Grave, Bojanowski, Mikolov, "Bag of tricks for efficient text classification" (fastText, 2016),
https://arxiv.org/abs/1607.01759.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flambeau.fields import Ragged
from flambeau.models.spec import OWN, InputSpec
from flambeau.models.text.parts import Pooling, TokenEmbedding

MULTIPLIER = 1_000_003  # a prime: spreads neighbouring token numbers over the buckets


class Bag(nn.Module):
    """Pooled embeddings of tokens and of pairs of neighbours.

    Args:
        vocabulary_size: V.
        num_outputs: K.
        embedding: D, width of the vectors.
        dropout: probability, of each number of the pooled vector.
        token_dropout: probability that a token is left out in training.
        bigrams: buckets that pairs of neighbouring tokens are hashed into; 0 for none.
        pooling: `mean`, `max` or `attention`.

    Shapes: Ragged (B, T) int64 to (B, K).
    """

    def __init__(
        self,
        vocabulary_size: int,
        num_outputs: int,
        embedding: int = 64,
        dropout: float = 0.5,
        token_dropout: float = 0.2,
        bigrams: int = 0,
        pooling: str = "mean",
    ):
        super().__init__()
        self.embedding = TokenEmbedding(vocabulary_size, embedding, token_dropout=token_dropout)
        self.pairs = TokenEmbedding(bigrams, embedding, token_dropout=token_dropout) if bigrams else None
        self.pool = Pooling(pooling, embedding)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(embedding, num_outputs)

    def forward(self, tokens: Ragged) -> Tensor:
        x, mask = self.embedding(tokens)
        if self.pairs is not None:
            pairs, more = self.pairs(bigram_buckets(tokens, self.pairs.table.num_embeddings))
            x, mask = torch.cat([x, pairs], 1), torch.cat([mask, more], 1)  # (B, 2T-1, D)
        return self.head(self.dropout(self.pool(x, mask)))


def bigram_buckets(tokens: Ragged, buckets: int) -> Ragged:
    """Each pair of neighbouring tokens as a number from 1 to buckets - 1: (B, T-1)."""
    values, lengths = tokens
    hashed = (values[:, :-1] * MULTIPLIER + values[:, 1:]) % (buckets - 1) + 1
    return Ragged(hashed, (lengths - 1).clamp(min=0))


@OWN.register("bag", kinds=("text",))
def bag(
    spec: InputSpec,
    num_outputs: int,
    embedding: int = 64,
    dropout: float = 0.5,
    token_dropout: float = 0.2,
    bigrams: int = 0,
    pooling: str = "mean",
) -> nn.Module:
    """`Bag` for texts."""
    return Bag(spec.shape[0], num_outputs, embedding, dropout, token_dropout, bigrams, pooling)
