"""A small untrained model of bytes that looks back at 24 of them, with all that a decoder asks of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from flambeau.models.language.base import CausalLanguageModel, State


class Bytes:
    """Bytes as tokens, and one that ends a text."""

    end = 256
    stops = ()

    def tokens_of(self, text: str) -> list[int]:
        return [*text.encode()]

    def bytes_of(self, ids: Sequence[int]) -> bytes:
        return bytes(i for i in ids if i < 256)


@dataclass
class Seen(State):
    """What each has read, as such, so that its scores are of no rounding."""

    lengths: Tensor
    tokens: list[list[int]]

    def keep(self, rows: Tensor) -> Seen:
        return Seen(self.lengths[rows], [[*self.tokens[row]] for row in rows.tolist()])

    @classmethod
    def joined(cls, states: Sequence[State]) -> Seen:
        tokens = [row for state in states if isinstance(state, Seen) for row in state.tokens]
        return cls(torch.cat([state.lengths for state in states]), tokens)


class Speaker(CausalLanguageModel):
    """A GRU over the tokens it is given, which a text's window has to fit."""

    def __init__(self, vocabulary: int = 257, context: int | None = 24, sharpness: float = 8.0):
        super().__init__()
        torch.manual_seed(0)
        self.vocabulary, self.context = vocabulary, context
        self.embedding = nn.Embedding(vocabulary, 16)
        self.layer = nn.GRU(16, 32, batch_first=True)
        self.head = nn.Linear(32, vocabulary)
        self.sharpness = sharpness
        self.steps = 0

    def forward(self, tokens: Tensor, segments: Tensor | None = None) -> Tensor:
        assert self.context is None or tokens.shape[1] <= self.context
        return self.sharpness * self.head(self.layer(self.embedding(tokens))[0])

    def begin(self, count: int) -> Seen:
        return Seen(torch.zeros(count, dtype=torch.int64), [[] for _ in range(count)])

    def step(self, tokens: Tensor, state: State, counts: Tensor | None = None) -> tuple[Tensor, State]:
        assert isinstance(state, Seen)
        self.steps += 1
        sizes = [tokens.shape[1]] * len(tokens) if counts is None else counts.tolist()
        read = [[*old, *new[:size]] for old, new, size in zip(state.tokens, tokens.tolist(), sizes, strict=True)]
        scores = torch.stack([self(torch.tensor([row]))[0, -1] for row in read])
        return scores, Seen(torch.tensor([len(row) for row in read]), read)
