"""Exponential moving average of the weights: Polyak & Juditsky 1992; with a warm-up as in Tan & Le 2019.

Costs one multiply-add per parameter and a second copy of the weights. Gain: +0.1 ± 0.5 points on clothes, 0.0 ± 0.7 on
sentences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from flambeau.core.errors import require
from flambeau.techniques.averages import Averages, copied
from flambeau.techniques.base import TECHNIQUES

if TYPE_CHECKING:
    from flambeau.objectives import Objective


@TECHNIQUES.register("ema")
class EMA(Averages):
    """Evaluates and saves an average of the weights over about 1 / (1 - decay) steps."""

    settings = ("decay",)

    def __init__(self, decay: float = 0.999):
        require(0 < decay < 1, f"a decay of {decay}", "above 0 and below 1")
        self.decay = decay

    def on_fit_start(self, objective: Objective) -> None:
        super().on_fit_start(objective)
        self.average = copied(objective)

    def on_step_end(self, objective: Objective, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        state = objective.model.state_dict()
        floats = [k for k, v in state.items() if v.is_floating_point()]
        torch._foreach_lerp_([self.average[k] for k in floats], [state[k].detach() for k in floats], 1 - decay)
        for k in state.keys() - set(floats):
            self.average[k].copy_(state[k])
