"""The contract of models that write one text for another: the source is read once, the answer written token by token;
and the search for the answer, greedy or by beam."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.core.shapes import Float, Int64
from flambeau.fields import Ragged


class Reading(ABC):
    """What a model has read and written so far of B texts."""

    attention: Float[Tensor, "B S"]
    """How much it looked at each token of the source for what it wrote last: shares, 0 behind the source's end."""

    @abstractmethod
    def keep(self, rows: Int64[Tensor, " N"]) -> Reading:
        """That of some texts; one may come several times."""


class Seq2Seq(nn.Module, ABC):
    """Scores of the next token of an answer, of a source and what was written so far.

    Attributes:
        vocabulary: V, how many different tokens an answer may have.
    """

    vocabulary: int

    @abstractmethod
    def taught(
        self, source: Ragged, tokens: Int64[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B T V"], Float[Tensor, "B T S"]]:
        """Scores of what follows each token of an answer that is known (teacher forcing), and where the model looked in
        the source. Source Ragged (B, S); what stands behind an answer's end does not matter."""

    @abstractmethod
    def begin(self, source: Ragged) -> Reading:
        """Reads sources (B, S); nothing is written yet."""

    @abstractmethod
    def step(self, tokens: Int64[Tensor, " B"], reading: Reading) -> tuple[Float[Tensor, "B V"], Reading]:
        """Scores of what follows one more token of each answer, and the reading behind it: those of `taught` at that
        place, to rounding. `reading` may be changed in place."""

    def forward(self, source: Ragged, tokens: Int64[Tensor, "B T"] | None = None) -> Float[Tensor, "B T V"]:
        """The scores of `taught`; without an answer those of the first token, after token 0."""
        return self.taught(source, source.values.new_zeros(len(source.values), 1) if tokens is None else tokens)[0]


def tie(source: nn.Embedding, target: nn.Embedding) -> None:
    """Makes one table of two: tokens of sources and of answers are the same. Press & Wolf 2017, "Using the output
    embedding to improve language models", https://arxiv.org/abs/1608.05859.

    Raises:
        UsageError: they are not as many.
    """
    if source.num_embeddings != target.num_embeddings:
        told = f"tied=true, and sources have {source.num_embeddings:,} tokens, answers {target.num_embeddings:,}"
        raise UsageError(told, expected="the same tokens of both", fix="cut both into the same: --tokens shared")
    source.weight = target.weight


@torch.no_grad()
def search(
    model: Seq2Seq, source: Ragged, *, begin: int, end: int, longest: int, beams: int = 1, length_penalty: float = 1.0
) -> Int64[Tensor, "B T"]:
    """The answer to each source that the model finds likeliest: token by token (greedy), or the best of `beams` that
    are followed side by side (beam search, with the penalty of Wu et al. 2016, arXiv:1609.08144: scores are divided by
    ((5 + T) / 6) ** length_penalty).

    Args:
        source: (B, S).
        begin, end: the tokens that stand before each answer and behind it.
        longest: tokens that an answer may have, the one that ends it among them.

    Returns:
        the answers without `begin`, `end` behind each that ended, and that again up to T.
    """
    B, K, V = len(source.values), beams, model.vocabulary
    device = source.values.device
    reading = model.begin(source).keep(torch.arange(B, device=device).repeat_interleave(K))
    tokens = torch.full((B * K,), begin, device=device)
    written = torch.empty(B * K, 0, dtype=torch.int64, device=device)
    # all beams of a text are alike at first: one alone may go on
    total = torch.full((B, K), -torch.inf, device=device)
    total[:, 0] = 0.0
    ended = torch.zeros(B, K, dtype=torch.bool, device=device)
    lengths = torch.zeros(B, K, device=device)
    stays = torch.full((V,), -torch.inf, device=device)
    stays[end] = 0.0  # what has ended goes on with `end` at no cost
    for _ in range(longest):
        scores, reading = model.step(tokens, reading)
        follows = scores.float().log_softmax(1).view(B, K, V)
        follows = torch.where(ended[:, :, None], stays, follows)
        grown = lengths + (~ended).float()
        ranked = (total[:, :, None] + follows) / ((5 + grown[:, :, None]) / 6) ** length_penalty
        best = ranked.view(B, K * V).topk(K, 1).indices  # (B, K)
        beam, chosen = best // V, best % V
        total = (total[:, :, None] + follows).view(B, K * V).gather(1, best)
        lengths, ended = grown.gather(1, beam), ended.gather(1, beam) | (chosen == end)
        rows = (beam + K * torch.arange(B, device=device)[:, None]).view(-1)
        tokens = chosen.view(-1)
        written = torch.cat([written[rows], tokens[:, None]], 1)
        if bool(ended.all()):
            break
        reading = reading if K == 1 else reading.keep(rows)
    return written.view(B, K, -1)[:, 0]
