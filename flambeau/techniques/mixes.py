"""What techniques share that make one sample of two, such as mixup and CutMix: the target of such a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from flambeau.core.errors import UsageError
from flambeau.techniques.base import Technique

if TYPE_CHECKING:
    from torch import Tensor

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


class Mixes(Technique):
    """A technique that makes one sample of two. Their targets are blended where the loss takes a blend, else the losses
    against both are: so it works with any loss, and with what others have mixed before."""

    def on_fit_start(self, objective: Objective) -> None:
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
        import torch

        if isinstance(target, Mixed):
            first, second = (self.mixed(part, other, share) for part in target[:2])
            return Mixed(first, second, target.share)
        if not isinstance(target, torch.Tensor):
            raise UsageError(f"{self.name} needs a target of one tensor", fix="leave it out")
        if self._blended is None:
            return Mixed(target, target[other], share)
        target = self._blended(target)
        return torch.lerp(target[other], target, share)
