"""Samplers: which training rows an epoch goes through, and in which order."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from flambeau.core.registry import Asked, Registry, made, name_and_options

SAMPLERS: Registry[type[Sampler]] = Registry("sampler")


class Sampler:
    """The order of the training rows. A subclass is entered into SAMPLERS, and called by its name in a recipe
    (`training.sampler`). `settings` names the constructor's arguments, which the recipe keeps."""

    settings: ClassVar[tuple[str, ...]] = ()

    def fit(self, count: int, targets: Any) -> None:
        """Looks at the training rows once.

        Args:
            count: how many there are.
            targets: encoded, (N, …) or Ragged; None where there is no target.
        """
        self.count = count

    @property
    def length(self) -> int:
        """How many rows an epoch goes through; the same for all epochs."""
        return self.count

    def order(self, generator: torch.Generator) -> Tensor:
        """Positions among the training rows, int64 (length). All randomness comes from `generator`, which follows from
        the seed and the epoch."""
        return torch.randperm(self.count, generator=generator)


def sampler(asked: Asked) -> Sampler:
    """The sampler that a recipe describes: a name, or {name: …, setting: …}.

    Raises:
        UsageError: there is no such sampler, or it has no such setting.
    """
    return made(SAMPLERS, *name_and_options(asked))
