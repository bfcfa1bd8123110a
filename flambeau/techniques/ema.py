"""Exponential moving average of the weights: Polyak & Juditsky 1992; with a warm-up as in Tan & Le 2019.

Costs one multiply-add per parameter and a second copy of the weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flambeau.core.errors import UsageError
from flambeau.techniques.base import TECHNIQUES, Technique

if TYPE_CHECKING:
    from torch import Tensor

    from flambeau.objectives import Objective


@TECHNIQUES.register("ema")
class EMA(Technique):
    """Evaluates and saves an average of the weights over about 1 / (1 - decay) steps."""

    name = "ema"
    settings = ("decay",)

    def __init__(self, decay: float = 0.999):
        if not 0 < decay < 1:
            raise UsageError(f"a decay of {decay} does not fit", expected="above 0 and below 1")
        self.decay = decay
        self._average: dict[str, Tensor] = {}
        self._live: dict[str, Tensor] = {}

    def on_fit_start(self, objective: Objective) -> None:
        self._average = {k: v.detach().clone() for k, v in objective.model.state_dict().items()}

    def on_step_end(self, objective: Objective, step: int) -> None:
        import torch

        decay = min(self.decay, (1 + step) / (10 + step))
        state = objective.model.state_dict()
        floats = [k for k, v in state.items() if v.is_floating_point()]
        torch._foreach_lerp_([self._average[k] for k in floats], [state[k].detach() for k in floats], 1 - decay)
        for k in state.keys() - set(floats):
            self._average[k].copy_(state[k])

    def on_evaluation(self, objective: Objective, starts: bool) -> None:
        if starts:
            self._live = {k: v.detach().clone() for k, v in objective.model.state_dict().items()}
        objective.model.load_state_dict(self._average if starts else self._live)

    def on_fit_end(self, objective: Objective) -> None:
        objective.model.load_state_dict(self._average)

    def state_dict(self) -> dict[str, Any]:
        return {"average": self._average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for k, v in state["average"].items():
            self._average[k].copy_(v)
