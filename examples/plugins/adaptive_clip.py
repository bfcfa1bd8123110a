"""Adaptive gradient clipping: Brock et al. 2021, arXiv:2102.06171. Costs one pass over the weights.

flambeau train photos/ --plugin examples/plugins/adaptive_clip.py --technique adaptive_clip
"""

from __future__ import annotations

import torch

from flambeau.techniques import TECHNIQUES, Step, Technique


@TECHNIQUES.register("adaptive_clip")
class AdaptiveClip(Technique):
    """Scales the gradient of each output's weights down to at most `share` of these weights' own norm."""

    name = "adaptive_clip"
    settings = ("share",)

    def __init__(self, share: float = 0.01):
        self.share = share

    def on_gradients(self, step: Step) -> None:
        for parameter in step.parameters:
            if parameter.grad is not None and parameter.ndim >= 2:
                axes = tuple(range(1, parameter.ndim))
                size, gradient = (
                    torch.linalg.vector_norm(x, dim=axes, keepdim=True) for x in (parameter.detach(), parameter.grad)
                )
                parameter.grad.mul_((self.share * size.clamp_min(1e-3) / gradient.clamp_min(1e-12)).clamp_max(1.0))
