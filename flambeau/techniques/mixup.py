"""Mixup: Zhang et al. 2018, arXiv:1710.09412. Costs one blend of the batch; helps long trainings of large models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flambeau.core.errors import UsageError
from flambeau.data.batch import Batch
from flambeau.techniques.base import TECHNIQUES
from flambeau.techniques.mixes import Mixes

if TYPE_CHECKING:
    import torch


@TECHNIQUES.register("mixup")
class Mixup(Mixes):
    """Blends each sample and its target with another of the batch, by a share drawn from Beta(alpha, alpha)."""

    name = "mixup"
    settings = ("alpha",)

    def __init__(self, alpha: float = 0.2):
        if alpha <= 0:
            raise UsageError(f"an alpha of {alpha} does not fit", expected="a number above 0")
        self.alpha = alpha

    def on_batch(self, batch: Batch, generator: torch.Generator) -> Batch:
        import torch

        if not isinstance(batch.input, torch.Tensor) or not batch.input.is_floating_point():
            raise UsageError("mixup needs an input of floats of one shape", fix="leave it out")
        device = batch.input.device
        # a ratio of two gammas is a beta; torch draws gammas from a generator by _standard_gamma
        alphas = torch.full((2,), self.alpha, device=device)
        first, second = torch._standard_gamma(alphas, generator=generator).clamp_min(1e-9)
        share = first / (first + second)
        other = torch.randperm(len(batch), generator=generator, device=device)
        target = self.mixed(batch.target, other, share)
        return Batch(torch.lerp(batch.input[other], batch.input, share), target, batch.rows)
