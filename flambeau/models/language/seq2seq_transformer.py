"""A Transformer encoder and decoder, each piece on its own.

Vaswani et al., "Attention is all you need" (2017), https://arxiv.org/abs/1706.03762; normalisation first as in Xiong
et al. (2020), https://arxiv.org/abs/2002.04745. Keys and values of what was written are kept, so that a step of the
answer costs one token; what it gained is printed by `benchmarks/translation.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.core.shapes import Bool, Float
from flambeau.fields import Ragged
from flambeau.models.language.seq2seq import Reading, Seq2Seq, tie
from flambeau.models.spec import OWN, vocabulary
from flambeau.models.text.parts import mask_padding
from flambeau.models.text.transformer import sinusoids


class MultiHeadAttention(nn.Module):
    """Each query looks at all keys with several heads, and takes the mean of the values that it found.

    Shapes: query (B, T, D), keys and values as `of` gives them for (B, S, D), and a mask (B or 1, 1, T or 1, S) bool,
    True where it may look, to (B, T, D) and the heads' mean shares (B, T, S).
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def _split(self, x: Float[Tensor, "B S D"]) -> Float[Tensor, "B heads S d"]:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def of(self, x: Float[Tensor, "B S D"]) -> tuple[Tensor, Tensor]:
        """Keys and values (B, heads, S, D / heads) of what is looked at."""
        return self._split(self.key(x)), self._split(self.value(x))

    def forward(
        self, x: Float[Tensor, "B T D"], keys: Tensor, values: Tensor, mask: Bool[Tensor, "#B 1 #T S"]
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B T S"]]:
        query = self._split(self.query(x))
        scores = query @ keys.transpose(2, 3) / math.sqrt(query.shape[3])  # (B, heads, T, S)
        shares = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(3)
        found = (self.dropout(shares) @ values).transpose(1, 2).flatten(2)
        return self.out(found), shares.mean(1)


class FeedForward(nn.Sequential):
    """Two layers for each token on its own: (…, D) to (…, D)."""

    def __init__(self, width: int, dropout: float = 0.0):
        super().__init__(nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * width, width))


class EncoderLayer(nn.Module):
    """Attention of a text to itself, and a feed-forward network, each around a shortcut: (B, S, D) to (B, S, D)."""

    def __init__(self, width: int, heads: int, dropout: float = 0.0):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = MultiHeadAttention(width, heads, dropout)
        self.feed_forward = FeedForward(width, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "B S D"], mask: Bool[Tensor, "B 1 1 S"]) -> Float[Tensor, "B S D"]:
        normed = self.norm1(x)
        x = x + self.dropout(self.attention(normed, *self.attention.of(normed), mask)[0])
        return x + self.dropout(self.feed_forward(self.norm2(x)))


class DecoderLayer(nn.Module):
    """Attention of an answer to what was written of it, then to the source, and a feed-forward network.

    Shapes: x (B, T, D); `past` and `memory` as `MultiHeadAttention.of` gives them; masks (B or 1, 1, T, S).
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.attention = MultiHeadAttention(width, heads, dropout)
        self.source = MultiHeadAttention(width, heads, dropout)
        self.feed_forward = FeedForward(width, dropout)
        self.dropout = nn.Dropout(dropout)

    def keys_of(self, memory: Float[Tensor, "B S D"]) -> tuple[Tensor, Tensor]:
        """Keys and values of a source: computed once."""
        return self.source.of(memory)

    def forward(
        self, x: Tensor, past: tuple[Tensor, Tensor] | None, seen: Tensor, memory: tuple[Tensor, Tensor], mask: Tensor
    ) -> tuple[Float[Tensor, "B T D"], tuple[Tensor, Tensor], Float[Tensor, "B T S"]]:
        """The answer's vectors, the keys and values of all of it, and where it looked in the source."""
        normed = self.norm1(x)
        keys, values = self.attention.of(normed)
        if past is not None:
            keys, values = torch.cat([past[0], keys], 2), torch.cat([past[1], values], 2)
        x = x + self.dropout(self.attention(normed, keys, values, seen)[0])
        found, shares = self.source(self.norm2(x), *memory, mask)
        x = x + self.dropout(found)
        return x + self.dropout(self.feed_forward(self.norm3(x))), (keys, values), shares


