"""Attacks that follow the gradient: FGSM (Goodfellow et al. 2015, arXiv:1412.6572) and PGD (Madry et al. 2018,
arXiv:1706.06083)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from flambeau.robustness.ball import Ball

Model = Callable[[Tensor], Any]
Loss = Callable[[Tensor], Tensor]
STRIDE = 2.5
"""How far all steps lead together, in ε: so that each point of the ball can be reached (Madry et al., their code)."""


def ascend(
    loss: Loss, inputs: Tensor, ball: Ball, steps: int, step: float, generator: torch.Generator | None = None
) -> Tensor:
    """Inputs (B, …) moved within a ball so that a loss grows: `steps` steps of length `step` along its gradient.

    Args:
        loss: of inputs (B, …), a scalar in which samples do not mix.
        generator: of a random start; it begins at the inputs if not given.
    """
    moved = inputs.detach() if generator is None else ball.random(inputs.detach(), generator)
    for _ in range(steps):
        moved = moved.detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(loss(moved), moved, allow_unused=True, materialize_grads=True)
        moved = ball.project(moved.detach() + step * ball.steepest(gradient), inputs)
    return moved.detach()


def fgsm(
    model: Model, criterion: Callable[[Any, Any], Tensor], inputs: Tensor, labels: Any, epsilon: float, *,
    norm: str = "linf", targeted: bool = False,
) -> Tensor:  # fmt: skip
    """Adversarial inputs (B, …) in 0…1 by one step of length `epsilon`.

    Args:
        criterion: of the model's output and the labels, a scalar that is large where the model is wrong.
        inputs: in 0…1.
        labels: the true ones; where `targeted`, those that the model is to answer.
    """
    ball = Ball(epsilon, norm)
    return ascend(_of(model, criterion, labels, targeted), inputs, ball, 1, epsilon)


def pgd(
    model: Model, criterion: Callable[[Any, Any], Tensor], inputs: Tensor, labels: Any, epsilon: float, *,
    norm: str = "linf", steps: int = 10, step: float | None = None, generator: torch.Generator | None = None,
    targeted: bool = False,
) -> Tensor:  # fmt: skip
    """Adversarial inputs (B, …) in 0…1 by several steps, from a random start where there is a generator.

    Args:
        step: length of one; 2.5 epsilon / steps if not given. The others are as of `fgsm`.
    """
    ball = Ball(epsilon, norm)
    step = STRIDE * epsilon / steps if step is None else step
    return ascend(_of(model, criterion, labels, targeted), inputs, ball, steps, step, generator)


def _of(model: Model, criterion: Callable[[Any, Any], Tensor], labels: Any, targeted: bool) -> Loss:
    def loss(inputs: Tensor) -> Tensor:
        value = criterion(model(inputs), labels)
        return -value if targeted else value

    return loss
