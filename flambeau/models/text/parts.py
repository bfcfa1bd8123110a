"""What the text models share: the embedding of tokens, which makes padding harmless, and pooling over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.core.shapes import Bool, Float
from flambeau.fields import Ragged

POOLINGS = ("mean", "sqrt", "max", "last", "cls", "attention")


class TokenEmbedding(nn.Module):
    """Token numbers to vectors; padding's are zeros, whatever the table holds for it.

    A text without a token counts as one padding token, so that nothing is divided by zero.

    Args:
        vocabulary_size: V; token 0 is padding, whose row gets no gradient.
        width: D.
        dropout: probability, of each number of each vector.
        token_dropout: probability that a token's whole vector is left out in training: Iyyer et al. 2015, "Deep
            unordered composition rivals syntactic methods for text classification".
        deviation: standard deviation of fresh vectors. Small, so that a word that training hardly saw says little.

    Shapes: Ragged of values int64 (B, T) and lengths int64 (B), to (B, T, D) float and the mask (B, T) bool, True
    where there is a token; T is at least 1.
    """

    def __init__(
        self, vocabulary_size: int, width: int, dropout: float = 0.0, token_dropout: float = 0.0, deviation: float = 0.1
    ):
        super().__init__()
        self.table = nn.Embedding(vocabulary_size, width, padding_idx=0)
        nn.init.normal_(self.table.weight, std=deviation)
        with torch.no_grad():
            self.table.weight[0] = 0
        self.dropout = nn.Dropout(dropout)
        self.token_dropout = nn.Dropout1d(token_dropout)

    def forward(self, tokens: Ragged) -> tuple[Float[Tensor, "B T D"], Bool[Tensor, "B T"]]:
        values, mask = mask_padding(tokens)
        x = self.table(values).masked_fill(~mask[:, :, None], 0)
        return self.dropout(self.token_dropout(x)), mask


def mask_padding(tokens: Ragged) -> tuple[Tensor, Tensor]:
    """Values (B, T), zero behind each text's end, and the mask (B, T) of what is no padding; T is at least 1, and of an
    empty text the first place counts."""
    values, lengths = tokens
    if values.shape[1] == 0:
        values = values.new_zeros(values.shape[0], 1)
    steps = torch.arange(values.shape[1], device=values.device)
    return values.masked_fill(steps >= lengths[:, None], 0), steps < lengths.clamp(min=1)[:, None]


def turned(mask: Tensor) -> Tensor:
    """Places (B, T, 1) int64 to gather by, for texts read backwards: each begins at its own end, and padding stays
    where it is. It is its own inverse."""
    steps = torch.arange(mask.shape[1], device=mask.device)
    lengths = mask.sum(1, keepdim=True)
    return torch.where(steps < lengths, lengths - 1 - steps, steps)[:, :, None]


def first_times(values: Tensor) -> Tensor:
    """Of int64 (B, T), bool: where a number comes for the first time in its row."""
    ordered, place = values.sort(dim=1, stable=True)
    again = torch.zeros_like(values, dtype=torch.bool)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    return ~torch.zeros_like(again).scatter(1, place, again)


class Pooling(nn.Module):
    """Vectors over time to one vector, padding left out.

    Args:
        pooling: `mean`; `sqrt`, the sum divided by the root of the length; `max`; `last`, the last token's; `cls`, the
            first token's; or `attention`, a mean weighted by a small learned network: Yang et al. 2016, "Hierarchical
            attention networks for document classification".
        width: D; only `attention` has weights.

    Shapes: x (B, T, D) float and mask (B, T) bool, at least one True a row, to (B, D).

    Raises:
        UsageError: there is no such pooling.
    """

    def __init__(self, pooling: str, width: int):
        super().__init__()
        if pooling not in POOLINGS:
            raise UsageError(f"no pooling is called '{pooling}'", expected=", ".join(POOLINGS))
        self.pooling = pooling
        if pooling == "attention":
            self.score = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1, bias=False))

    def forward(self, x: Float[Tensor, "B T D"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B D2"]:
        if self.pooling == "max":
            return x.masked_fill(~mask[:, :, None], torch.finfo(x.dtype).min).amax(1)
        if self.pooling == "last":
            return x[torch.arange(x.shape[0], device=x.device), mask.sum(1) - 1]
        if self.pooling == "cls":
            return x[:, 0]
        if self.pooling in ("mean", "sqrt"):
            length = mask.sum(1, keepdim=True)
            weights = mask / (length if self.pooling == "mean" else length.sqrt())  # (B, T)
        else:
            scores = self.score(x).squeeze(2)
            weights = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(1)
        return (weights.to(x.dtype)[:, None] @ x).squeeze(1)

    def extra_repr(self) -> str:
        return self.pooling
