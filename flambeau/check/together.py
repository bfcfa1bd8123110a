"""Rows that are equal or alike by what the checks of each kind find, so that a split keeps them on one side.

Costs a check of the data, which decodes every picture and sound once. Alike is not transitive: of the frames of a film
each is like the next, and all of them go together.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from flambeau.check.base import CHECKS, Case
from flambeau.check.duplicates import Twins
from flambeau.core.findings import Finding
from flambeau.core.reporter import QUIET, Reporter
from flambeau.core.threads import usable_processors
from flambeau.data.dataset import Dataset


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


def alike_firsts(dataset: Dataset, first: np.ndarray, *, reporter: Reporter = QUIET) -> np.ndarray:
    """The first row of all that each row is joined with by equals and by looks, int64 (N).

    Args:
        first: the row that each is a copy of, int64 (N), as is known already.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    twins, count = Linked(dataset), len(dataset)
    case = Case(dataset, twins, usable_processors(), reporter, usable=np.ones(count, bool))
    for kinds, look in CHECKS:
        if fields := {name: dataset.fields[name] for name in dataset.inputs if isinstance(dataset.fields[name], kinds)}:
            look(case, fields)
    one, other = np.concatenate([*twins.pairs, np.stack([np.arange(count), first], 1)]).T
    joined = connected_components(coo_array((np.ones(len(one), bool), (one, other)), shape=(count, count)))[1]
    return np.unique(joined, return_index=True)[1][joined]
