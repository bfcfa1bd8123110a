"""Gradient noise: after Neelakantan et al. 2015, arXiv:1511.06807, as a share of each gradient. Costs one random number
a parameter in each step. Gain: −0.1 ± 2.8 points on sentences, and with eta=0.3 +0.1 ± 1.7."""

from __future__ import annotations

import torch

from flambeau.core.errors import require
from flambeau.techniques.base import TECHNIQUES, Step, Technique


@TECHNIQUES.register("gradient_noise")
class GradientNoise(Technique):
    """Adds to each gradient noise of the variance `eta` / (1 + step) ** `gamma`, times its own mean square, drawn from
    the training's random state, which is in its checkpoints. The paper's variance is the number itself: it drowns the
    gradients of a mean loss under Adam."""

    settings = ("eta", "gamma")

    def __init__(self, eta: float = 0.01, gamma: float = 0.55):
        require(eta >= 0 and gamma >= 0, f"gradient noise of eta={eta}, gamma={gamma}", "0 or more")
        self.eta, self.gamma = eta, gamma

    def on_gradients(self, step: Step) -> None:
        deviation = (self.eta / (1 + step.number) ** self.gamma) ** 0.5
        for parameter in step.parameters:
            if parameter.grad is not None and deviation:
                noise = torch.randn_like(parameter.grad) * parameter.grad.square().mean().sqrt()
                parameter.grad.add_(noise, alpha=deviation)
