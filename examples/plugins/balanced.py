"""Class-balanced sampling: rows are drawn with replacement, so that each class is seen alike. Costs nothing.

flambeau train photos/ --plugin examples/plugins/balanced.py --set training.sampler=balanced
"""

from __future__ import annotations

import torch
from torch import Tensor

from flambeau.data.samplers import SAMPLERS, Sampler


@SAMPLERS.register("balanced")
class Balanced(Sampler):
    """A row is drawn the likelier the rarer its class: in proportion to its count to the power of -`power`."""

    settings = ("power",)

    def __init__(self, power: float = 1.0):
        self.power = power

    def fit(self, count: int, targets: Tensor) -> None:
        super().fit(count, targets)
        self.weights = targets.bincount()[targets].double() ** -self.power

    def order(self, generator: torch.Generator) -> Tensor:
        return torch.multinomial(self.weights, self.count, replacement=True, generator=generator)
