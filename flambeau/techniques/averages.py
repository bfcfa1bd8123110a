"""What techniques share that evaluate, and end with, an average of the weights, such as EMA and SWA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from flambeau.techniques.base import Technique

if TYPE_CHECKING:
    from flambeau.objectives import Objective


class Averages(Technique):
    """A technique that keeps an average of the model's weights, which the model has while it is evaluated and once it
    is trained. Before there is one, the model keeps its own. Costs a second copy of the weights."""

    def on_fit_start(self, objective: Objective) -> None:
        self.average: dict[str, Tensor] = {}
        self._live: dict[str, Tensor] = {}

    def on_evaluation(self, objective: Objective, starts: bool) -> None:
        if starts:
            self._live = copied(objective)
        objective.model.load_state_dict((self.average or self._live) if starts else self._live)

    def on_fit_end(self, objective: Objective) -> None:
        if self.average:
            objective.model.load_state_dict(self.average)

    def state_dict(self) -> dict[str, Any]:
        return {"average": self.average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.average = {name: value.clone() for name, value in state["average"].items()}


def copied(objective: Objective) -> dict[str, Tensor]:
    """A copy of the model's weights and buffers."""
    return {name: value.detach().clone() for name, value in objective.model.state_dict().items()}
