"""Layer-wise learning rates: Howard & Ruder 2018, arXiv:1801.06146. Costs nothing.

flambeau train photos/ --plugin examples/plugins/layerwise_rates.py --technique layerwise_rates
"""

from __future__ import annotations

from torch import nn

from flambeau.objectives import Objective
from flambeau.techniques import TECHNIQUES, Technique


@TECHNIQUES.register("layerwise_rates")
class LayerwiseRates(Technique):
    """Each layer learns at `decay` of the rate of the one above it."""

    name = "layerwise_rates"
    settings = ("decay",)

    def __init__(self, decay: float = 0.8):
        self.decay = decay

    def on_rates(self, objective: Objective, rates: dict[nn.Parameter, float]) -> None:
        layers = [m for m in objective.model.modules() if next(m.parameters(recurse=False), None) is not None]
        for above, layer in enumerate(reversed(layers)):
            for parameter in layer.parameters(recurse=False):
                rates[parameter] = rates.get(parameter, 1.0) * self.decay**above
