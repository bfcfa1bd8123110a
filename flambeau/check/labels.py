"""Findings about targets, splits and plain columns: what is missing, too few, never seen in training."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from flambeau.check.wording import counted, findings_at, missing_input
from flambeau.core.errors import DataError
from flambeau.core.findings import TELLS_LEFT_OUT, Finding, Severity
from flambeau.data.dataset import Dataset
from flambeau.data.grouping import lacking
from flambeau.data.split import NAMES, TRAIN
from flambeau.fields import Field
from flambeau.fields.placement import following

INPUT_NOTES = ("one-class", "constant")
"""What makes a target pointless is only of little use in an input column."""
INPUT_SILENT = ("few-samples", "imbalance")


def class_names(field: Field, values: Sequence[Any]) -> list[list[str] | None]:
    """The classes of each value, by a field that has some; None where they are missing."""

    def names(value: Any) -> list[str] | None:
        try:
            return field.names(value)
        except DataError:
            return None

    return [names(value) for value in values]


def split_findings(dataset: Dataset) -> list[Finding]:
    """What is wrong with the split."""
    sides = np.bincount(dataset.split, minlength=len(NAMES))
    if not sides[TRAIN]:
        return [
            Finding("no-training-rows", Severity.ERROR, "no row is left to train on",
                    count=len(dataset), fix="check the split")
        ]  # fmt: skip
    if sides.sum() == sides[TRAIN]:
        return [
            Finding("nothing-held-out", Severity.NOTE, "all rows train, so nothing tells how good the model is",
                    fix="add rows, or hold some out: --valid, --test (split=)")
        ]  # fmt: skip
    return []


def column_findings(dataset: Dataset, usable: np.ndarray, told_of: Collection[str] = ()) -> list[Finding]:
    """Findings about every column that no other check has told all of.

    Args:
        usable: bool (N): rows whose values can be used.
        told_of: columns that another check has told of.
    """
    findings: list[Finding] = []
    for name, field in dataset.fields.items():
        if name in told_of:
            continue
        if not field.measures:  # which names its missing values itself
            findings += _missing(dataset, name)
        own = _own(dataset, name, field, usable)
        if name != dataset.target:
            own = [_for_an_input(name, f) for f in own if f.check not in INPUT_SILENT]
        findings += own
    findings = [_worse_if_all(dataset, finding) for finding in (*findings, *_beside(dataset))]
    if dataset.target and (field := dataset.fields[dataset.target]).has_classes:
        findings += _class_findings(dataset, field, usable)
    return findings


def _missing(dataset: Dataset, name: str) -> list[Finding]:
    values = dataset.columns[name]
    if isinstance(values, np.ndarray) and (np.issubdtype(values.dtype, np.integer) or values.dtype == bool):
        return []
    rows = [row for row, v in enumerate(values) if v is None or (isinstance(v, (float, np.floating)) and v != v)]
    if len(without := lacking(dataset, name)):
        return missing_input(dataset, name, without)
    if (~np.isin(dataset.rows("train"), rows)).any():  # else it is an error, which is told whatever was told before
        reported = {row for finding in dataset.findings if finding.check in TELLS_LEFT_OUT for row in finding.rows}
        rows = [row for row in rows if row not in reported]
    what = f"without a value in the column '{name}', left out"
    return findings_at(dataset, "missing", Severity.WARNING, rows, "row", what, fix="fill them in, or remove the rows")


def _own(dataset: Dataset, name: str, field: Field, usable: np.ndarray) -> list[Finding]:
    """What the field itself finds: classes are counted over the rows that will train, the rest over all."""
    rows = np.arange(len(dataset))
    if field.has_classes:
        rows = np.flatnonzero((dataset.split == TRAIN) & usable)
    if not len(rows):
        return []
    try:
        findings = field.check(dataset.take(name, rows))
    except (DataError, TypeError, ValueError) as error:
        return [
            Finding("wrong-kind", Severity.ERROR, f"the column '{name}' does not hold values of the kind {field.kind}: "
                    f"{error}", count=len(rows), fix="set its kind by hand: fields={'" + name + "': fb.fields.…}")
        ]  # fmt: skip
    return _placed(dataset, findings, rows)


def _beside(dataset: Dataset) -> list[Finding]:
    """What fields find that have a place in a picture."""
    leader, followers = following(dataset.fields, dataset.inputs, dataset.target)
    findings: list[Finding] = []
    for name in followers:
        assert leader is not None
        found = dataset.fields[name].check_in(dataset.columns[name], dataset.fields[leader], dataset.columns[leader])
        findings += _placed(dataset, found, np.arange(len(dataset)))
    return findings


def _placed(dataset: Dataset, findings: Sequence[Finding], rows: np.ndarray) -> list[Finding]:
    """Findings of some rows as those of the dataset."""
    placed = []
    for finding in findings:
        if finding.rows:
            at = [int(rows[row]) for row in finding.rows]
            finding = dataclasses.replace(finding, rows=at, places=[dataset.place(row) for row in at])
        placed.append(finding)
    return placed


def _worse_if_all(dataset: Dataset, finding: Finding) -> Finding:
    """An error in place of a warning where no training row is left."""
    if finding.check in ("missing", "not-finite") and not len(np.setdiff1d(dataset.rows("train"), finding.rows)):
        return dataclasses.replace(finding, severity=Severity.ERROR)
    return finding


def _for_an_input(name: str, finding: Finding) -> Finding:
    severity = Severity.NOTE if finding.check in INPUT_NOTES else finding.severity
    message = f"in the column '{name}' {finding.message}"
    fix = "it can be left out" if finding.check in INPUT_NOTES else finding.fix
    return dataclasses.replace(finding, severity=severity, message=message, fix=fix)


def _class_findings(dataset: Dataset, field: Field, usable: np.ndarray) -> list[Finding]:
    assert dataset.target is not None
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, names in enumerate(class_names(field, dataset.columns[dataset.target])):
        for name in names or ():
            rows_of[name].append(row)
    training = (dataset.split == TRAIN) & usable
    trained = {name for name, rows in rows_of.items() if training[rows].any()}
    known = set(field.classes) or trained
    findings = []
    unseen = sorted(set(rows_of) - known)
    if unseen and known:
        rows = sorted({row for name in unseen for row in rows_of[name]})
        listed = ", ".join(f"'{name}' ({len(rows_of[name])})" for name in unseen[:10])
        more = f" and {len(unseen) - 10} more" if len(unseen) > 10 else ""
        findings += findings_at(
            dataset, "unseen-class", Severity.WARNING, rows, "row",
            f"left out, of {counted(len(unseen), 'class')} without training rows: {listed}{more}",
            fix="add training rows of them, or look whether the names are misspelt",
        )  # fmt: skip
    alike: dict[str, list[str]] = defaultdict(list)
    for name in rows_of:
        words = name.casefold().replace("_", " ").replace("-", " ").split()
        alike[" ".join(word.lstrip("0") or "0" for word in words)].append(name)
    for names in alike.values():
        if len(names) > 1 and names[0].strip():
            spelt = " and ".join(f"'{name}' ({len(rows_of[name])})" for name in names)
            findings.append(
                Finding("similar-classes", Severity.WARNING, f"classes that differ in spelling only: {spelt}",
                        places=names, fix="give them one name, if they are one class")
            )  # fmt: skip
    return findings
