"""A bag of embeddings: the vectors of a text's words and of its phrases of a few words, summed; then a linear layer.

Joulin, Grave, Bojanowski, Mikolov, "Bag of tricks for efficient text classification" (fastText, 2016),
https://arxiv.org/abs/1607.01759. The sum is divided by the root of the length, not the length: in a long text the few
words that matter are not thinned out as much.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.core.shapes import Float
from flambeau.fields import Ragged
from flambeau.models.spec import OWN, vocabulary
from flambeau.models.text.parts import Pooling, TokenEmbedding, mask_padding

MULTIPLIER = 1_000_003  # a prime: spreads neighbouring token numbers over the buckets


@OWN.register("bag", kinds=("text",), of=vocabulary)
class Bag(nn.Module):
    """Pooled embeddings of tokens and of phrases of neighbouring tokens.

    Args:
        vocabulary_size: V.
        num_outputs: K.
        embedding: D, width of the vectors.
        dropout: probability, of each number of the pooled vector.
        token_dropout: probability that a token or phrase is left out in training.
        ngrams: tokens of the longest phrases; 1 for single tokens only.
        buckets: rows of the table that phrases are hashed into.
        pooling: `sqrt`, `mean`, `max` or `attention`.

    Shapes: Ragged (B, T) int64 to (B, K).

    Raises:
        UsageError: `ngrams` or `buckets` is too small.
    """

    def __init__(
        self,
        vocabulary_size: int,
        num_outputs: int,
        embedding: int = 64,
        dropout: float = 0.5,
        token_dropout: float = 0.2,
        ngrams: int = 1,
        buckets: int = 1 << 17,
        pooling: str = "sqrt",
    ):
        super().__init__()
        if ngrams < 1 or buckets < 2:
            raise UsageError(f"ngrams={ngrams} and buckets={buckets} do not fit", expected="at least 1 and 2")
        self.ngrams = ngrams
        self.embedding = TokenEmbedding(vocabulary_size, embedding, token_dropout=token_dropout)
        self.phrases = TokenEmbedding(buckets, embedding, token_dropout=token_dropout) if ngrams > 1 else None
        self.pool = Pooling(pooling, embedding)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(embedding, num_outputs)

    def forward(self, tokens: Ragged) -> Float[Tensor, "B K"]:
        x, mask = self.embedding(tokens)
        vectors, masks = [x], [mask]
        if self.phrases is not None:
            for hashed, inside in self._hashed(tokens):
                # A phrase that reaches over the end gets bucket 0, whose vector is zero.
                vectors.append(self.phrases(Ragged(hashed, inside.sum(1)))[0])
                masks.append(inside)
        return self.head(self.dropout(self.pool(torch.cat(vectors, 1), torch.cat(masks, 1))))

    def _hashed(self, tokens: Ragged) -> list[tuple[Tensor, Tensor]]:
        """For phrases of 2, 3, … tokens: buckets (B, T) from 1 on, by the phrase's first token, and the mask (B, T)."""
        assert self.phrases is not None
        values, _ = mask_padding(tokens)
        rest, steps = values, torch.arange(values.shape[1], device=values.device)
        found = []
        for more in range(1, self.ngrams):
            following = nn.functional.pad(values, (0, more))[:, more:]
            rest = rest * MULTIPLIER + following  # int64 wraps around, on every device alike
            inside = steps < (tokens.lengths - more)[:, None]
            buckets = rest.remainder(self.phrases.table.num_embeddings - 1) + 1
            found.append((buckets.masked_fill(~inside, 0), inside))
        return found
