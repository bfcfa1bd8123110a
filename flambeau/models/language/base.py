"""The contract of models that tell what follows a text: over whole windows at once, and token by token."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from flambeau.core.errors import ModelError


class State(ABC):
    """What a model remembers of B texts that it has read a part of, each of its own length: keys and values of
    attention, or what a recurrent layer holds. Texts join and leave a batch by it."""

    lengths: Tensor
    """Tokens read of each text, int64 (B)."""

    @abstractmethod
    def keep(self, rows: Tensor) -> State:
        """The state of some texts, int64 (N); one may come several times."""

    @classmethod
    @abstractmethod
    def joined(cls, states: Sequence[State]) -> State:
        """Those of several batches as one, in order."""


class CausalLanguageModel(nn.Module, ABC):
    """Scores of the token that comes next, of what came before alone.

    Attributes:
        vocabulary: V, how many different tokens there are.
        context: tokens that it can look back at; None where there is no end to it.
        penalty: what its last pass in training adds to the loss, float (); None for nothing.
        scores_at_once: bytes of scores that are computed of a batch together; a larger one is taken in parts.
    """

    vocabulary: int
    context: int | None = None
    penalty: Tensor | None = None
    scores_at_once: int = 1 << 29

    def undecayed(self) -> Iterable[nn.Parameter]:
        """The vectors of tokens and of places: a rare one would be forgotten between the texts that it is in."""
        tables = [module for module in self.modules() if isinstance(module, nn.Embedding)]
        return [parameter for table in tables for parameter in table.parameters()]

    @abstractmethod
    def forward(self, tokens: Tensor, segments: Tensor | None = None) -> Tensor:
        """Scores float (B, T, V) of what follows each token.

        Args:
            tokens: int64 (B, T).
            segments: int64 (B, T), which document of a window each token is of: none is seen from another. One document
                if not given.
        """

    def states(self, tokens: Tensor) -> Tensor:
        """What it knows behind each token, float (B, T, D), of which scores are made: of int64 (B, T), a document each.

        Raises:
            ModelError: it does not say.
        """
        raise ModelError(f"{type(self).__name__} gives scores of tokens alone", fix="write its method states")

    def forget_scores(self) -> None:
        """Lets go of what makes scores of states, where that is a layer of its own: only states are asked for."""

    @abstractmethod
    def begin(self, count: int) -> State:
        """The state of so many texts of which nothing was read, on the model's device."""

    @abstractmethod
    def step(self, tokens: Tensor, state: State, counts: Tensor | None = None) -> tuple[Tensor, State]:
        """Scores float (B, V) of what follows the last of some more tokens, and the state behind it. What `forward`
        gives at that place over all that was read, to rounding.

        Args:
            tokens: int64 (B, T), 1 or more of each text, padded at the end.
            state: may be changed in place; only what is returned is used afterwards.
            counts: int64 (B), how many are of each text; all T if not given.
        """


def last_of(x: Tensor, counts: Tensor | None) -> Tensor:
    """Of (B, T, D) what belongs to the last token of each text: (B, D).

    Args:
        counts: int64 (B), how many there are of each; all T if not given.
    """
    return x[:, -1] if counts is None else x[torch.arange(len(x), device=x.device), counts - 1]


def by_document(scores: Callable[[Tensor], Tensor], tokens: Tensor, segments: Tensor | None) -> Tensor:
    """Scores (B, T, V) of windows (B, T) by a model that cannot be told where a document begins: each is a row of its
    own, padded at the end. On another device than the CPU this waits for it.

    Args:
        scores: of int64 (N, T), float (N, T, V), each of what came before alone.
        segments: int64 (B, T), as in `CausalLanguageModel.forward`.
    """
    if segments is None or bool((segments == segments[:, :1]).all()):
        return scores(tokens)
    sizes = sizes_of(segments)
    rows = scores(pad_sequence(list(tokens.flatten().split(sizes)), batch_first=True))
    return torch.cat([row[:size] for row, size in zip(rows, sizes, strict=True)]).view(*tokens.shape, -1)


def sizes_of(segments: Tensor) -> list[int]:
    """How many tokens each document of windows (B, T) has there, window by window."""
    begins = F.pad(segments[:, 1:] != segments[:, :-1], (1, 0), value=True).flatten().nonzero()[:, 0]
    return torch.diff(begins, append=begins.new_tensor([segments.numel()])).tolist()
