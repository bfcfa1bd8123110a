"""A draw of texts for the checks that are too dear for a million of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from flambeau.core.findings import Finding

ROWS = 300_000
CHARACTERS = 100_000_000
"""How many texts at most, and how much of them, are looked at for languages, tokens and near-duplicates."""
READ = 100_000
"""Characters of one text that are looked at there."""


def draw(length: np.ndarray, rows: int = ROWS, characters: int = CHARACTERS) -> np.ndarray:
    """Which of N texts to look at, int64 in order: all that have a length, or as many as the bounds allow.

    >>> draw(np.asarray([5, 0, 7])), len(draw(np.full(100, 10), characters=200))
    (array([0, 2]), 20)
    """
    there = np.flatnonzero(length)
    taken = np.minimum(length[there], READ)
    if len(there) <= rows and taken.sum() <= characters:
        return there
    order = np.random.default_rng(0).permutation(len(there))[:rows]  # equal data, equal findings
    return there[np.sort(order[np.cumsum(taken[order]) <= characters])]


def of_a_draw(findings: Iterable[Finding], drawn: int, total: int) -> list[Finding]:
    """The same findings; they say so where they are about so many texts of a larger number."""
    if drawn >= total:
        return list(findings)
    note = f" (looked for in {drawn:,} of {total:,} texts, drawn by chance)"
    return [dataclasses.replace(finding, message=finding.message + note) for finding in findings]
