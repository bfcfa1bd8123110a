"""Sharpness-aware minimisation: Foret et al. 2021, arXiv:2010.01412. Costs a second pass in each step.

flambeau train photos/ --plugin examples/plugins/sam.py --technique sam
"""

from __future__ import annotations

import torch

from flambeau.techniques import TECHNIQUES, Step, Technique


@TECHNIQUES.register("sam")
class SAM(Technique):
    """Steps by the gradient at the worst point within `rho` of the weights."""

    name = "sam"
    settings = ("rho",)

    def __init__(self, rho: float = 0.05):
        self.rho = rho

    def on_gradients(self, step: Step) -> None:
        learning = [p for p in step.parameters if p.grad is not None]
        gradients = [p.grad for p in learning if p.grad is not None]
        norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
        moves = [gradient * (self.rho / (norm + 1e-12)) for gradient in gradients]
        with torch.no_grad():
            torch._foreach_add_(learning, moves)
        step.again()
        with torch.no_grad():
            torch._foreach_sub_(learning, moves)
