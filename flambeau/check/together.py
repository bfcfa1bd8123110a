"""Rows that are equal or alike by what the checks of each kind find, so that a split keeps them on one side.

Costs a check of the data, which decodes every picture and sound once. Alike is not transitive: of the frames of a film
each is like the next, and all of them go together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flambeau.check.base import CHECKS, Case
from flambeau.check.duplicates import Twins
from flambeau.check.pictures import alike_pictures
from flambeau.check.texts import alike_texts
from flambeau.core.findings import Finding
from flambeau.core.reporter import QUIET, Reporter
from flambeau.core.threads import usable_processors
from flambeau.data.dataset import Dataset
from flambeau.fields import Image, Text


class Linked(Twins):
    """Collects the pairs of rows that a check takes for equal or alike, and says nothing of them."""

    def __init__(self, dataset: Dataset):
        super().__init__(dataset)
        self.pairs = [np.zeros((0, 2), np.int64)]

    def equal(self, groups: Iterable[list[int]], noun: str, coincidence: bool = False) -> list[Finding]:
        self.pairs += [np.asarray([(rows[0], row) for row in rows[1:]], np.int64) for rows in groups]
        return []

    def alike(self, pairs: np.ndarray, groups: Iterable[list[int]], noun: str) -> list[Finding]:
        self.pairs.append(pairs)
        return []


MOST, MOST_BYTES, MOST_CHARACTERS = 20_000, 1 << 28, 20_000_000
"""Rows, bytes of picture files and characters up to which a split looks unasked for what is alike: some seconds of a
core, which `check` is spared."""


def seen_firsts(dataset: Dataset, first: np.ndarray) -> tuple[np.ndarray, str]:
    """The first row of all that each row is joined with by equals and by looks, int64 (N), where the inputs are one
    column of pictures, or texts alone; `first` itself where they are not, or too many, and then why.

    Args:
        first: the row that each is a copy of, int64 (N), as is known already.
    """
    count, inputs = len(dataset), dataset.inputs
    fields = [dataset.fields[name] for name in inputs]
    of_pictures = len(fields) == 1 and isinstance(fields[0], Image) and not dataset.optional
    of_texts = bool(fields) and all(isinstance(field, Text) for field in fields) and not dataset.optional
    if not (of_pictures or of_texts) or count < 2:
        return first, ""
    size = 0 if count > MOST else _size(dataset, of_pictures)
    if count > MOST or size > (MOST_BYTES if of_pictures else MOST_CHARACTERS):
        what = "pictures" if of_pictures else "texts"
        return first, f"{what} that merely look alike may be in several parts of the split: there are too many to look"
    if of_pictures:
        groups, pairs = alike_pictures(dataset, inputs[0], usable_processors(), QUIET)
        pairs = np.concatenate([pairs, *(np.asarray([(rows[0], row) for row in rows[1:]]) for rows in groups)])
    else:
        pairs = alike_texts(dataset, inputs, np.flatnonzero(first == np.arange(count)), QUIET)
    found = joined(count, first, [pairs])
    return first if np.array_equal(found, first) else found, ""


def alike_firsts(dataset: Dataset, first: np.ndarray, *, reporter: Reporter = QUIET) -> np.ndarray:
    """The first row of all that each row is joined with by equals and by looks, int64 (N).

    Args:
        first: the row that each is a copy of, int64 (N), as is known already.
    """
    twins, count = Linked(dataset), len(dataset)
    case = Case(dataset, twins, usable_processors(), reporter, usable=np.ones(count, bool))
    for kinds, look in CHECKS:
        if fields := {name: dataset.fields[name] for name in dataset.inputs if isinstance(dataset.fields[name], kinds)}:
            look(case, fields)
    return joined(count, first, twins.pairs)


def joined(count: int, first: np.ndarray, pairs: Sequence[np.ndarray]) -> np.ndarray:
    """The first row of all that each of N is joined with, int64 (N), by pairs (P, 2) and by the row it is a copy of."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    one, other = np.concatenate([*pairs, np.stack([np.arange(count), first], 1)]).T
    parts = connected_components(coo_array((np.ones(len(one), bool), (one, other)), shape=(count, count)))[1]
    return np.unique(parts, return_index=True)[1][parts]


def _size(dataset: Dataset, of_pictures: bool) -> int:
    """Bytes of the files of pictures, or characters of texts."""
    if not of_pictures:
        return sum(len(value) for name in dataset.inputs for value in dataset.columns[name] if isinstance(value, str))
    return sum(_bytes(value) for value in dataset.columns[dataset.inputs[0]])


def _bytes(value: Any) -> int:
    if isinstance(value, bytes | bytearray):
        return len(value)
    try:
        return Path(value).stat().st_size if isinstance(value, str | Path) else 0
    except (OSError, ValueError):
        return 0
