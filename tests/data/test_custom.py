"""A user's own torch Dataset or DataLoader gives batches that can be replayed where it has rows."""

from __future__ import annotations

import os
import random
from collections import UserDict, namedtuple
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small import digits
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)
from torch.utils.data import Dataset as TorchDataset

from flambeau.core.errors import DataError
from flambeau.data.custom import CustomPreparer, MapBatches, batch_length, batches_of, split_batch

X, Y = (torch.as_tensor(a) for a in digits())
DATA = TensorDataset(X.float(), Y)


class Stream(IterableDataset):
    def __init__(self, length: int):
        self.length = length

    def __iter__(self) -> Iterator[Any]:
        return iter(zip(X[: self.length].float(), Y[: self.length], strict=True))


def flat(batches: list[list[int]]) -> list[int]:
    return [row for batch in batches for row in batch]


def order(source: Any, epoch: int = 0, start: int = 0) -> list[list[int]]:
    return [rows.tolist() for rows, _ in source.epoch(epoch, start)]


def test_a_map_style_dataset_is_shuffled_by_seed_and_epoch() -> None:
    one, other = (MapBatches(DATA, 16, seed=2) for _ in range(2))
    torch.manual_seed(5)
    assert order(one, 1) == order(other, 1) != order(one, 0)
    assert sorted(flat(order(one))) == list(range(200))
    assert order(one, 1, start=4) == order(one, 1)[4:]
    for rows, (x, y) in one.epoch(0):
        assert torch.equal(x, X[rows].float()) and torch.equal(y, Y[rows])


def test_loading_draws_nothing_from_the_global_generator() -> None:
    state = torch.get_rng_state()
    order(MapBatches(DATA, 16, seed=2))
    assert torch.equal(torch.get_rng_state(), state)


class Noisy(TorchDataset):
    """Draws from all three global generators, as transforms do."""

    def __len__(self) -> int:
        return 48

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        drawn = torch.rand(3) + float(np.random.rand()) + random.random()
        return drawn, torch.tensor(row)


def values(source: Any, start: int = 0) -> list[Any]:
    return [(x.tolist(), y.tolist()) for _, (x, y) in source.epoch(1, start)]


def loaded(data: Any = DATA, seed: int | None = 3, **options: Any) -> Any:
    return batches_of(DataLoader(data, **options), 7, seed=seed, drop_single=False)


def test_what_a_dataset_draws_is_the_same_in_workers_and_after_a_resume() -> None:
    here = MapBatches(Noisy(), 8, seed=2)
    workers = batches_of(DataLoader(Noisy(), 8, shuffle=True, num_workers=2), 7, seed=2, drop_single=False)
    also = batches_of(DataLoader(Noisy(), 8, shuffle=True), 7, seed=2, drop_single=False)
    assert values(here) == values(here) and values(here)[2:] == values(here, start=2)
    assert values(workers) == values(also) and values(workers, start=3) == values(also)[3:]


SAMPLERS: dict[str, Callable[[], dict[str, Any]]] = {
    "weights": lambda: {"sampler": WeightedRandomSampler([1.0] * 100 + [0.0] * 100, 50), "batch_size": 20},
    "weights with a generator": lambda: {
        "sampler": WeightedRandomSampler([1.0] * 200, 50, generator=torch.Generator()), "batch_size": 20},
    "replacement": lambda: {"sampler": RandomSampler(DATA, replacement=True, num_samples=50), "batch_size": 20},
    "fewer": lambda: {"sampler": RandomSampler(DATA, num_samples=50), "batch_size": 20},
    "subset": lambda: {"sampler": SubsetRandomSampler(range(50)), "batch_size": 20},
    "batches": lambda: {"batch_sampler": BatchSampler(SubsetRandomSampler(range(50)), 20, drop_last=False)},
    "own": lambda: {"sampler": Reversed(50), "batch_size": 20},
}  # fmt: skip


class Reversed(Sampler[int]):
    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        return iter(np.random.permutation(self.count).tolist())


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_is_kept_and_what_it_draws_follows_from_seed_and_epoch(name: str) -> None:
    one, other = (loaded(**SAMPLERS[name]()) for _ in range(2))
    torch.manual_seed(5)
    assert [len(b) for b in order(one)] == [20, 20, 10] and one.count() == 3 and not one.notes
    assert order(one, 1) == order(other, 1) != order(one, 0)
    assert order(one, 1, start=2) == order(one, 1)[2:]
    if name in ("weights", "subset", "batches"):
        assert max(flat(order(one))) < (100 if name == "weights" else 50)


def test_drop_last_and_the_order_are_kept() -> None:
    assert [len(b) for b in order(loaded(batch_size=60, drop_last=True, shuffle=True))] == [60] * 3
    assert [len(b) for b in order(loaded(batch_size=60, drop_last=True))] == [60] * 3
    assert flat(order(loaded(batch_size=60))) == list(range(200))
    with pytest.raises(DataError, match="the DataLoader gives no batch; drop_last leaves none"):
        order(loaded(batch_size=300, drop_last=True))


