"""A user's own torch Dataset or DataLoader gives batches that can be replayed where it has rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from small import digits
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, WeightedRandomSampler
from torch.utils.data import Dataset as TorchDataset

from flambeau.core.errors import DataError
from flambeau.data.custom import CustomPreparer, LoaderBatches, MapBatches, batch_length, batches_of, split_batch

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


def test_workers_give_the_same_batches() -> None:
    assert order(MapBatches(DATA, 64, seed=2, workers=2)) == order(MapBatches(DATA, 64, seed=2))


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


def test_a_sampler_of_ones_own_keeps_its_order() -> None:
    sampler = WeightedRandomSampler(torch.ones(200), 50, generator=torch.Generator().manual_seed(0))  # type: ignore[arg-type]
    source = batches_of(DataLoader(DATA, 20, sampler=sampler), 7, seed=3, drop_single=False)
    assert isinstance(source, LoaderBatches) and source.count() == 3
    assert [len(x) for _, (x, _) in source.epoch(0)] == [20, 20, 10]


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
    ],
)
def test_the_last_part_is_the_target(collated: Any, inputs: Any, target: Any) -> None:
    assert split_batch(collated) == (inputs, target)


def test_nested_batches_reach_the_device_in_their_form() -> None:
    prepare = CustomPreparer(torch.device("cpu"))
    batch = prepare(torch.arange(2), (({"a": X[:2]}, "text"), Y[:2]))
    assert batch.input[0]["a"] is X[:2] or torch.equal(batch.input[0]["a"], X[:2])
    assert batch.input[1] == "text" and len(batch) == 2


def test_lengths_of_batches() -> None:
    assert batch_length((X[:7], Y[:7])) == batch_length({"a": [X[:7]]}) == 7
    with pytest.raises(DataError, match="a batch is a int; expected tensors"):
        batch_length((3,))


def test_an_empty_dataset_is_told() -> None:
    class Empty(TorchDataset):
        def __len__(self) -> int:
            return 0

    with pytest.raises(DataError, match="the dataset has no samples"):
        MapBatches(Empty(), 8)
