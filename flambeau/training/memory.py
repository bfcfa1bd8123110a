"""Memory that runs out, and batches taken in parts so that it does not."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence

import torch
from torch import nn

from flambeau.data.batch import Batch
from flambeau.objectives import Objective
from flambeau.training.sharing import part_of

OUT_OF_MEMORY = (
    "out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory",
    "could not create a primitive",  # oneDNN's words for it
)  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on whichever device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(m in str(error).lower() for m in OUT_OF_MEMORY)


def let_go(error: BaseException) -> None:
    """Frees what the steps that led to an error held: an error keeps the variables of each of them alive."""
    traceback.clear_frames(error.__traceback__)


def has_batch_norm(model: nn.Module) -> bool:
    """Whether a model learns from the mean of a batch, which one sample has not."""
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())


def in_parts(batch: Batch, count: int, least: int = 1) -> list[Batch]:
    """A prepared batch in at most `count` parts of like size, of `least` samples or more; whole where it cannot be cut.

    Tensors are cut along their first axis, without a copy; what has no axis belongs to each part.
    """
    size = len(batch)
    count = min(count, max(1, size // least))
    if count <= 1:
        return [batch]
    bounds = [(size * i // count, size * (i + 1) // count) for i in range(count)]
    try:
        return [part_of(batch, slice(start, end), strict=True) for start, end in bounds]
    except ValueError:
        return [batch]


class Parts:
    """How many parts the batches of a training are taken in: as many as the objective says, until memory runs out, then
    twice as many as long as it does. Their gradients add up to those of the whole batch, so what is learned is the
    same; batch normalisation alone sees the means of a part.

    Args:
        note: is told when a batch is cut.

    Attributes:
        count: of the parts, at least.
    """

    def __init__(self, objective: Objective, note: Callable[[str], None]):
        self.objective, self.note = objective, note
        self.count = 1
        self._norm = has_batch_norm(objective.model)
        self._asks = type(objective).num_parts is not Objective.num_parts

    def of(self, batches: Sequence[Batch], weights: Sequence[float]) -> tuple[Sequence[Batch], Sequence[float]]:
        """The parts of some batches, and what each counts, of what their batch does."""
        if self.count == 1 and not self._asks:
            return batches, weights
        parts, counts = list[Batch](), list[float]()
        for batch, weight in zip(batches, weights, strict=True):
            cut = in_parts(batch, max(self.count, self.objective.num_parts(batch)), least=2 if self._norm else 1)
            own = [self.objective.weight(part) for part in cut] if len(cut) > 1 else [1.0]
            there = [(part, weight * share / sum(own)) for part, share in zip(cut, own, strict=True) if share]
            parts += [part for part, _ in there]
            counts += [count for _, count in there]
        return parts, counts

    def double(self, batches: Sequence[Batch]) -> None:
        """Twice as many from now on.

        Args:
            batches: whole ones, that memory ran out on.

        Raises:
            MemoryError: their parts cannot be smaller.
        """
        before = len(self.of(batches, [1.0] * len(batches))[0])
        self.count = 2 * max(self.count, *map(self.objective.num_parts, batches))
        if len(self.of(batches, [1.0] * len(batches))[0]) == before:
            raise MemoryError("out of memory, and the batch cannot be taken in smaller parts")

    def tell(self, size: int) -> None:
        """Says that a batch of so many samples is taken in parts."""
        but = ", but for batch normalisation, which sees the means of a part" if self._norm else ""
        told = f"a batch of {size} does not fit into memory: it is taken in {self.count} parts"
        self.note(f"{told}, whose gradients add up to the same step{but}")
