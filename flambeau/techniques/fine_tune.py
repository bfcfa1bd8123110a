"""Fine-tuning in two parts, as fastai does it (Howard & Gugger 2020, arXiv:2002.04688): the new head first, so that it
sends no noise through weights that are worth keeping, then everything, at rates that fall towards the input. Costs
less in the first epochs. Gain: none from scratch, −18 ± 5 points on sentences; it is for weights that know something.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from flambeau.core.errors import require
from flambeau.techniques.base import TECHNIQUES
from flambeau.techniques.discriminative_rates import slow_down, spread
from flambeau.techniques.freeze import said_of_statistics
from flambeau.techniques.unfreeze import GradualUnfreezing

if TYPE_CHECKING:
    from flambeau.objectives import Objective


@TECHNIQUES.register("fine_tune")
class FineTune(GradualUnfreezing):
    """The head alone for `head_epochs`; then all layer groups, each at its share of the learning rate.

    Args:
        head_epochs: in which the head learns alone.
        lowest: the share of the first group; from there to the head's, which is 1, shares rise by equal factors.
        batch_norm: as for `freeze`, for as long as a group is frozen.
    """

    settings = ("head_epochs", "lowest", "batch_norm")

    def __init__(self, head_epochs: int = 1, lowest: float = 0.01, batch_norm: str = "frozen"):
        require(0 < lowest <= 1, f"lowest={lowest}", "above 0, and 1 at most")
        super().__init__(head_epochs, batch_norm)
        self.head_epochs, self.lowest = head_epochs, lowest

    def describe(self) -> str:
        first = "epoch" if self.head_epochs == 1 else f"{self.head_epochs} epochs"
        return (
            f"the head alone in the first {first}, then all layer groups, the first at {self.lowest:g} of the learning "
            f"rate; {said_of_statistics(self.batch_norm)}, while it is frozen"
        )

    def decides(self) -> Mapping[str, tuple[Any, str]]:
        return {"backbone_lr_scale": (1.0, f"{self.name} gives each layer its rate")}

    def learning(self, epoch: int, count: int) -> int:
        return 1 if epoch < self.head_epochs else count

    def on_rates(self, objective: Objective, rates: dict[nn.Parameter, float]) -> None:
        super().on_rates(objective, rates)
        groups = objective.groups()
        slow_down(rates, groups, spread(self.lowest, len(groups)))
