"""A user's own torch Dataset or DataLoader as a source of batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, default_collate
from torch.utils.data import Dataset as TorchDataset

from flambeau.core.errors import DataError, FlambeauError
from flambeau.core.randomness import generator, isolated, mix
from flambeau.data.batch import Batch
from flambeau.data.items import Collate, Items, Reader, form, length, told

TARGETS = ("labels", "label", "targets", "target", "y")  # what the target is called in a batch that is a dict
MOST_BATCHES = 10_000_000  # of an epoch
KEPT = ("timeout", "worker_init_fn", "multiprocessing_context", "prefetch_factor", "in_order")
PINNED = ("pin_memory",)


def is_torch_data(data: Any) -> bool:
    """Whether this is a torch Dataset or DataLoader."""
    return isinstance(data, (TorchDataset, DataLoader))


class MapBatches:
    """Batches of a map-style dataset in an order that is a function of (seed, epoch), so that a resume costs nothing
    and replays nothing.

    Args:
        dataset: anything with `__len__` and `__getitem__`.
        seed: None to read in the dataset's order.
        loader: a DataLoader of the dataset, whose settings are kept: its sampler, batches and workers. What it draws
            at random is drawn from `seed`.
        check: called with (rows, batch) on the CPU before the batch is used.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int,
        *,
        seed: int | None = None,
        loader: Any = None,
        drop_single: bool = False,
        check: Callable[[Tensor, Any], None] | None = None,
    ):
        self.dataset, self.batch_size, self.seed = dataset, batch_size, seed
        self.loader, self.check, self.drop_single = loader, check, drop_single
        self.reader = Reader(dataset)
        self.length = length(dataset)
        self._planned: tuple[int, list[list[Any]]] | None = None
        self.notes: list[str] = []
        if loader is not None and not self._replays():
            self.notes.append(
                f"the order of {type(_random_part(loader)).__name__} is its own: a resume does not repeat it, for it "
                "follows neither the seed nor its generator"
            )

    def plan(self, epoch: int) -> list[list[Any]]:
        """The rows of each batch of an epoch."""
        if self._planned is None or self._planned[0] != epoch:
            self._planned = epoch, self._plan(epoch)
        return self._planned[1]

    def _plan(self, epoch: int) -> list[list[Any]]:
        n = self.length
        if self.loader is not None:
            batches = self._drawn(epoch)
        else:
            order = torch.arange(n)
            if self.seed is not None:
                order = torch.randperm(n, generator=generator(self.seed, "order", epoch))
            batches = [rows.tolist() for rows in order.split(self.batch_size)]
        last = batches[-1] if batches else []
        if self.drop_single and len(batches) > 1 and len(last) == 1 < len(batches[0]):
            batches.pop()
        return batches

    def _drawn(self, epoch: int) -> list[list[Any]]:
        """What the loader's sampler gives, with all that it may draw from begun anew."""
        seed = mix(self.seed or 0, "order", epoch)
        batches = self.loader.batch_sampler
        for part in (self.loader.sampler, batches, getattr(batches, "sampler", None)):
            drawn_from = getattr(part, "generator", None)
            if isinstance(drawn_from, torch.Generator):
                drawn_from.manual_seed(seed)
            _set_epoch(part, epoch)
        with isolated(seed):
            drawn = list(islice(batches, MOST_BATCHES))
        if len(drawn) == MOST_BATCHES:
            raise DataError(
                f"the sampler {type(_random_part(self.loader)).__name__} does not end", expected="one epoch of it"
            )
        if not drawn:
            raise DataError("the DataLoader gives no batch", fix="drop_last leaves none where one batch is all")
        return [batch.tolist() if isinstance(batch, Tensor) else list(batch) for batch in drawn]

    def _replays(self) -> bool:
        """Whether the order can be drawn again; a sampler of the user's own may keep a state that nobody can set."""
        torchs = type(_random_part(self.loader)).__module__.startswith("torch.")
        return torchs or self._drawn(0) == self._drawn(0)

    def count(self, epoch: int = 0) -> int:
        """How many batches an epoch has."""
        return len(self.plan(epoch))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Any]]:
        """(rows, collated) from batch `start` on. Rows that cannot be read are left out, see `Reader`."""
        plan, loader = self.plan(epoch)[start:], self.loader
        workers = getattr(loader, "num_workers", 0)
        collate = getattr(loader, "collate_fn", default_collate)
        kept = {name: getattr(loader, name) for name in KEPT if workers} | {
            name: getattr(loader, name) for name in PINNED if loader is not None and torch.cuda.is_available()
        }
        items = Items(self.dataset, mix(self.seed or 0, "items", epoch), collate is not default_collate)
        batches = DataLoader(
            items, batch_sampler=plan, collate_fn=Collate(collate, not workers), num_workers=workers,
            generator=torch.Generator().manual_seed(mix(self.seed or 0, "workers", epoch)), **kept,
        )  # fmt: skip
        for keys, loaded in zip(plan, _told(batches, self.reader.name), strict=True):
            places = self.reader.take(keys, loaded)
            if places is None:
                continue
            rows = _rows([keys[place] for place in places], batch_length(loaded.collated))
            if self.check is not None:
                self.check(rows, loaded.collated)
            yield rows, loaded.collated


