"""Every two techniques train together, and resume to the same bits, or are refused in one line that says why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any

import pytest
import torch
from tricks import SETTINGS

from flambeau.core.errors import UsageError
from flambeau.data.batch import Batch
from flambeau.techniques import TECHNIQUES, Technique
from flambeau.testing import together
from flambeau.testing.together import Data


def settings(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    return {name: SETTINGS[name][0] for name in names}


NAMES = [name for name in TECHNIQUES if name in SETTINGS]
each_data = pytest.mark.parametrize("data", together.DATA, ids=lambda data: data.name)
GROUPS = together.groups(NAMES)
# what changes batches or the loss does so in the order that it is given in
ORDERED = [name for name in NAMES if any(map(TECHNIQUES[name].overridden, ("on_batch", "on_criterion")))]


@each_data
@pytest.mark.parametrize("group", GROUPS, ids="+".join)
def test_each_two_train_together_or_are_refused_in_one_line(group: tuple[str, ...], data: Data) -> None:
    together.check_group(settings(group), data)


@pytest.mark.parametrize("group", together.groups(ORDERED[::-1]), ids="+".join)
def test_so_do_those_that_change_the_batch_or_the_loss_in_the_other_order(group: tuple[str, ...]) -> None:
    together.check_group(settings(group))


@pytest.mark.parametrize("name", NAMES)
def test_a_second_one_of_a_name_is_like_any_other(name: str) -> None:
    together.check_group({name: SETTINGS[name][0], f"{name}@2": SETTINGS[name][-1]})


def test_the_groups_have_every_two_that_may_be_together() -> None:
    met = {frozenset(pair) for group in GROUPS for pair in combinations(group, 2)}
    assert met == {frozenset(pair) for pair in combinations(NAMES, 2)}


class Quarrels(Technique):
    """Does well alone, and breaks a promise where another has been there before."""

    settings = ("how",)

    def __init__(self, how: str = ""):
        self.how, self.count = how, 0

    def on_batch(self, batch: Batch, generator: torch.Generator) -> Batch:
        self.count += 1
        if batch.rows.dtype == torch.int64:
            batch.rows = batch.rows.to(torch.int32)  # a mark for whoever comes after
        elif self.how == "torch's message":
            batch.input @ torch.ones(7, 11, 13)
        elif self.how == "forgets its state":
            batch.input = batch.input * self.count
        elif self.how == "names neither":
            raise UsageError("this cannot be", fix="leave it out")
        elif self.how == "in the middle" and self.count > 2:
            raise UsageError("left cannot be with right", fix="leave it out")
        elif self.how == "is refused":
            raise UsageError("left cannot be with right", fix="leave one out")
        return batch


@pytest.fixture
def quarrel() -> Iterator[None]:
    for name in ("left", "right"):
        TECHNIQUES.register(name)(type(name, (Quarrels,), {"name": name}))
    yield
    for name in ("left", "right"):
        del TECHNIQUES._parts[name]


@pytest.mark.usefixtures("quarrel")
@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("torch's message", "left with right on pictures: it fails with RuntimeError: "),
        ("forgets its state", "left with right on pictures: resumed, it ends with other weights"),
        ("names neither", "left with right on pictures: refused in a line that names neither: this cannot be;"),
        ("in the middle", "left with right on pictures: it is refused in the middle of training: "),
    ],
)
def test_a_group_that_fails_is_narrowed_down_to_its_pair(how: str, told: str) -> None:
    with pytest.raises(AssertionError) as error:
        together.check_group({"left": {"how": how}, "clip": {}, "right": {"how": how}})
    assert str(error.value).startswith(told)
    assert together.check_group({"left": {"how": how}, "clip": {}}) == ""


@pytest.mark.usefixtures("quarrel")
def test_a_pair_that_is_refused_in_a_line_of_ours_is_as_promised() -> None:
    how = {"how": "is refused"}
    told = together.check_group({"left": how, "clip": {}, "right": how})
    assert told == "left cannot be with right; leave one out"
