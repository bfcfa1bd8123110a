"""A user's own torch Dataset or DataLoader as a source of batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset
from torch.utils.data import Dataset as TorchDataset

from flambeau.core.errors import DataError
from flambeau.core.randomness import generator, mix
from flambeau.data.batch import Batch


def is_torch_data(data: Any) -> bool:
    """Whether this is a torch Dataset or DataLoader."""
    return isinstance(data, (TorchDataset, DataLoader))


class MapBatches:
    """Batches of a map-style dataset in an order of our own, so that a resume costs nothing and replays nothing.

    Args:
        dataset: anything with `__len__` and `__getitem__`.
        workers: processes that load; 0 to load in this one.
        check: called with (rows, batch) on the CPU before the batch is used.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        *,
        seed: int | None = None,
        collate: Callable[[list[Any]], Any] | None = None,
        workers: int = 0,
        drop_single: bool = False,
        check: Callable[[Tensor, Any], None] | None = None,
    ):
        self.dataset, self.batch_size, self.seed = dataset, batch_size, seed
        self.collate, self.workers, self.check = collate, workers, check
        self.drop_single = drop_single and batch_size > 1  # one sample a batch was asked for
        if len(dataset) == 0:
            raise DataError("the dataset has no samples")

    def plan(self, epoch: int) -> list[Tensor]:
        """The rows of each batch of an epoch."""
        n = len(self.dataset)
        if self.seed is None:
            order = torch.arange(n)
        else:
            order = torch.randperm(n, generator=generator(self.seed, "order", epoch))
        batches = list(order.split(self.batch_size))
        if self.drop_single and len(batches) > 1 and len(batches[-1]) == 1:
            batches.pop()
        return batches

    def count(self, epoch: int = 0) -> int:
        """How many batches an epoch has."""
        n, size = len(self.dataset), self.batch_size
        return max(1, n // size) if self.drop_single and n % size == 1 else -(-n // size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Any]]:
        """(rows, collated) from batch `start` on."""
        plan = self.plan(epoch)[start:]
        loader = DataLoader(
            self.dataset, batch_sampler=[b.tolist() for b in plan], collate_fn=self.collate, num_workers=self.workers,
            generator=torch.Generator().manual_seed(mix(self.seed or 0, "workers", epoch)),
        )  # fmt: skip
        for rows, collated in zip(plan, loader, strict=True):
            if self.check is not None:
                self.check(rows, collated)
            yield rows, collated


class LoaderBatches:
    """A DataLoader over a stream, in its own order. A resume draws and drops what was already seen."""

    def __init__(self, loader: Any, check: Callable[[Tensor, Any], None] | None = None, drop_single: bool = False):
        self.loader, self.check, self.drop_single = loader, check, drop_single
        self._count: int | None = None

    def count(self, epoch: int = 0) -> int:
        """How many batches an epoch has; counted by going through once where the loader does not know."""
        if self._count is None:
            try:
                self._count = len(self.loader)
            except TypeError:
                self._count = sum(1 for _ in self.loader)
        return self._count

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Any]]:
        """(rows, collated) from batch `start` on; rows are counted, for a stream has none."""
        seen = 0
        for i, collated in enumerate(islice(self.loader, self.count())):
            size = batch_length(collated)
            rows = torch.arange(seen, seen + size)
            seen += size
            if self.drop_single and size == 1 and i > 0 and rows[0] > i:
                continue  # a last batch of one, after larger ones
            if i >= start:
                if self.check is not None:
                    self.check(rows, collated)
                yield rows, collated


def batches_of(
    data: Any, batch_size: int | None, *, seed: int | None, drop_single: bool,
    check: Callable[[Tensor, Any], None] | None = None,
) -> MapBatches | LoaderBatches:  # fmt: skip
    """The batches of a torch Dataset or DataLoader. A DataLoader of a map-style dataset is taken apart, so that its
    order can be replayed: its dataset, batch size, collate function and workers are used; its sampler only where it
    is not one of torch's plain ones."""
    if isinstance(data, DataLoader):
        plain = type(data.sampler) in (torch.utils.data.RandomSampler, torch.utils.data.SequentialSampler)
        if isinstance(data.dataset, IterableDataset) or not plain or data.batch_size is None:
            return LoaderBatches(data, check, drop_single)
        shuffled = isinstance(data.sampler, torch.utils.data.RandomSampler)
        return MapBatches(
            data.dataset, data.batch_size, seed=seed if shuffled else None, collate=data.collate_fn,
            workers=data.num_workers, drop_single=drop_single or data.drop_last, check=check,
        )  # fmt: skip
    if isinstance(data, IterableDataset):
        return LoaderBatches(DataLoader(data, batch_size=batch_size), check, drop_single)
    return MapBatches(data, batch_size or 32, seed=seed, drop_single=drop_single, check=check)


class CustomPreparer:
    """From a collated batch to a Batch on the device: the last part is the target, what stands before it the input."""

    random = False

    def __init__(self, device: torch.device):
        self.device = device

    def __call__(
        self, rows: Tensor, collated: Any, training: bool = False, generator: torch.Generator | None = None
    ) -> Batch:
        inputs, target = split_batch(collated)
        return Batch(_to(inputs, self.device), _to(target, self.device), rows)


def split_batch(collated: Any) -> tuple[Any, Any]:
    """(input, target) of a collated batch: of (x, y), of (x1, x2, …, y), or of x alone."""
    if isinstance(collated, (list, tuple)) and not hasattr(collated, "_fields"):
        if len(collated) == 1:
            return collated[0], None
        *inputs, target = collated
        return (inputs[0] if len(inputs) == 1 else tuple(inputs)), target
    return collated, None


def batch_length(collated: Any) -> int:
    """Samples in a collated batch."""
    part = collated
    while not isinstance(part, Tensor):
        if isinstance(part, dict):
            part = next(iter(part.values()))
        elif isinstance(part, Sequence) and len(part):
            part = part[0]
        else:
            raise DataError(f"a batch is a {type(part).__name__}", expected="tensors, or tuples or dicts of tensors")
    return len(part)


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value if value.device == device else value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {k: _to(v, device) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        moved = [_to(v, device) for v in value]
        return type(value)(*moved) if hasattr(value, "_fields") else tuple(moved)
    return value