def _rows(keys: list[Any], size: int) -> Tensor:
    """Rows as numbers: from 0 where a sampler gives other keys, or a collate function more or fewer samples."""
    numbers = len(keys) == size and all(isinstance(key, (int, np.integer)) for key in keys)
    return torch.tensor([int(key) for key in keys]) if numbers else torch.arange(size)


def _set_epoch(part: Any, epoch: int) -> None:
    """As samplers of several processes want it, whose order is a function of it."""
    if callable(set_epoch := getattr(part, "set_epoch", None)):
        set_epoch(epoch)


def _random_part(loader: Any) -> Any:
    """What decides the order of a DataLoader."""
    plain = type(loader.batch_sampler) is torch.utils.data.BatchSampler
    return loader.batch_sampler.sampler if plain else loader.batch_sampler


def _told(batches: Iterable[Any], name: str) -> Iterator[Any]:
    """Batches of a DataLoader, what befalls its workers told in a line."""
    iterator = iter(batches)
    read = 0
    while True:
        try:
            batch = next(iterator)
        except StopIteration:
            return
        except FlambeauError:
            raise
        except Exception as error:
            text = str(error)
            if "DataLoader worker" in text and "exited" in text:
                raise DataError(
                    "a worker that reads the data has died",
                    where=name,
                    fix="read with num_workers=0 to see why; it may lack memory, or shared memory (/dev/shm)",
                ) from error
            if "DataLoader timed out" in text:
                fix = "raise the DataLoader's timeout, or read with num_workers=0"
                raise DataError("no batch came in time", where=name, fix=fix) from error
            if "pickle" in text.lower():
                fix = "define the Dataset and its functions at the top of a file, or read with num_workers=0"
                raise DataError(f"it cannot be sent to a worker ({told(error)})", where=name, fix=fix) from error
            none = "an item may be None: pass it over in __iter__" if "NoneType" in text else None
            raise DataError(told(error), where=f"batch {read} of {name}", fix=none) from error
        read += 1
        yield batch


class LoaderBatches:
    """A DataLoader over a stream, in its own order. A resume draws and drops what was already seen."""

    def __init__(self, loader: Any, check: Callable[[Tensor, Any], None] | None = None, drop_single: bool = False):
        self.loader, self.check, self.drop_single = loader, check, drop_single
        self._count: int | None = None
        stream = isinstance(loader.dataset, IterableDataset)
        self.notes = [] if stream else ["a DataLoader with batch_size=None is read as it is: its order is not repeated"]
        self.reader = Reader(loader.dataset)

    def count(self, epoch: int = 0) -> int:
        """How many batches an epoch has; counted by going through once where the loader does not know."""
        if self._count is None:
            try:
                self._count = len(self.loader)
            except TypeError:
                self._count = sum(1 for _ in _told(self.loader, self.reader.name))
            if self._count == 0:
                raise DataError("the dataset has no samples", where=self.reader.name)
        return self._count

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Any]]:
        """(rows, collated) from batch `start` on; rows are counted, for a stream has none."""
        seen = given = 0
        _set_epoch(getattr(self.loader, "sampler", None), epoch)
        for i, collated in enumerate(islice(_told(self.loader, self.reader.name), self.count())):
            size, given = batch_length(collated), i + 1
            rows = torch.arange(seen, seen + size)
            seen += size
            if self.drop_single and size == 1 and i > 0 and rows[0] > i:
                continue  # a last batch of one, after larger ones
            if i >= start:
                if self.check is not None:
                    self.check(rows, collated)
                yield rows, collated
        if given < self.count() and self.reader.say is not None:
            self.reader.say(f"{self.reader.name} ends after {given} batches, and its __len__ says {self.count()}")


