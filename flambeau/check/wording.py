"""One Finding about some rows of a dataset."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence

import numpy as np

from flambeau.core.findings import Finding, Severity
from flambeau.data.dataset import Dataset

TOO_LARGE = "the picture is too large to decode"


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


class Telling(list[Finding]):
    """The Findings about rows of a dataset, each of which is a `noun`, as a check comes upon them."""

    def __init__(self, dataset: Dataset, noun: str):
        super().__init__()
        self.dataset, self.noun = dataset, noun

    def warn(self, check: str, rows: Sequence[int] | np.ndarray, what: str, fix: str = "") -> None:
        """Adds the Finding that so many have some property; none for no rows."""
        self += findings_at(self.dataset, check, Severity.WARNING, rows, self.noun, what, fix)

    def note(self, check: str, rows: Sequence[int] | np.ndarray, what: str, fix: str = "") -> None:
        """The same, where it need not be amiss."""
        self += findings_at(self.dataset, check, Severity.NOTE, rows, self.noun, what, fix)


def missing_input(dataset: Dataset, name: str, rows: Sequence[int] | np.ndarray) -> list[Finding]:
    """The Finding about rows that lack one of several inputs, and train all the same."""
    what = f"without a value in the column '{name}', which is learned as missing"
    return findings_at(dataset, "missing-input", Severity.NOTE, rows, "row", what)


def unreadable(
    dataset: Dataset, errors: Sequence[str], without: Collection[int] | np.ndarray, noun: str
) -> list[Finding]:
    """The Findings about files that cannot be used, one for each reason.

    Args:
        errors: of each of N rows why, "" where it can be used.
        without: rows that have none, which is told of elsewhere.
    """
    reasons: dict[str, list[int]] = defaultdict(list)
    for row in np.setdiff1d([row for row, error in enumerate(errors) if error], [*without]).tolist():
        reasons[errors[row]].append(row)
    findings = []
    for reason, rows in reasons.items():
        check = "too-large" if reason == TOO_LARGE else "unreadable"
        what = f"left out: {reason}"
        findings += findings_at(dataset, check, Severity.WARNING, rows, noun, what, fix="remove or replace")
    if reasons and all(errors[row] for row in dataset.rows("train")):
        told, count = f"none of the training {noun}s can be read", len(errors) - errors.count("")
        findings.append(Finding("nothing-readable", Severity.ERROR, told, count=count, fix="look at the reasons"))
    return findings


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
