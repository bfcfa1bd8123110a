"""What techniques share that make one sample of two, such as mixup and CutMix: when they do, and the target of such a
sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from flambeau.core.errors import UsageError, require
from flambeau.techniques.base import Technique

if TYPE_CHECKING:
    from flambeau.data.batch import Batch
    from flambeau.objectives import Objective
    from flambeau.objectives.base import Criterion


class Mixed(NamedTuple):
    """The targets (B, …) of two samples in one, for a loss that takes no blend of them.

    Attributes:
        share: of the first, a scalar; the rest is the second's.
    """

    first: Any
    second: Any
    share: Tensor

    def repeat_interleave(self, repeats: int, dim: int) -> Mixed:
        """As a tensor does, for models of several members."""
        return Mixed(
            self.first.repeat_interleave(repeats, dim), self.second.repeat_interleave(repeats, dim), self.share
        )


class Mixes(Technique):
    """A technique that makes one sample of two: `mix` does it, on a share `p` of the batches. Their targets are blended
    where the loss takes a blend, else the losses against both are: so it works with any loss, and with what others have
    mixed before."""

    p: float = 1.0
    shards = True

    def mix(self, batch: Batch, generator: torch.Generator) -> Batch:
        """The batch, each sample mixed with another of it.

        Raises:
            UsageError: such inputs cannot be mixed.
        """
        raise NotImplementedError

    def on_batch(self, batch: Batch, generator: torch.Generator) -> Batch:
        if self.p < 1 and float(torch.rand((), generator=generator, device=generator.device)) >= self.p:
            return batch
        return self.mix(batch, generator)

    def on_fit_start(self, objective: Objective) -> None:
        if objective.task.unmixable:
            raise UsageError(f"{self.name} has no meaning for this target: {objective.task.unmixable}",
                             fix="leave it out")  # fmt: skip
        self._blended = objective.task.blended if objective.blends else None

    def on_criterion(self, objective: Objective, criterion: Criterion) -> Criterion:
        def of_mixed(output: Any, target: Any, **options: Any) -> Tensor:
            if not isinstance(target, Mixed):
                return criterion(output, target, **options)
            first, second = (of_mixed(output, part, **options) for part in target[:2])
            return first * target.share + second * (1 - target.share)

        return of_mixed

    def mixed(self, target: Any, other: Tensor, share: Tensor) -> Any:
        """The targets (B, …) by `share`, a scalar, and those of the samples `other` (B) by the rest."""
        if isinstance(target, Mixed):
            first, second = (self.mixed(part, other, share) for part in target[:2])
            return Mixed(first, second, target.share)
        if not isinstance(target, torch.Tensor):
            raise UsageError(f"{self.name} needs a target of one tensor", fix="leave it out")
        if self._blended is None:
            return Mixed(target, target[other], share)
        target = self._blended(target)
        return torch.lerp(target[other], target, share)

    def check(self, alpha: float) -> None:
        """Raises UsageError where a setting does not fit."""
        require(alpha > 0, f"an alpha of {alpha}", "a number above 0")
        require(0 < self.p <= 1, f"a p of {self.p}", "above 0, at most 1")


def beta(alpha: float, generator: torch.Generator, device: torch.device) -> Tensor:
    """A scalar from Beta(alpha, alpha)."""
    # a ratio of two gammas is a beta; torch draws gammas from a generator by _standard_gamma
    first, second = torch._standard_gamma(torch.full((2,), alpha, device=device), generator=generator).clamp_min(1e-9)
    return first / (first + second)


def anything(value: Any) -> Tensor | None:
    """A tensor of an input: the first that is found in it."""
    if isinstance(value, torch.Tensor):
        return value
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return next((found for part in parts if (found := anything(part)) is not None), None)