def batches_of(
    data: Any, batch_size: int | None, *, seed: int | None, drop_single: bool,
    check: Callable[[Tensor, Any], None] | None = None,
) -> MapBatches | LoaderBatches:  # fmt: skip
    """The batches of a torch Dataset or DataLoader. Of a DataLoader of a map-style dataset all that it says is kept;
    only what its sampler draws is drawn from our seed, so that its order can be replayed."""
    if isinstance(data, DataLoader):
        if isinstance(data.dataset, IterableDataset) or data.batch_sampler is None:
            return LoaderBatches(data, check, drop_single)
        return MapBatches(
            data.dataset, data.batch_size or 1, seed=seed, loader=data, drop_single=drop_single, check=check
        )
    if isinstance(data, IterableDataset):
        return LoaderBatches(DataLoader(data, batch_size=batch_size), check, drop_single)
    return MapBatches(data, batch_size or 32, seed=seed, drop_single=drop_single, check=check)


class CustomPreparer:
    """From a collated batch to a Batch on the device, see `split_batch`.

    Args:
        classes: whether whole targets are class numbers, which torch wants as int64.
    """

    random = False

    def __init__(self, device: torch.device, classes: bool = False):
        self.device, self.classes = device, classes

    def __call__(
        self, rows: Tensor, collated: Any, training: bool = False, generator: torch.Generator | None = None
    ) -> Batch:
        inputs, target = split_batch(collated)
        if self.classes and isinstance(target, Tensor) and not target.is_floating_point():
            target = target.long()
        return Batch(to_device(inputs, self.device), to_device(target, self.device), rows)


def split_batch(collated: Any) -> tuple[Any, Any]:
    """(input, target) of a collated batch: of (x, y), of (x1, x2, …, y), or of x alone; of a dict the target is what
    one of `TARGETS` names, and a single other part is the input itself.

    Raises:
        DataError: several parts of a dict are called as targets are.
    """
    fields = getattr(collated, "_fields", ())
    if isinstance(collated, Mapping) or {*fields} & {*TARGETS}:
        collated = dict(zip(fields, collated, strict=True)) if fields else collated
        named = [key for key in TARGETS if key in collated]
        if not named:
            return dict(collated), None
        if len(named) > 1:
            raise DataError(
                f"a batch has {' and '.join(repr(n) for n in named)}, and both are names of targets",
                expected="one of them",
                fix="give batches (x, y) with a collate_fn",
            )
        others = {key: value for key, value in collated.items() if key != named[0]}
        return (next(iter(others.values())) if len(others) == 1 else others), collated[named[0]]
    if isinstance(collated, (list, tuple)) and not fields:
        if len(collated) == 1:
            return collated[0], None
        *inputs, target = collated
        return (inputs[0] if len(inputs) == 1 else tuple(inputs)), target
    return collated, None


def batch_length(collated: Any) -> int:
    """Samples in a collated batch."""
    part = collated
    while not isinstance(part, Tensor):
        if isinstance(part, Mapping) and len(part):
            part = next((v for v in part.values() if isinstance(v, Tensor)), next(iter(part.values())))
        elif isinstance(part, (list, tuple)) and len(part):
            part = next((v for v in part if isinstance(v, Tensor)), part[0])
        else:
            raise DataError(f"a batch is {form(part)}", expected="tensors, or tuples or dicts of tensors")
    return len(part) if part.ndim else 1


def to_device(value: Any, device: torch.device) -> Any:
    """Tensors, and tuples and dicts of them, on a device."""
    if isinstance(value, Tensor):
        return value if value.device == device else value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {k: to_device(v, device) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        moved = [to_device(v, device) for v in value]
        return type(value)(*moved) if hasattr(value, "_fields") else tuple(moved)
    return value