@dataclass
class TransformerReading(Reading):
    """Keys and values of the source and of what was written, a pair a layer, and the source's mask (B, 1, 1, S)."""

    memory: list[tuple[Tensor, Tensor]]
    mask: Tensor
    past: list[tuple[Tensor, Tensor]]
    attention: Tensor

    def keep(self, rows: Tensor) -> TransformerReading:
        memory, past = ([(keys[rows], values[rows]) for keys, values in pairs] for pairs in (self.memory, self.past))
        return TransformerReading(memory, self.mask[rows], past, self.attention[rows])


@OWN.register("seq2seq-transformer", kinds=("text",), of=vocabulary, layout="text", wants={"written": 8_000})
class Seq2SeqTransformer(Seq2Seq):
    """A Transformer that reads one text and writes another.

    Args:
        vocabulary_size: tokens of sources; 0 is padding.
        num_outputs: V, tokens of answers, whose vectors also score them.
        embedding: D, width of all layers.
        layers: of the encoder and of the decoder.
        heads: of each attention; divides D.
        dropout: probability, in all places.
        tied: whether tokens of sources and of answers, which are then the same, have one vector each: with the scores
            one table for all three, as in the paper.

    Shapes: as of `Seq2Seq`.
    """

    def __init__(
        self, vocabulary_size: int, num_outputs: int, embedding: int = 192, layers: int = 3, heads: int = 4,
        dropout: float = 0.2, tied: bool = False,
    ):  # fmt: skip
        super().__init__()
        if embedding % (2 * heads):
            expected = "a multiple of twice the heads"
            raise UsageError(f"{heads} heads do not fit a width of {embedding}", expected=expected)
        self.vocabulary, self.width = num_outputs, embedding
        self.source = nn.Embedding(vocabulary_size, embedding)
        self.target = nn.Embedding(num_outputs, embedding)
        for table in (self.source, self.target):
            nn.init.normal_(table.weight, std=embedding**-0.5)
        if tied:
            tie(self.source, self.target)
        self.encoder = nn.ModuleList(EncoderLayer(embedding, heads, dropout) for _ in range(layers))
        self.decoder = nn.ModuleList(DecoderLayer(embedding, heads, dropout) for _ in range(layers))
        self.read, self.norm = nn.LayerNorm(embedding), nn.LayerNorm(embedding)
        self.dropout = nn.Dropout(dropout)
        self.bias = nn.Parameter(torch.zeros(num_outputs))

    def _writers(self) -> Iterator[DecoderLayer]:
        return (layer for layer in self.decoder if isinstance(layer, DecoderLayer))

    def _embedded(self, table: nn.Embedding, tokens: Tensor, behind: int = 0) -> Tensor:
        """Vectors of tokens, with their places, the first of which is `behind`."""
        places = sinusoids(behind + tokens.shape[1], self.width, tokens.device)[behind:]
        return self.dropout(table(tokens) * math.sqrt(self.width) + places.to(table.weight.dtype))

    def begin(self, source: Ragged) -> TransformerReading:
        values, there = mask_padding(source)
        mask = there[:, None, None]
        x = self._embedded(self.source, values)
        for layer in self.encoder:
            x = layer(x, mask)
        x = self.read(x)
        memory = [layer.keys_of(x) for layer in self._writers()]
        return TransformerReading(memory, mask, [], x.new_zeros(there.shape))

    def _write(self, tokens: Tensor, reading: TransformerReading) -> tuple[Tensor, Tensor, TransformerReading]:
        """Scores of what follows each of some more tokens (B, T), where each looked (B, T, S), the reading behind."""
        behind, T = reading.past[0][0].shape[2] if reading.past else 0, tokens.shape[1]
        seen = tokens.new_ones(T, behind + T, dtype=torch.bool).tril(behind)[None, None]
        x, past, shares = self._embedded(self.target, tokens, behind), [], []
        for i, layer in enumerate(self._writers()):
            before = reading.past[i] if reading.past else None
            x, kept, looked = layer(x, before, seen, reading.memory[i], reading.mask)
            past.append(kept)
            shares.append(looked)
        scores = nn.functional.linear(self.norm(x), self.target.weight, self.bias)
        # the last layers align best: Garg et al. 2019, arXiv:1909.02074
        looked = torch.stack(shares[-2:]).mean(0)
        return scores, looked, TransformerReading(reading.memory, reading.mask, past, looked[:, -1])

    def step(self, tokens: Tensor, reading: Reading) -> tuple[Tensor, Reading]:
        assert isinstance(reading, TransformerReading)
        scores, _, behind = self._write(tokens[:, None], reading)
        return scores[:, 0], behind

    def taught(self, source: Ragged, tokens: Tensor) -> tuple[Tensor, Tensor]:
        scores, looked, _ = self._write(tokens, self.begin(source))
        return scores, looked
