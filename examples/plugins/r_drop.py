"""R-Drop: two looks at each batch through dropout are to agree. Liang et al. 2021, arXiv:2106.14448.

flambeau train reviews.csv --plugin examples/plugins/r_drop.py --objective r_drop --set objective.alpha=0.5
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.data.batch import Batch
from flambeau.objectives import OBJECTIVES, Supervised


@OBJECTIVES.register("r_drop")
class RDrop(Supervised):
    """The mean loss of both outputs, logits (B, K), and `alpha` times how far they are from one another."""

    settings = ("alpha",)

    def __init__(self, *given: Any, alpha: float = 1.0):
        super().__init__(*given)
        self.alpha = alpha
        if self.target is None or not self.target.has_classes:
            raise UsageError("r_drop is for targets of classes", fix="leave the objective out")

    def loss(self, batch: Batch, phase: str = "train") -> Tensor:
        criterion, target = self.training_criterion or self.loss_function, self.wanted(batch)
        first, second = self.forward(batch), self.forward(batch)
        one, other = first.log_softmax(1), second.log_softmax(1)
        apart = ((one.exp() - other.exp()) * (one - other)).sum(1).mean() / 2
        return (criterion(first, target) + criterion(second, target)) / 2 + self.alpha * apart