def test_an_order_that_nobody_can_repeat_is_told() -> None:
    class Stateful(Reversed):
        draws = np.random.default_rng(0)

        def __iter__(self) -> Iterator[int]:
            return iter(self.draws.permutation(self.count).tolist())

    (note,) = loaded(sampler=Stateful(50), batch_size=20).notes
    assert "the order of Stateful is its own: a resume does not repeat it" in note


def test_an_epoch_of_a_distributed_sampler_is_set() -> None:
    sampler: Any = DistributedSampler(DATA, num_replicas=2, rank=1)
    source = loaded(sampler=sampler, batch_size=20)
    assert order(source, 0) != order(source, 1) == order(source, 1) and len(flat(order(source))) == 100


@pytest.mark.parametrize(("rows", "size", "count"), [(33, 8, 4), (33, 32, 1), (1, 8, 1), (5, 1, 5)])
def test_a_single_sample_is_left_out(rows: int, size: int, count: int) -> None:
    source = MapBatches(TensorDataset(X[:rows]), size, seed=1, drop_single=True)
    assert source.count() == len(order(source)) == count


def test_a_plain_loader_is_taken_apart_so_that_it_can_be_replayed() -> None:
    def collate(samples: list[Any]) -> tuple[Tensor, Tensor]:
        return torch.stack([x for x, _ in samples]) * 2, torch.stack([y for _, y in samples])

    source = batches_of(DataLoader(DATA, 20, shuffle=True, collate_fn=collate), 7, seed=3, drop_single=False)
    assert isinstance(source, MapBatches) and source.count() == 10 and order(source) == order(source)
    rows, (x, _) = next(source.epoch(0))
    assert torch.equal(x, X[rows].float() * 2)
    in_order = batches_of(DataLoader(DATA, 20), 7, seed=3, drop_single=False)
    assert flat(order(in_order)) == list(range(200)), "it did not shuffle, so it is not shuffled"


class Faulty(TorchDataset):
    """Fails at some rows, as a damaged file does."""

    def __init__(self, *rows: int, error: Exception | None = None, item: Any = None) -> None:
        self.rows, self.error, self.item = rows, error, item

    def __len__(self) -> int:
        return 200

    def __getitem__(self, row: int) -> Any:
        if row not in self.rows:
            return X[row], int(Y[row])
        if self.error is not None:
            raise self.error
        return self.item


@pytest.mark.parametrize("workers", [0, 2])
def test_a_few_rows_that_cannot_be_read_are_left_out_and_named(workers: int) -> None:
    data = Faulty(3, 150, error=OSError("cannot identify image file"))
    source = loaded(data, batch_size=32, num_workers=workers)
    rows = flat(order(source))
    assert rows == [row for row in range(200) if row not in (3, 150)]
    assert source.reader.failed == dict.fromkeys((3, 150), "OSError: cannot identify image file")
    assert flat(order(loaded(Faulty(7), batch_size=32, num_workers=workers))) == [r for r in range(200) if r != 7]
    assert [len(b) for b in order(loaded(Faulty(0, error=ValueError()), batch_size=1))] == [1] * 199


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Faulty(150, error=KeyError("path")), r"row 150 of Faulty: KeyError: 'path'"),
        (Faulty(*range(200), error=OSError("no such file")), r"row 0 of Faulty: OSError: no such file \(and 31 more"),
        (Faulty(150, error=IndexError("out of range")), r"row 150 of Faulty: IndexError: out .* its __len__ says 200"),
        (Faulty(150, item=(X[0, :4], 1)), r"row 150 of Faulty: the item is \(float64 \(4, 8\), int\), and others are"),
        (Faulty(150, item=X[0]), r"row 150 of Faulty: the item is float64 \(8, 8\), and others are \(float64"),
        (Faulty(150, item=(X[0], 1, 2)), r"row 150 of Faulty: .*; give a DataLoader with a collate_fn"),
        (Faulty(150, item=(X[0], None)), r"row 150 of Faulty: the item is \(float64 \(8, 8\), NoneType\)"),
    ],
)
def test_what_is_wrong_with_a_dataset_is_told_with_its_row(data: Any, message: str, workers: int) -> None:
    with pytest.raises(DataError, match=message) as told:
        order(loaded(data, batch_size=32, num_workers=workers))
    assert "\n" not in str(told.value)
    if not workers and data.error is not None:
        assert told.value.__cause__ is data.error


def test_items_that_no_batch_can_be_made_of_are_told() -> None:
    told = r"row 0 of \w+: the item is \(Image, int\) \(TypeError: default_collate.*; make tensors of the pictures"
    with pytest.raises(DataError, match=told):
        order(loaded(Pictures(), batch_size=4))


class Pictures(Faulty):
    def __getitem__(self, row: int) -> Any:
        return Image.new("L", (8, 8)), 1


def test_a_collate_function_that_fails_or_leaves_out_is_its_own_affair() -> None:
    def good_ones(items: list[Any]) -> Any:
        return default_collate([item for item in items if item is not None])

    assert sum(len(x) for _, (x, _) in loaded(Faulty(3), batch_size=32, collate_fn=good_ones).epoch(0)) == 199
    with pytest.raises(DataError, match=r"row 0 of \w+: collate_fn fails with ZeroDivisionError.*; mend the collate"):
        order(loaded(batch_size=4, collate_fn=lambda items: 1 / 0))


