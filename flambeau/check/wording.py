"""One Finding about some rows of a dataset."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from flambeau.core.findings import Finding, Severity
from flambeau.data.dataset import Dataset


def findings_at(
    dataset: Dataset,
    check: str,
    severity: Severity,
    rows: Sequence[int] | np.ndarray,
    noun: str,
    what: str,
    fix: str = "",
) -> list[Finding]:
    """The Finding that there are so many of a noun with some property, at the places of these rows; [] for no rows.

    >>> data = Dataset({"x": [1.0, 2.0]}, split="none")
    >>> [str(finding) for finding in findings_at(data, "odd", Severity.NOTE, [1], "number", "with an odd value")]
    ['note: 1 number with an odd value (row 1)']
    """
    rows = [int(row) for row in rows]
    if not rows:
        return []
    message = f"{counted(len(rows), noun)} {what}"
    return [Finding(check, severity, message, places=[dataset.place(row) for row in rows], rows=rows, fix=fix)]


def missing_input(dataset: Dataset, name: str, rows: Sequence[int] | np.ndarray) -> list[Finding]:
    """The Finding about rows that lack one of several inputs, and train all the same."""
    what = f"without a value in the column '{name}', which is learned as missing"
    return findings_at(dataset, "missing-input", Severity.NOTE, rows, "row", what)


def without_figures(reason: str) -> str:
    """A reason that is the same for files which differ in its figures alone.

    >>> without_figures("the sound has samples from -3e4 to 2e4 (it is 3 s long)")
    'the sound has samples from … to …'
    """
    return re.sub(r"-?\d[\d.e+-]*", "…", reason.partition(" (")[0])


def counted(count: int, noun: str) -> str:
    """A number and its noun.

    >>> counted(1, "picture"), counted(2, "picture"), counted(2, "class")
    ('1 picture', '2 pictures', '2 classes')
    """
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun}{'es' if noun.endswith('s') else 's'}"
