"""Which classes were taken for which: a matrix of few classes, the commonest mistakes of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

WHOLE = 1_000  # classes up to which every pair is counted: 8 MB
MOST_PAIRS = 2**17  # of more classes, mistakes that are told apart: 2 MB
LISTED = 200


class Confusion:
    """Counts of (true, predicted). Memory is bounded whatever the number of classes: up to 1,000 of them all pairs are
    counted. Of more only mistakes are, and of these at most 131,072 different ones, by the summary of Misra & Gries
    1982, "Finding repeated elements", as Agarwal et al. 2012, "Mergeable summaries", merge it: a count that is told is
    short by at most one in 131,072 of all mistakes.

    Args:
        num_classes: K.
    """

    def __init__(self, num_classes: int):
        self.num_classes = num_classes
        self.matrix = torch.zeros(num_classes, num_classes, dtype=torch.int64) if num_classes <= WHOLE else None
        self.pairs = torch.zeros(0, dtype=torch.int64)  # true · K + predicted, ascending
        self.counts = torch.zeros(0, dtype=torch.int64)
        self.short = 0
        """By how much a count may be too low."""

    def add(self, truth: Tensor, guess: Tensor) -> None:
        """Counts a batch: classes, int64 (B) each."""
        k = self.num_classes
        if self.matrix is not None:
            self.matrix += torch.bincount(truth * k + guess, minlength=k * k).view(k, k)
            return
        wrong = truth != guess
        mistakes = (truth * k + guess)[wrong]
        joined = torch.cat([self.pairs, mistakes])
        self.pairs, where = joined.unique(return_inverse=True)
        counts = torch.cat([self.counts, torch.ones_like(mistakes)])
        self.counts = torch.zeros_like(self.pairs).index_add_(0, where, counts)
        if len(self.pairs) > 2 * MOST_PAIRS:
            cut = int(self.counts.sort(descending=True).values[MOST_PAIRS])
            kept = self.counts > cut
            self.pairs, self.counts, self.short = self.pairs[kept], self.counts[kept] - cut, self.short + cut

    def detail(self, classes: Sequence[str]) -> dict[str, Any]:
        """`confusion`, true × predicted, of few classes; of many `confused`, the mistakes made most often, as
        {true, predicted, count}."""
        if self.matrix is not None:
            return {"confusion": self.matrix.tolist()}
        most = self.counts.topk(min(LISTED, len(self.counts)))
        pairs = self.pairs[most.indices].tolist()
        named = [(classes[pair // self.num_classes], classes[pair % self.num_classes]) for pair in pairs]
        return {"confused": [{"true": true, "predicted": predicted, "count": count}
                             for (true, predicted), count in zip(named, most.values.tolist(), strict=True)],
                "confused_short": self.short}  # fmt: skip
