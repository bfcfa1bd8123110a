"""Label smoothing: Szegedy et al. 2016, arXiv:1512.00567. Costs nothing; calibrates, and resists wrong labels.
Gain: +0.1 ± 0.2 points on clothes, −0.1 ± 3.1 on sentences."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from flambeau.core.errors import UsageError, require
from flambeau.techniques.base import TECHNIQUES, Technique

if TYPE_CHECKING:
    from flambeau.objectives import Objective
    from flambeau.objectives.base import Criterion


@TECHNIQUES.register("label_smoothing")
class LabelSmoothing(Technique):
    """Gives `amount` of the target's probability to all classes alike, in training only."""

    settings = ("amount",)

    def __init__(self, amount: float = 0.1):
        require(0 <= amount < 1, f"a label smoothing of {amount}", "0 or more, below 1")
        self.amount = amount

    def on_criterion(self, objective: Objective, criterion: Criterion) -> Criterion:
        if not objective.smooths:
            raise UsageError(
                "label smoothing needs a loss over classes", fix="use it with cross_entropy or bce, or leave it out"
            )
        return functools.partial(criterion, label_smoothing=self.amount)
