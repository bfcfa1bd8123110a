"""An epoch goes through a random part of the rows, another in each. Costs nothing.

flambeau train photos/ --plugin examples/plugins/thinned.py --set training.sampler=thinned
"""

from __future__ import annotations

import torch
from torch import Tensor

from flambeau.data.samplers import SAMPLERS, Sampler


@SAMPLERS.register("thinned")
class Thinned(Sampler):
    """A `share` of the training rows, in random order: for data of which a pass takes hours."""

    settings = ("share",)

    def __init__(self, share: float = 0.1):
        self.share = share

    @property
    def length(self) -> int:
        return max(1, round(self.count * self.share))

    def order(self, generator: torch.Generator) -> Tensor:
        return torch.randperm(self.count, generator=generator)[: self.length]
