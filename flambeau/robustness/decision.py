"""An attack that sees answers alone, no gradient and no probability: HopSkipJump (Chen, Jordan & Wainwright 2020,
arXiv:1904.02144)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from flambeau.robustness.ball import Ball, spread

Answers = Callable[[Tensor], Tensor]
"""From inputs (B, …) to class numbers (B)."""
TRIES = 50
"""Random inputs that are tried as a start."""
HALVINGS = 20
FIRST_RADIUS = 0.1
"""Of the first look around, of the inputs' range, as in the paper's code."""


def hop_skip_jump(
    answers: Answers, inputs: Tensor, labels: Tensor, generator: torch.Generator, *, norm: str = "linf",
    iterations: int = 10, queries: int = 50,
) -> Tensor:  # fmt: skip
    """The nearest inputs (B, …) in 0…1 that were found to be answered otherwise than `labels`; an input itself where it
    is answered otherwise already, or nothing was found.

    Each iteration guesses the direction away from the boundary by random changes, goes along it, and halves its way
    back to the boundary.

    Args:
        inputs: in 0…1.
        queries: of the first guess of a direction; that of iteration t takes √t times as many.
    """
    ball = Ball(math.inf, norm)
    moved, open_ = inputs.clone(), answers(inputs) == labels
    found = ~open_
    for _ in range(TRIES):
        if bool(found.all()):
            break
        drawn = torch.rand(inputs.shape, generator=generator, device=generator.device).to(inputs)
        hit = ~found & (answers(drawn) != labels)
        moved[hit], found = drawn[hit], found | hit
    rows = (found & open_).nonzero()[:, 0]
    if not len(rows):
        return inputs.clone()
    inside, wanted = inputs[rows], labels[rows]

    def wrong(points: Tensor) -> Tensor:
        return answers(points) != wanted

    best = _to_boundary(wrong, inside, moved[rows], ball)
    for t in range(1, iterations + 1):
        distance = ball.lengths(best - inside)
        radius = distance / inputs[0].numel() if t > 1 else torch.full_like(distance, FIRST_RADIUS)
        direction = _direction(wrong, best, spread(radius.clamp_min(1e-6), best), ball,
                               round(queries * math.sqrt(t)), generator)  # fmt: skip
        stride, gone = distance / math.sqrt(t), torch.zeros_like(wanted, dtype=torch.bool)
        ahead = best
        for _ in range(HALVINGS):
            tried = (best + spread(stride, best) * direction).clamp(0, 1)
            hit = ~gone & wrong(tried)
            ahead, gone = torch.where(spread(hit, best), tried, ahead), gone | hit
            if bool(gone.all()):
                break
            stride = torch.where(gone, stride, stride / 2)
        ahead = _to_boundary(wrong, inside, ahead, ball)
        nearer = ball.lengths(ahead - inside) < distance
        best = torch.where(spread(nearer, best), ahead, best)
    out = inputs.clone()
    out[rows] = best
    return out


def _to_boundary(wrong: Callable[[Tensor], Tensor], inputs: Tensor, beyond: Tensor, ball: Ball) -> Tensor:
    """The point nearest to the inputs on the way to points beyond the boundary that is still beyond it."""
    linf = ball.norm == "linf"
    high = ball.lengths(beyond - inputs) if linf else torch.ones(len(inputs), device=inputs.device)
    low, best = torch.zeros_like(high), beyond
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        at = spread(middle, inputs)
        point = torch.clamp(beyond, inputs - at, inputs + at) if linf else torch.lerp(inputs, beyond, at)
        hit = wrong(point)
        best = torch.where(spread(hit, best), point, best)
        high, low = torch.where(hit, middle, high), torch.where(hit, low, middle)
    return best


def _direction(
    wrong: Callable[[Tensor], Tensor], points: Tensor, radius: Tensor, ball: Ball, queries: int,
    generator: torch.Generator,
) -> Tensor:  # fmt: skip
    """Of points on the boundary, the direction away from it, by what random changes of length `radius` lead to."""
    sum_both, sum_changes = torch.zeros_like(points), torch.zeros_like(points)
    sum_signs = torch.zeros(len(points), device=points.device)
    for _ in range(queries):
        drawn = torch.randn(points.shape, generator=generator, device=generator.device).to(points)
        drawn = drawn / spread(drawn.flatten(1).norm(dim=1), drawn)
        change = ((points + radius * drawn).clamp(0, 1) - points) / radius
        sign = wrong(points + radius * change).float() * 2 - 1
        sum_both += spread(sign, points) * change
        sum_changes += change
        sum_signs += sign
    mean = sum_signs / queries
    apart = spread(mean.abs() < 1, points)  # where all answers are alike their mean says nothing
    return ball.steepest(torch.where(apart, sum_both - spread(mean, points) * sum_changes, sum_both))
