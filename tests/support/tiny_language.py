"""A model of language that learns in a second, for tests: what follows a token, by a recurrent layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flambeau.models.language import CausalLanguageModel, State
from flambeau.models.spec import OWN, vocabulary


class Remembered(State):
    """The last token of each text, int64 (B); -1 where nothing was read."""

    def __init__(self, last: Tensor, lengths: Tensor):
        self.last, self.lengths = last, lengths

    def keep(self, rows: Tensor) -> Remembered:
        return Remembered(self.last[rows], self.lengths[rows])

    @classmethod
    def joined(cls, states: Sequence[State]) -> Remembered:
        return cls(torch.cat([s.last for s in states]), torch.cat([s.lengths for s in states]))


@OWN.register("tiny-lm", kinds=("corpus",), of=vocabulary, layout="tokens")
class Tiny(CausalLanguageModel):
    """Each token's embedding and that of the one before it in its document."""

    def __init__(self, vocabulary: int, num_outputs: int, width: int = 16):
        super().__init__()
        self.vocabulary = num_outputs
        self.here, self.before = nn.Embedding(vocabulary, width), nn.Embedding(vocabulary, width)
        self.head = nn.Linear(width, num_outputs)

    def forward(self, tokens: Tensor, segments: Tensor | None = None) -> Tensor:
        before = self.before(tokens.roll(1, 1))
        first = torch.ones_like(tokens, dtype=torch.bool)
        first[:, 1:] = segments[:, 1:] != segments[:, :-1] if segments is not None else False
        return self.head(torch.tanh(self.here(tokens) + before.masked_fill(first[..., None], 0)))

    def begin(self, count: int) -> Remembered:
        return Remembered(torch.full((count,), -1), torch.zeros(count, dtype=torch.int64))

    def step(self, tokens: Tensor, state: State, counts: Tensor | None = None) -> tuple[Tensor, State]:
        assert isinstance(state, Remembered)
        counts = torch.full((len(tokens),), tokens.shape[1]) if counts is None else counts
        rows, every = torch.arange(len(tokens)), torch.cat([state.last[:, None], tokens], 1)
        last, before = every[rows, counts], every[rows, counts - 1]
        told = self.before(before.clamp_min(0)).masked_fill((before < 0)[:, None], 0)
        return self.head(torch.tanh(self.here(last) + told)), Remembered(last, state.lengths + counts)
