"""CutMix: Yun et al. 2019, arXiv:1905.04899. Costs one copy of a part of the batch.

flambeau train photos/ --plugin examples/plugins/cutmix.py --technique cutmix
"""

from __future__ import annotations

import torch

from flambeau.data.batch import Batch
from flambeau.techniques import TECHNIQUES, Mixes


@TECHNIQUES.register("cutmix")
class CutMix(Mixes):
    """Puts a rectangle of another picture of the batch into each, and blends the targets by their areas."""

    name = "cutmix"
    settings = ("alpha",)

    def __init__(self, alpha: float = 1.0):
        self.alpha = alpha

    def on_batch(self, batch: Batch, generator: torch.Generator) -> Batch:
        B, _, H, W = batch.input.shape
        first, second = torch._standard_gamma(torch.full((2,), self.alpha), generator=generator)
        side = float((second / (first + second)).sqrt())  # of the rectangle, as a share of the picture's
        h, w = round(H * side), round(W * side)
        top, left = (int(torch.randint(n + 1, (1,), generator=generator)) for n in (H - h, W - w))
        other = torch.randperm(B, generator=generator)
        mixed = batch.input.clone()
        mixed[:, :, top : top + h, left : left + w] = batch.input[other, :, top : top + h, left : left + w]
        return Batch(mixed, self.mixed(batch.target, other, torch.tensor(1 - h * w / (H * W))), batch.rows)
