"""How texts that were written are measured against those that were meant: chrF, BLEU, and how many are the same."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from flambeau.core.errors import needed
from flambeau.fields import TextTarget
from flambeau.objectives.classification import Worst
from flambeau.objectives.intervals import GROUPS, Grouped, groups_of

CHRF, BLEU = 18, 10  # numbers that a text adds to each


class Translated(Grouped):
    """chrF (Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation") and BLEU (Papineni et al. 2002)
    of all texts together, as sacrebleu counts them, 0…100; and the share that is exactly right. From token numbers
    (B, T) and targets (B, T')."""

    proportions = ("exact_match",)

    def __init__(self, field: TextTarget, detail: bool):
        self.field, self.keep = field, detail
        # rows, exactly right, and what sacrebleu's scores are made of
        self.sums = torch.zeros(GROUPS, 2 + CHRF + BLEU, dtype=torch.int64)
        self.worst = Worst()

    @cached_property
    def _scores(self) -> tuple[Any, Any]:
        """sacrebleu's chrF and BLEU."""
        metrics = needed("sacrebleu", "llm", "measuring texts").metrics
        return metrics.CHRF(), metrics.BLEU(force=True)

    def update(self, output: Tensor, target: Tensor, rows: Tensor) -> None:
        pairs = self.field.both(output, target)
        said, true = [pair[0] for pair in pairs], [[pair[1] for pair in pairs]]
        counted = [score._extract_corpus_statistics(said, true) for score in self._scores]
        right = [[1, int(one == other)] for one, other in pairs]
        terms = torch.tensor([[*a, *b, *c] for a, b, c in zip(right, *counted, strict=True)], dtype=torch.int64)
        self.sums.index_add_(0, groups_of(rows), terms)
        if self.keep:
            far = [100.0 - self._scores[0]._compute_score_from_stats(one).score for one in counted[0]]
            wrong = torch.tensor(far) * torch.tensor([not same for _, same in right])

            def tell(i: int) -> dict[str, Any]:
                return {"true": pairs[i][1], "predicted": pairs[i][0]}

            self.worst.offer(wrong, rows, tell)

    @property
    def count(self) -> int:
        return int(self.sums[:, 0].sum())

    def score(self, sums: Tensor) -> dict[str, Tensor]:
        chrf, bleu = (
            torch.tensor([float(score._compute_score_from_stats(one).score) for one in part.tolist()]).double()
            for score, part in zip(self._scores, sums[:, 2:].split([CHRF, BLEU], 1), strict=True)
        )
        return {"chrf": chrf, "bleu": bleu, "exact_match": sums[:, 1] / sums[:, 0].clamp_min(1)}

    def detail(self) -> dict[str, Any]:
        return {"kind": "texts", "worst": self.worst.listed()}
