"""The contract of a check of some kinds of columns, and their registry: a new kind brings its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from flambeau.check.duplicates import Twins
from flambeau.core.findings import Finding
from flambeau.core.reporter import Reporter
from flambeau.data.dataset import Dataset
from flambeau.fields import Field


@dataclass
class Case:
    """A dataset that is looked at, and what is known of it so far.

    Attributes:
        twins: sorts rows that are equal or alike.
        threads: how many may read files.
        usable: bool (N): the rows whose values can be used; a check takes those out that cannot.
        told: columns that a check has told all of, what is missing in them too.
        compared: columns whose equal rows a check has told of.
    """

    dataset: Dataset
    twins: Twins
    threads: int
    reporter: Reporter
    usable: np.ndarray
    told: set[str] = field(default_factory=set)
    compared: set[str] = field(default_factory=set)


Look: TypeAlias = Callable[[Case, Mapping[str, Any]], list[Finding]]
"""What looks at the columns of its kinds, given their fields by name."""
CHECKS: list[tuple[tuple[type[Field], ...], Look]] = []


def looks_at(*kinds: type[Field]) -> Callable[[Look], Look]:
    """Registers what looks at all columns of some kinds of field, and of kinds that are made of these."""

    def register(look: Look) -> Look:
        CHECKS.append((kinds, look))
        return look

    return register
