"""The order of samples is a pure function of seed and epoch."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from small import stored

from flambeau.core.errors import UsageError
from flambeau.data.batches import Batches
from flambeau.data.store.store import RaggedColumn, Store

STORE = stored()[1]
ROWS = torch.arange(0, 200, 2)


def flat(batches: list[list[int]]) -> list[int]:
    return [row for batch in batches for row in batch]


def order(batches: Batches, epoch: int, start: int = 0) -> list[list[int]]:
    return [rows.tolist() for rows, _ in batches.epoch(epoch, start)]


@pytest.mark.parametrize("seed", [None, 0, 7])
def test_every_row_once_and_no_other(seed: int | None) -> None:
    for size in (1, 7, 100, 1000):
        batches = Batches(STORE, ROWS, size, seed=seed)
        for epoch in (0, 1):
            found = order(batches, epoch)
            assert Counter(flat(found)) == Counter(ROWS.tolist())
            assert len(found) == batches.count(epoch)
            assert all(len(b) == min(size, 100) for b in found[:-1])


def test_the_same_for_equal_seed_and_epoch_whatever_came_before() -> None:
    torch.manual_seed(0)
    first = Batches(STORE, ROWS, 8, seed=3)
    expected = [order(first, e) for e in range(3)]
    torch.manual_seed(99)
    again = Batches(STORE, ROWS, 8, seed=3)
    assert [order(again, e) for e in (2, 0, 1)] == [expected[2], expected[0], expected[1]]
    assert expected[0] != expected[1] and order(Batches(STORE, ROWS, 8, seed=4), 0) != expected[0]


def test_it_draws_from_no_global_generator() -> None:
    before = torch.get_rng_state()
    order(Batches(STORE, ROWS, 8, seed=3), 0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("start", [0, 1, 5, 12, 13, 40])
def test_starting_at_a_batch_is_skipping_those_before_it(start: int) -> None:
    batches = Batches(STORE, ROWS, 8, seed=3)
    assert order(batches, 1, start) == order(batches, 1)[start:]


def test_without_a_seed_rows_come_in_their_order() -> None:
    assert flat(order(Batches(STORE, ROWS, 8), 5)) == ROWS.tolist()


def test_gathered_values_are_those_of_the_rows() -> None:
    pixels = STORE.columns["x"].values  # type: ignore[attr-defined]
    for rows, gathered in Batches(STORE, ROWS, 16, seed=1).epoch(0):
        assert torch.equal(gathered["x"], pixels[rows])


@pytest.mark.parametrize(("rows", "size", "left_out"), [(33, 8, 1), (33, 32, 1), (34, 8, 0), (1, 8, 0), (5, 1, 0)])
def test_a_last_batch_of_one_is_left_out_where_batch_norm_asks_for_it(rows: int, size: int, left_out: int) -> None:
    batches = Batches(STORE, torch.arange(rows), size, seed=1, drop_single=True)
    found = order(batches, 0)
    assert sum(map(len, found)) == rows - left_out
    assert batches.count(0) == len(found)
    if left_out:
        missing = [set(range(rows)) - set(flat(order(batches, e))) for e in range(8)]
        assert len({m.pop() for m in missing}) > 1, "another sample each epoch"


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_size_that_does_not_fit(size: int) -> None:
    with pytest.raises(UsageError, match=f"batch size of {size} does not fit; expected 1 or more"):
        Batches(STORE, ROWS, size)


def test_ragged_rows_whose_padding_no_model_sees_are_mixed_and_keep_to_the_budget() -> None:
    """Whole sounds are cut to one length later: sorting them by length would sort them by class as well."""
    lengths = torch.tensor([10, 200] * 50)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    column = RaggedColumn(torch.zeros(int(lengths.sum()), dtype=torch.int16), offsets, padded=False)
    store = Store({"sound": column}, torch.arange(100))
    batches = Batches(store, torch.arange(100), 10, seed=0).plan(0)
    assert [len(b) for b in batches] == [10] * 10
    assert all(len(set(lengths[b].tolist())) == 2 for b in batches)
    small = Batches(store, torch.arange(100), 10, seed=0, tokens=1000).plan(0)
    assert all(len(b) * int(lengths[b].max()) <= 1000 for b in small)
    assert sorted(torch.cat(small).tolist()) == list(range(100))
