"""Taggers: a sentence in, scores of every tag for every word out. Words by their vectors and their spelling.

Ma, Hovy, "End-to-end sequence labeling via bi-directional LSTM-CNNs-CRF" (2016), https://arxiv.org/abs/1603.01354.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flambeau.core.shapes import Bool, Float
from flambeau.fields import Ragged
from flambeau.models.spec import OWN, InputSpec
from flambeau.models.text.crf import Chain, Transitions
from flambeau.models.text.parts import TokenEmbedding, turned
from flambeau.models.text.transformer import Block, sinusoids

SPELLING = 32  # numbers to a character


class WordFeatures(nn.Module):
    """A word's vector, and what a convolution over its characters finds.

    Args:
        vocabulary_size: V words; 0 is padding.
        alphabet_size: A characters; 0 is padding.
        embedding: width of word vectors.
        spelling: width of what comes from the characters; 0 for none.
        dropout: probability, on both.
        token_dropout: probability that a word's vector is left out in training, so that its spelling must do.

    Shapes: Ragged (B, T, 1 + M) int64 to (B, T, embedding + spelling) and a mask (B, T) bool.
    """

    def __init__(
        self,
        vocabulary_size: int,
        alphabet_size: int,
        embedding: int,
        spelling: int,
        dropout: float,
        token_dropout: float,
    ):
        super().__init__()
        self.words = TokenEmbedding(vocabulary_size, embedding, 0.0, token_dropout, deviation=0.3)
        self.width = embedding + spelling
        self.spelling = spelling
        if spelling:
            self.characters = nn.Embedding(alphabet_size, SPELLING, padding_idx=0)
            self.convolution = nn.Conv1d(SPELLING, spelling, 3, padding=1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Ragged) -> tuple[Float[Tensor, "B T D"], Bool[Tensor, "B T"]]:
        values, lengths = tokens
        x, mask = self.words(Ragged(values[:, :, 0], lengths))
        if self.spelling:
            x = torch.cat([x, self._spell(values[:, :, 1:])], 2)
        return self.dropout(x).masked_fill(~mask[:, :, None], 0), mask

    def _spell(self, letters: Tensor) -> Tensor:
        """(B, T, M) to (B, T, spelling): each word of the batch is looked at once, however often it comes; each time
        in an export, where no size may hang on values."""
        B, T, M = letters.shape
        if torch.compiler.is_exporting():
            return self._look(letters.reshape(B * T, M)).view(B, T, self.spelling)
        words, at = torch.unique(letters.view(B * T, M), dim=0, return_inverse=True)
        return self._look(words)[at].view(B, T, self.spelling)

    def _look(self, words: Tensor) -> Tensor:
        """(N, M) to (N, spelling)."""
        return self.convolution(self.characters(words).transpose(1, 2)).relu().amax(2)


class Tagger(nn.Module):
    """Word features, an encoder over the sentence, and a linear layer for each word.

    Args:
        features: Ragged (B, T, …) to (B, T, F) and a mask.
        encoder: (B, T, F) and the mask to (B, T, D).
        crf: score tags in a row by a conditional random field.

    Shapes: Ragged to scores (B, T, K); with `crf` to a `Chain`.
    """

    def __init__(
        self, features: nn.Module, encoder: nn.Module, width: int, num_outputs: int, dropout: float, crf: bool
    ):
        super().__init__()
        self.features, self.encoder = features, encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, num_outputs)
        self.transitions = Transitions(num_outputs) if crf else None

    def forward(self, tokens: Ragged) -> Float[Tensor, "B T K"] | Chain:
        x, mask = self.features(tokens)
        scores = self.head(self.dropout(self.encoder(x, mask)))
        return scores if self.transitions is None else self.transitions(scores, mask)


class BothWays(nn.Module):
    """Recurrent layers that read a sentence from both ends. A sentence read backwards begins at its own end, so that
    padding never changes an output, and no packing is needed: it would take half as long again.

    Shapes: x (B, T, F) and mask (B, T) to (B, T, 2·hidden).
    """

    def __init__(self, cell: type[nn.LSTM] | type[nn.GRU], width: int, hidden_size: int, layers: int, dropout: float):
        super().__init__()
        sizes = [width, *[2 * hidden_size] * (layers - 1)]
        self.forwards = nn.ModuleList(cell(size, hidden_size, batch_first=True) for size in sizes)
        self.backwards = nn.ModuleList(cell(size, hidden_size, batch_first=True) for size in sizes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "B T D"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T D2"]:
        places = turned(mask)
        for i, (ahead, back) in enumerate(zip(self.forwards, self.backwards, strict=True)):
            x = x if i == 0 else self.dropout(x)
            one, _ = ahead(x)
            other, _ = back(x.gather(1, places.expand_as(x)))
            x = torch.cat([one, other.gather(1, places.expand_as(other))], 2)
        return x


class Attention(nn.Module):
    """Transformer blocks over a sentence, with sinusoidal positions. Shapes: (B, T, F) and mask to (B, T, D)."""

    def __init__(self, width: int, size: int, layers: int, heads: int, dropout: float):
        super().__init__()
        self.into = nn.Linear(width, size)
        self.blocks = nn.ModuleList(Block(size, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(size)

    def forward(self, x: Float[Tensor, "B T D"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T D2"]:
        x = self.into(x)
        x = x + 0.3 * sinusoids(x.shape[1], x.shape[2], x.device).to(x.dtype)
        for block in self.blocks:
            x = block(x, mask[:, None, None])
        return self.norm(x)


@OWN.register("transformer-tagger", kinds=("tokens",), layout="tokens")
def transformer_tagger(
    spec: InputSpec,
    num_outputs: int,
    embedding: int = 128,
    spelling: int = 64,
    hidden_size: int = 128,
    layers: int = 3,
    heads: int = 4,
    dropout: float = 0.2,
    token_dropout: float = 0.1,
    crf: bool = False,
) -> nn.Module:
    """Transformer blocks over words and their spelling."""
    features = WordFeatures(spec.shape[0], spec.shape[1], embedding, spelling, dropout, token_dropout)
    encoder = Attention(features.width, hidden_size, layers, heads, dropout)
    return Tagger(features, encoder, hidden_size, num_outputs, dropout, crf)


@OWN.register("lstm-tagger", kinds=("tokens",), layout="tokens", cell=nn.LSTM)
@OWN.register("gru-tagger", kinds=("tokens",), layout="tokens", cell=nn.GRU)
def recurrent_tagger(
    spec: InputSpec, num_outputs: int, embedding: int = 128, spelling: int = 64, hidden_size: int = 128,
    layers: int = 1, dropout: float = 0.3, token_dropout: float = 0.1, crf: bool = False,
    cell: type[nn.LSTM] | type[nn.GRU] = nn.LSTM,
) -> nn.Module:  # fmt: skip
    """Bidirectional recurrent cells over words and their spelling."""
    features = WordFeatures(spec.shape[0], spec.shape[1], embedding, spelling, dropout, token_dropout)
    encoder = BothWays(cell, features.width, hidden_size, layers, dropout)
    return Tagger(features, encoder, 2 * hidden_size, num_outputs, dropout, crf)
