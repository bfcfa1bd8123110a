"""A language model whose scores come from an exported program: it measures documents, and makes texts go on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.models.language import CausalLanguageModel, State
from flambeau.models.language.base import by_document, last_of
from flambeau.objectives.programs import Runtimes, tensors


class Read(State):
    """What was read of B texts: the tokens themselves, int64 (B, T), with padding behind each text's own."""

    def __init__(self, tokens: Tensor, lengths: Tensor):
        self.tokens, self.lengths = tokens, lengths

    def keep(self, rows: Tensor) -> Read:
        return Read(self.tokens[rows], self.lengths[rows])

    @classmethod
    def joined(cls, states: Sequence[State]) -> Read:
        parts = [state for state in states if isinstance(state, Read)]
        width = max(part.tokens.shape[1] for part in parts)
        tokens = [F.pad(part.tokens, (0, width - part.tokens.shape[1])) for part in parts]
        return cls(torch.cat(tokens), torch.cat([part.lengths for part in parts]))

    def extended(self, tokens: Tensor, counts: Tensor) -> Read:
        """Behind some more tokens (B, T), of which `counts` (B) are of each text."""
        lengths = self.lengths + counts
        whole = F.pad(self.tokens, (0, int(lengths.max()) - self.tokens.shape[1]))
        at = torch.arange(tokens.shape[1])
        rows, columns = (at < counts[:, None]).nonzero(as_tuple=True)
        whole[rows, self.lengths[rows] + columns] = tokens[rows, columns]
        return Read(whole, lengths)


class ExportedLanguageModel(CausalLanguageModel):
    """Scores by the program `next`. It holds nothing between steps: a token costs as much as the whole text so far.

    Args:
        runtimes: with `next` among them.
        vocabulary, context: as of the model that was exported.
    """

    def __init__(self, runtimes: Runtimes, vocabulary: int, context: int | None):
        super().__init__()
        self.runtimes, self.vocabulary, self.context = runtimes, vocabulary, context
        self.place = nn.Parameter(torch.empty(0), requires_grad=False)  # says that it runs on the CPU

    def _scores(self, tokens: Tensor) -> Tensor:
        return tensors(self.runtimes, "next", {"tokens": tokens.numpy()})["scores"]

    def forward(self, tokens: Tensor, segments: Tensor | None = None) -> Tensor:
        return by_document(self._scores, tokens, segments)

    def begin(self, count: int) -> Read:
        return Read(torch.zeros(count, 0, dtype=torch.int64), torch.zeros(count, dtype=torch.int64))

    def step(self, tokens: Tensor, state: State, counts: Tensor | None = None) -> tuple[Tensor, Read]:
        assert isinstance(state, Read)
        read = state.extended(tokens, torch.full((len(tokens),), tokens.shape[1]) if counts is None else counts)
        return last_of(self._scores(read.tokens), read.lengths), read
