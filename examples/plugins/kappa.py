"""Cohen's kappa: Cohen 1960, "A coefficient of agreement for nominal scales".

flambeau train photos/ --plugin examples/plugins/kappa.py --metric cohens_kappa
flambeau train photos/ --plugin examples/plugins/kappa.py --set 'metrics=[{name: cohens_kappa, weights: 2}]'
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from flambeau.fields import Category
from flambeau.objectives import METRICS, NamedMetric


@METRICS.register("cohens_kappa")
class CohensKappa(NamedMetric):
    """Agreement with the truth beyond chance. Classes have an order where mistakes weigh by their distance to the power
    of `weights`: 1 for linear, 2 for quadratic; 0, the default, weighs all alike."""

    tasks = ("classes",)
    bounds = (-1.0, 1.0)

    def __init__(self, field: Category, weights: float = 0):
        super().__init__(field)
        steps = torch.arange(len(field.classes), dtype=torch.float64)
        distance = (steps[:, None] - steps).abs()
        self.costs = distance**weights * (distance > 0)

    def terms(self, output: Tensor, target: Tensor) -> Tensor:
        K = len(self.costs)
        return F.one_hot(target * K + output.argmax(1), K * K).view(-1, K, K)  # true × predicted

    def value(self, sums: Tensor, count: Tensor) -> Tensor:
        by_chance = sums.sum(2)[:, :, None] * sums.sum(1)[:, None] / count[:, None, None]
        return 1 - (sums * self.costs).sum((1, 2)) / (by_chance * self.costs).sum((1, 2))