class Dying(Faulty):
    def __getitem__(self, row: int) -> Any:
        if row in self.rows:
            os._exit(3)
        return X[row], int(Y[row])


def test_a_worker_that_dies_is_told() -> None:
    with pytest.raises(DataError, match=r"Dying: a worker that reads the data has died; read with num_workers=0 to"):
        order(loaded(Dying(40), batch_size=32, num_workers=1))


def test_a_stream_that_fails_is_told_with_its_place() -> None:
    class Breaking(IterableDataset):
        def __iter__(self) -> Iterator[Any]:
            yield from zip(X[:40], Y[:40], strict=True)
            raise OSError("the line went dead")

    with pytest.raises(DataError, match="batch 2 of Breaking: OSError: the line went dead"):
        order(batches_of(Breaking(), 16, seed=3, drop_single=False))


def test_a_stream_with_none_in_it_or_shorter_than_it_says_is_told() -> None:
    class Odd(IterableDataset):
        def __init__(self, *items: Any):
            self.items = items

        def __len__(self) -> int:
            return 6

        def __iter__(self) -> Iterator[Any]:
            yield from self.items

    with pytest.raises(DataError, match=r"batch 0 of Odd: .*NoneType.*; an item may be None: pass it over in __iter__"):
        order(batches_of(DataLoader(Odd((X[0], 1), None), batch_size=2), 2, seed=3, drop_single=False))
    said: list[str] = []
    source = batches_of(DataLoader(Odd(*zip(X[:3], Y[:3], strict=True)), batch_size=2), 2, seed=3, drop_single=False)
    source.reader.say = said.append
    assert [len(b) for b in order(source)] == [2, 1]
    assert said == ["Odd ends after 2 batches, and its __len__ says 3"]


def test_a_stream_is_counted_and_skipped_by_reading_it() -> None:
    source = batches_of(Stream(70), 16, seed=3, drop_single=False)
    assert source.count() == 5
    assert order(source, start=3) == [list(range(48, 64)), list(range(64, 70))]


def test_a_stream_ends_without_its_single_last_sample_where_batch_norm_asks_for_it() -> None:
    source = batches_of(Stream(65), 16, seed=3, drop_single=True)
    assert [len(b) for b in order(source)] == [16] * 4
    assert [len(b) for b in order(batches_of(Stream(4), 1, seed=3, drop_single=True))] == [1] * 4


def test_every_batch_is_checked_before_it_is_used() -> None:
    seen = []
    for data in (DATA, Stream(30)):
        source = batches_of(data, 16, seed=3, drop_single=False, check=lambda rows, batch: seen.append(rows.tolist()))
        assert order(source) == seen
        seen.clear()


@pytest.mark.parametrize(
    ("collated", "inputs", "target"),
    [
        ((1, 2), 1, 2),
        ([1, 2], 1, 2),
        ((1, 2, 3), (1, 2), 3),
        ((1,), 1, None),
        ({"a": 1}, {"a": 1}, None),
        (({"a": 1}, 2), {"a": 1}, 2),
        ({"pixel_values": 1, "labels": 2}, 1, 2),
        ({"a": 1, "b": 3, "label": 2}, {"a": 1, "b": 3}, 2),
        (UserDict(a=1, target=2), 1, 2),
        ({"image": 1, "y": 2}, 1, 2),
        (namedtuple("Item", "x label")(1, 2), 1, 2),
    ],
)
def test_the_last_part_is_the_target(collated: Any, inputs: Any, target: Any) -> None:
    assert split_batch(collated) == (inputs, target)


def test_a_dict_with_two_targets_is_told() -> None:
    with pytest.raises(DataError, match=r"a batch has 'labels' and 'y', and both are names of targets"):
        split_batch({"x": 1, "labels": 2, "y": 3})


def test_nested_batches_reach_the_device_in_their_form() -> None:
    prepare = CustomPreparer(torch.device("cpu"))
    batch = prepare(torch.arange(2), (({"a": X[:2]}, "text"), Y[:2]))
    assert batch.input[0]["a"] is X[:2] or torch.equal(batch.input[0]["a"], X[:2])
    assert batch.input[1] == "text" and len(batch) == 2


def test_lengths_of_batches() -> None:
    assert batch_length((X[:7], Y[:7])) == batch_length({"a": [X[:7]]}) == 7
    with pytest.raises(DataError, match="a batch is int; expected tensors"):
        batch_length((3,))


def test_an_empty_dataset_is_told() -> None:
    class Empty(TorchDataset):
        def __len__(self) -> int:
            return 0

    with pytest.raises(DataError, match="the dataset has no samples"):
        MapBatches(Empty(), 8)


def test_a_dataset_without_a_length_is_told() -> None:
    class Endless(TorchDataset):
        def __getitem__(self, row: int) -> int:
            return row

    with pytest.raises(DataError, match=r"the __len__ of Endless fails \(TypeError: .*\); say how many samples"):
        MapBatches(Endless(), 8)
