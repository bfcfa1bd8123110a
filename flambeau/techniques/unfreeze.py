"""Gradual unfreezing: Howard & Ruder 2018, "Universal language model fine-tuning", arXiv:1801.06146, section 3.3. Costs
less, the more is still frozen. Gain: none from scratch, −4.1 ± 0.4 points on sentences; it is for weights that know
something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import nn

from flambeau.core.errors import UsageError, require
from flambeau.techniques.base import TECHNIQUES, Technique
from flambeau.techniques.freeze import check_statistics, rest, said_of_statistics

if TYPE_CHECKING:
    from flambeau.objectives import Objective


@TECHNIQUES.register("gradual_unfreezing")
class GradualUnfreezing(Technique):
    """The head learns alone at first; then one layer group more, from the head backwards, every so many epochs.

    Args:
        epochs: until the next group learns.
        batch_norm: as for `freeze`, for as long as a group is frozen.
    """

    settings: ClassVar[tuple[str, ...]] = ("epochs", "batch_norm")

    def __init__(self, epochs: int = 1, batch_norm: str = "frozen"):
        require(isinstance(epochs, int) and epochs >= 1, f"{self.settings[0]}={epochs}", "1 or more")
        check_statistics(batch_norm)
        self.epochs, self.batch_norm = epochs, batch_norm
        self._held: list[nn.Parameter] = []

    def describe(self) -> str:
        often = "every epoch" if self.epochs == 1 else f"every {self.epochs} epochs"
        return f"the head learns first, and one layer group more {often}; {said_of_statistics(self.batch_norm)}"

    def learning(self, epoch: int, count: int) -> int:
        """How many of `count` groups, from the head backwards, learn in an epoch, counted from 0."""
        return min(1 + epoch // self.epochs, count)

    def on_build(self, objective: Objective) -> None:
        groups = objective.groups()
        if len(groups) < 2:
            raise UsageError(f"{self.name} needs two layer groups or more, and the model has {len(groups)}",
                             fix="leave it out, or part the model by model.groups")  # fmt: skip

    def on_rates(self, objective: Objective, rates: dict[nn.Parameter, float]) -> None:
        self._thaw()  # the optimiser is to have all parameters, where a training was interrupted in this process too

    def on_freeze(self, objective: Objective, epoch: int) -> None:
        self._thaw()
        groups = objective.groups()
        frozen = groups[: len(groups) - self.learning(epoch, len(groups))]
        self._held = [p for group in frozen for p in group.parameters.values() if p.requires_grad]
        for parameter in self._held:
            parameter.requires_grad_(False)
        if self.batch_norm == "frozen":
            rest(objective.model, frozen)

    def on_fit_end(self, objective: Objective) -> None:
        self._thaw()

    def _thaw(self) -> None:
        for parameter in self._held:
            parameter.requires_grad_(True)
        self._held = []
