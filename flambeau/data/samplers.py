"""Samplers: which training rows an epoch goes through, and in which order."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from flambeau.core.errors import UsageError
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

    def describe(self) -> str | None:
        """What it makes of the rows, in words, once it has looked at them."""
        return None

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


class ByClass(Sampler):
    """A sampler that goes by the class of each row."""

    def fit(self, count: int, targets: Any) -> None:
        """As `Sampler.fit`.

        Raises:
            UsageError: targets are no class numbers (N).
        """
        super().fit(count, targets)
        if not isinstance(targets, Tensor) or targets.ndim != 1 or targets.is_floating_point():
            raise UsageError("sampling by class needs a target of one class a sample", fix="leave training.sampler out")
        self.classes, self.counts = targets.to(torch.int64), targets.to(torch.int64).bincount()

    def describe(self) -> str:
        there = self.counts[self.counts > 0]
        rows = f"{self.length:,} of {self.count:,} training rows an epoch"
        return f"{rows}; the classes have {int(there.min()):,} to {int(there.max()):,}"


class Levelled(ByClass):
    """As many rows of each class, `size`, in random order: each row as often as another of its class, or once more."""

    @property
    def size(self) -> int:
        """Rows of each class in an epoch."""
        raise NotImplementedError

    @property
    def length(self) -> int:
        return self.size * int((self.counts > 0).sum())

    def order(self, generator: torch.Generator) -> Tensor:
        size, parts = self.size, []
        for rows in self.classes.argsort(stable=True).split(self.counts[self.counts > 0].tolist()):
            drawn = rows[torch.randperm(len(rows), generator=generator)[: size % len(rows)]]
            parts += [rows.repeat(size // len(rows)), drawn]
        order = torch.cat(parts)
        return order[torch.randperm(len(order), generator=generator)]


@SAMPLERS.register("balanced")
class Balanced(ByClass):
    """As many rows as there are, drawn with replacement: a row is the likelier the rarer its class, in proportion to
    its count to the power of -`power`. With 1 each class is seen alike, with 0 as often as it is there."""

    settings = ("power",)

    def __init__(self, power: float = 1.0):
        self.power = power

    def order(self, generator: torch.Generator) -> Tensor:
        weights = self.counts[self.classes].double() ** -self.power
        sums = weights.cumsum(0)  # torch.multinomial takes 2**24 rows at most
        drawn = torch.rand(self.count, dtype=torch.float64, generator=generator) * sums[-1]
        return torch.searchsorted(sums, drawn, right=True).clamp_max(self.count - 1)


@SAMPLERS.register("oversampled")
class Oversampled(Levelled):
    """Every row, those of rarer classes several times: each class as often as the largest. An epoch is longer."""

    @property
    def size(self) -> int:
        return int(self.counts.max())


@SAMPLERS.register("undersampled")
class Undersampled(Levelled):
    """As many rows of each class as the rarest has, others in each epoch. An epoch is shorter."""

    @property
    def size(self) -> int:
        return int(self.counts[self.counts > 0].min())
