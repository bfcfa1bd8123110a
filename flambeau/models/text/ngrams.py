"""A linear model of phrases: every run of a few tokens is a feature of its own, with a weight for each answer.

Which phrases there are, and how much each counts, is found in the training texts before the first step: by how
unequally the answers have it, the log-count ratios of Wang, Manning, "Baselines and bigrams: simple, good sentiment and
topic classification" (2012), https://aclanthology.org/P12-2018. Rare ones are forgotten while they are counted, so that
memory stays bounded: Manku, Motwani, "Approximate frequency counts over data streams" (2002).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.core.shapes import Float
from flambeau.fields import Ragged
from flambeau.models.spec import OWN, nothing
from flambeau.models.text.parts import first_times, mask_padding

FACTORS = (1_000_003, 0x9E3779B97F4A7C15 - (1 << 64))  # odd: a product of int64 wraps around and loses nothing
LARGEST = 1 << 22  # numbers of the table, where its size is chosen
SIZES = (1 << 14, 1 << 19)  # phrases at least and at most
OFTEN = 2  # training texts that must have a phrase; one says nothing about others
COUNTED = 1 << 24  # numbers held while phrases are counted
AT_ONCE = 1 << 23  # of them new ones
RATE = 3.0  # a phrase has a gradient in few batches only


@OWN.register("ngrams", kinds=("text",), of=nothing, rates={"table.weight": RATE}, wants={"characters": 2048})
class NGrams(nn.Module):
    """The weights of a text's different phrases, added up; the phrases' own values have length 1 together.

    Args:
        num_outputs: K.
        ngrams: tokens of the longest phrases; 1 for single tokens only.
        size: S, phrases that have weights; place 0 is of no phrase. As the number of outputs allows, if not given.
        dropout: probability that a phrase is left out in training.

    Attributes:
        keys: int64 (S), the phrases' numbers in rising order. Before `initialise_from_data` each stands for
            all up to the next.
        values: float (S), what each phrase counts beside others.
        primed: bool (), whether `initialise_from_data` has chosen the phrases.

    Shapes: Ragged (B, T) int64 to (B, K).

    Raises:
        UsageError: `ngrams` or `size` is too small.
    """

    def __init__(self, num_outputs: int, ngrams: int = 3, size: int | None = None, dropout: float = 0.3):
        super().__init__()
        if size is None:
            least, most = SIZES
            size = max(least, min(most, 1 << (LARGEST // num_outputs).bit_length() - 1))
        if ngrams < 1 or size < 4:
            raise UsageError(f"ngrams={ngrams} and size={size} do not fit", expected="at least 1 and 4")
        self.ngrams = ngrams
        self.table = nn.Embedding(size, num_outputs, padding_idx=0)
        nn.init.normal_(self.table.weight, std=0.01)
        with torch.no_grad():
            self.table.weight[0] = 0
        self.bias = nn.Parameter(torch.zeros(num_outputs))
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("keys", (torch.arange(size) - size // 2) * ((1 << 63) // size * 2))
        self.register_buffer("values", torch.ones(size))
        self.register_buffer("primed", torch.tensor(False))
        self.keys: Tensor
        self.values: Tensor
        self.primed: Tensor

    def forward(self, tokens: Ragged) -> Float[Tensor, "B K"]:
        places, values = self._weighted(tokens)
        weights = self.dropout(values).to(self.table.weight.dtype)
        if torch.compiler.is_exporting():  # other programs have no bags
            return (weights[:, None] @ self.table(places)).squeeze(1) + self.bias
        summed = nn.functional.embedding_bag(
            places, self.table.weight, mode="sum", per_sample_weights=weights, padding_idx=0
        )
        return summed + self.bias

    def initialise_from_data(self, batches: Iterable[tuple[Ragged, Tensor]]) -> None:
        """Chooses the phrases: the most frequent ones of the training texts. Each counts as much as the largest
        absolute log ratio of how often an answer's texts have it and how often all others do, smoothed by 1.

        Args:
            batches: tokens, and which answers each text has: float (B, M), 0 or 1, of any M; (B, 1) has all phrases
                count alike.
        """
        counted: tuple[Tensor, Tensor] | None = None
        waiting: list[tuple[Tensor, Tensor]] = []
        for tokens, answers in batches:
            phrases, good = self._phrases(tokens)
            # the last column counts texts: they may have several answers, or none
            each = torch.cat([answers, answers.new_ones(len(answers), 1)], 1)
            waiting.append((phrases[good], each.repeat_interleave(good.sum(1), 0)))
            if sum(counts.numel() for _, counts in waiting) >= AT_ONCE:
                counted, waiting = _counted(counted, waiting), []
        if waiting:
            counted = _counted(counted, waiting)
        if counted is None:
            return
        phrases, counts = counted
        chosen = counts[:, -1].topk(min(len(phrases), len(self.keys) - 1)).indices.sort().values
        chosen = chosen[counts[chosen, -1] >= OFTEN]
        inside, outside = counts[:, :-1] + 1, counts[:, -1:] - counts[:, :-1] + 1
        ratios = (inside / inside.sum(0) / (outside / outside.sum(0))).log().abs().amax(1)
        self.keys.fill_(torch.iinfo(torch.int64).max)
        self.keys[0] = torch.iinfo(torch.int64).min
        self.keys[1 : len(chosen) + 1] = phrases[chosen]
        self.values.zero_()
        self.values[1 : len(chosen) + 1] = ratios[chosen] if counts.shape[1] > 2 else 1.0
        self.primed.fill_(True)

    def attribute(self, tokens: Ragged, outputs: Tensor) -> Tensor:
        """What each token added to an answer, float (B, T): its share of each phrase that it is in. They and the bias
        add up to the answer.

        Args:
            outputs: for each text, which output is asked about, int64 (B).
        """
        places, values = self._weighted(tokens)
        T = places.shape[1] // self.ngrams
        added = (values * self.table.weight[places, outputs[:, None]]).split(T, 1)
        shares = torch.zeros_like(added[0])
        for more, part in enumerate(added):
            for step in range(min(more + 1, T)):
                shares[:, step:] += part[:, : T - step] / (more + 1)
        return shares[:, : tokens.values.shape[1]]

    def _weighted(self, tokens: Ragged) -> tuple[Tensor, Tensor]:
        """Places in the table and values (B, ngrams·T); 0 and 0 where there is no phrase, or none that is known."""
        phrases, good = self._phrases(tokens)
        places = self._look_up(phrases)
        good &= (self.keys[places] == phrases) | ~self.primed
        places = places.masked_fill(~good, 0)
        values = self.values[places].masked_fill(~good, 0)
        return places, values / values.square().sum(1, keepdim=True).clamp_min(1e-12).sqrt()

    def _look_up(self, phrases: Tensor) -> Tensor:
        """The last place whose key is no larger, of each number (B, N); 0 where there is none."""
        if not torch.compiler.is_exporting():
            return (torch.searchsorted(self.keys, phrases, right=True) - 1).clamp_min(0)
        places, size = torch.zeros_like(phrases), self.keys.shape[0]
        for bit in reversed(range((size - 1).bit_length())):  # the same by steps that other programs have
            next_places = places + (1 << bit)
            fits = (next_places < size) & (self.keys[next_places.clamp_max(size - 1)] <= phrases)
            places = torch.where(fits, next_places, places)
        return places

    def _phrases(self, tokens: Ragged) -> tuple[Tensor, Tensor]:
        """Numbers (B, ngrams·T) int64 of phrases of 1, 2, … tokens, by each phrase's first token; and bool likewise:
        False where it reaches over the text's end, or came before in the text."""
        values, _ = mask_padding(tokens)
        steps = torch.arange(values.shape[1], device=values.device)
        rest, found, inside = values, [], []
        for more in range(self.ngrams):
            if more:
                rest = rest * FACTORS[0] + nn.functional.pad(values, (0, more))[:, more:]
            found.append(rest * FACTORS[1])  # neighbouring tokens get numbers far apart
            inside.append(steps < (tokens.lengths - more)[:, None])
        phrases, good = torch.cat(found, 1), torch.cat(inside, 1)
        return phrases, good & first_times(phrases.masked_fill(~good, torch.iinfo(torch.int64).max))


def _counted(before: tuple[Tensor, Tensor] | None, found: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Different phrases (N), rising, and their counts (N, M): those before and the new ones, less the rarest."""
    pairs = [before, *found] if before is not None else found
    phrases, where = torch.unique(torch.cat([phrases for phrases, _ in pairs]), return_inverse=True)
    counts = torch.cat([counts for _, counts in pairs])
    summed = counts.new_zeros(len(phrases), counts.shape[1]).index_add_(0, where, counts)
    most = COUNTED // counts.shape[1]
    if len(phrases) > most:
        kept = summed[:, -1].topk(most).indices.sort().values
        phrases, summed = phrases[kept], summed[kept]
    return phrases, summed
