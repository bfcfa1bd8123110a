"""Attacks on a model that can only be asked: a substitute learns from its answers, and what fools the substitute is
tried on the model (Papernot et al. 2017, arXiv:1602.02697)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BATCH = 64


def small_network(channels: int, num_classes: int, width: int = 32) -> nn.Module:
    """A substitute for pictures (B, C, H, W) of any size: two convolutions and a linear layer of 4 × 4 places."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4),
        nn.Flatten(), nn.Linear(32 * width, num_classes),
    )  # fmt: skip


def surrogate(
    answers: Callable[[Tensor], Tensor], substitute: nn.Module, seeds: Tensor, generator: torch.Generator, *,
    rounds: int = 4, epochs: int = 10, step: float = 0.1, learning_rate: float = 1e-3,
) -> nn.Module:  # fmt: skip
    """Trains a substitute in place on what a model answers, (B, …) to class numbers (B), and gives it back to be
    attacked. Asks len(seeds) · 2**(rounds - 1) questions.

    Between rounds each input is joined by one that lies `step` further along the sign of the gradient of the
    substitute's answer for its class, where the model's answers are least known.

    Args:
        seeds: inputs (N, …) in 0…1 of the same kind, without labels.
    """
    inputs, labels = seeds, answers(seeds)
    optimizer = torch.optim.Adam(substitute.parameters(), lr=learning_rate)
    for number in range(rounds):
        if number:
            further = _further(substitute, inputs, labels, step)
            inputs, labels = torch.cat([inputs, further]), torch.cat([labels, answers(further)])
        substitute.train()
        for _ in range(epochs):
            order = torch.randperm(len(inputs), generator=generator, device=generator.device).to(inputs.device)
            for rows in order.split(BATCH):
                with torch.enable_grad():
                    loss = F.cross_entropy(substitute(inputs[rows]), labels[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return substitute.eval()


def _further(substitute: nn.Module, inputs: Tensor, labels: Tensor, step: float) -> Tensor:
    substitute.eval()
    moved = []
    for part, asked in zip(inputs.split(BATCH), labels.split(BATCH), strict=True):
        at = part.detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(substitute(at).gather(1, asked[:, None]).sum(), at)
        moved.append((part + step * gradient.sign()).clamp(0, 1))
    return torch.cat(moved)
