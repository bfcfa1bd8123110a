"""Words and categories have no gradient, and the vectors that a model looks up for them have: these, and a forward pass
that goes on from others in their place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.understand.explainers import Question


@dataclass
class LookUp:
    """One look-up of a forward pass.

    Attributes:
        table: where.
        turn: which of the table's look-ups in that pass, from 0 on.
        site: whose numbers, by its place among the question's.
        entries: int64 (B, …), which number of a sample each vector is of.
        vectors: float (B, …, E).
        blanks: the same where all numbers are blank.
    """

    table: nn.Embedding
    turn: int
    site: int
    entries: Tensor
    vectors: Tensor
    blanks: Tensor


class _Seen(NamedTuple):
    table: nn.Embedding
    turn: int
    numbers: Tensor
    vectors: Tensor


def looked_up(question: Question) -> list[LookUp]:
    """The look-ups of all numbers of the sites that are no floats.

    Raises:
        UsageError: the model does something else with some of them, such as numbers of pairs of words.
    """
    whole = [number for number, site in enumerate(question.sites) if not site.values.is_floating_point()]
    if not whole:
        return []
    blank = [
        site.values if i not in whole else torch.full_like(site.values, int(site.blank))
        for i, site in enumerate(question.sites)
    ]
    found: list[LookUp] = []
    for seen, blanks in zip(_watched(question, question.values), _watched(question, blank), strict=True):
        for number in whole:
            entries = _entries(seen.numbers, question.sites[number].values)
            if entries is not None:
                found.append(LookUp(seen.table, seen.turn, number, entries, seen.vectors, blanks.vectors))
                break
        else:
            if not torch.equal(seen.numbers, blanks.numbers):
                raise _unknown(question)
    if {look.site for look in found} != set(whole):
        raise _unknown(question)
    return found


@contextmanager
def given(look_ups: Sequence[LookUp], vectors: Sequence[Tensor]) -> Iterator[None]:
    """Forward passes within, one, go on from these vectors."""
    turns: Counter[nn.Module] = Counter()
    calls: list[tuple[nn.Module, int]] = [(look.table, look.turn) for look in look_ups]
    instead = dict(zip(calls, vectors, strict=True))

    def put(table: nn.Module, numbers: Any, output: Tensor) -> Tensor:
        turns[table] += 1
        return instead.get((table, turns[table] - 1), output)

    handles = [table.register_forward_hook(put) for table in {look.table for look in look_ups}]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _watched(question: Question, values: Sequence[Tensor]) -> list[_Seen]:
    seen: list[_Seen] = []
    turns: Counter[nn.Module] = Counter()

    def watch(table: nn.Module, numbers: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(table, nn.Embedding)
        seen.append(_Seen(table, turns[table], numbers[0], output.detach()))
        turns[table] += 1

    tables = [module for module in question.model.modules() if isinstance(module, nn.Embedding)]
    handles = [table.register_forward_hook(watch) for table in tables]
    try:
        with torch.no_grad():
            question.score(*values, *question.others)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _entries(numbers: Tensor, site: Tensor) -> Tensor | None:
    """Which entries of a sample of a site numbers are: where they are a view of it, or equal to it; else None."""
    places = torch.arange(site.numel(), device=site.device).view(site.shape)
    if numbers.untyped_storage().data_ptr() == site.untyped_storage().data_ptr() and site.is_contiguous():
        start = numbers.storage_offset() - site.storage_offset()
        places = places.as_strided(numbers.shape, numbers.stride(), start)
    elif not (numbers.shape == site.shape and torch.equal(numbers, site)):
        return None
    return places % site[0].numel()


def _unknown(question: Question) -> UsageError:
    return UsageError(
        f"{type(question.model).__name__} does not look all its words or categories up one by one, so nothing is "
        "between one and another",
        fix="take occlusion",
    )
