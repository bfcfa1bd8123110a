"""What an attack may reach: inputs not further than ε from the given ones, and within their bounds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from flambeau.core.errors import check_known, require

NORMS = ("linf", "l2")


def spread(values: Tensor, inputs: Tensor) -> Tensor:
    """(B) to (B, 1, …), beside inputs (B, …)."""
    return values.view(-1, *(1,) * (inputs.ndim - 1))


@dataclass(frozen=True)
class Ball:
    """All inputs within `epsilon` of given ones (B, …), each for itself, and within `low` and `high`.

    Attributes:
        epsilon: in the units of the inputs.
        norm: `linf`, the largest change of a number; or `l2`, the length of all changes together.
    """

    epsilon: float
    norm: str = "linf"
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        check_known("no norm is called", [self.norm], NORMS)
        require(self.epsilon >= 0, f"an epsilon of {self.epsilon}", "0 or more, such as 8/255")

    def lengths(self, changes: Tensor) -> Tensor:
        """The norm of changes (B, …), (B)."""
        return changes.flatten(1).norm(dim=1, p=torch.inf if self.norm == "linf" else 2)

    def project(self, moved: Tensor, inputs: Tensor) -> Tensor:
        """The nearest that may be reached from `inputs`."""
        change = moved - inputs
        if self.norm == "linf":
            change = change.clamp(-self.epsilon, self.epsilon)
        else:
            lengths = self.lengths(change)
            change = change * spread((self.epsilon / lengths.clamp_min(1e-12)).clamp_max(1), inputs)
        return (inputs + change).clamp(self.low, self.high)

    def steepest(self, gradient: Tensor) -> Tensor:
        """The direction of length 1 along which a function with this gradient (B, …) grows most."""
        if self.norm == "linf":
            return gradient.sign()
        return gradient / spread(self.lengths(gradient).clamp_min(1e-12), gradient)

    def random(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """A point of the ball of each input, evenly drawn."""
        device = generator.device
        if self.norm == "linf":
            drawn = torch.rand(inputs.shape, generator=generator, device=device) * 2 - 1
        else:
            drawn = torch.randn(inputs.shape, generator=generator, device=device)
            drawn = drawn / spread(self.lengths(drawn).clamp_min(1e-12), drawn)
            radii = torch.rand(len(inputs), generator=generator, device=device) ** (len(inputs) / inputs.numel())
            drawn = drawn * spread(radii, drawn)
        return self.project(inputs + self.epsilon * drawn.to(inputs), inputs)
