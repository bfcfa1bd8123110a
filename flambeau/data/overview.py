"""A picture of the data for the report: how many rows each part of the split has, what is in the columns, some rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.data.dataset import Dataset
from flambeau.data.grouping import PRESENT
from flambeau.data.split import NAMES, TRAIN

SAMPLES = 12
MOST_NAMES = 40
"""Classes whose counts are kept; of more the most frequent."""
MANY = 50_000
"""Rows from which on inputs are described by a draw."""


def overview(dataset: Dataset) -> dict[str, Any]:
    """Plain JSON: `rows` of each part of the split, what `columns` are like, the `target` (of names, how often each is
    there in each part), and the numbers of a few training rows, of every class if there are not too many."""
    parts = {name: rows for name in NAMES if len(rows := dataset.rows(name))}
    found: dict[str, Any] = {"rows": {name: len(rows) for name, rows in parts.items()}, "columns": {}}
    some = np.arange(0, len(dataset), -(-len(dataset) // MANY))
    for name in dataset.inputs:
        if name != PRESENT:
            field = dataset.fields[name]
            found["columns"][name] = {"kind": field.kind, **field.describe(dataset.take(name, some))}
    if dataset.target is not None:
        found["target"] = _target(dataset, parts)
    found["samples"] = _samples(dataset)
    return _short(found)


def _target(dataset: Dataset, parts: dict[str, np.ndarray]) -> dict[str, Any]:
    assert dataset.target is not None
    field = dataset.fields[dataset.target]
    whole = field.describe(dataset.columns[dataset.target])
    if "counts" in whole and len(parts) > 1:
        of_parts = {name: field.describe(dataset.take(dataset.target, rows))["counts"] for name, rows in parts.items()}
        whole["parts"] = {
            n: {part: c.get(n, 0) for part, c in of_parts.items()} for n in [*whole["counts"]][:MOST_NAMES]
        }
    return {"name": dataset.target, "kind": field.kind, **whole}


def _samples(dataset: Dataset) -> list[int]:
    """Training rows from beginning to end, in turn of each class."""
    rows = dataset.rows(TRAIN)
    if dataset.target is None or not len(rows):
        return [int(row) for row in rows[:: max(1, len(rows) // SAMPLES)][:SAMPLES]]
    some = rows[:: -(-len(rows) // 2000)]
    of_class: dict[str, list[int]] = {}
    for row in some.tolist():
        of_class.setdefault(str(dataset.columns[dataset.target][row])[:200], []).append(row)
    if len(of_class) > len(some) // 2:  # numbers, lists: each another one
        return [int(row) for row in some[:: -(-len(some) // SAMPLES)]]
    turns = [rows_of[turn] for turn in range(SAMPLES) for _, rows_of in sorted(of_class.items()) if turn < len(rows_of)]
    return turns[:SAMPLES]


def _short(found: dict[str, Any]) -> dict[str, Any]:
    """Of many counts the first ones, and how many names there are."""
    for name, value in list(found.items()):
        if name == "counts":
            found["distinct"] = len(value)
            found[name] = dict(list(value.items())[:MOST_NAMES])
        elif isinstance(value, dict):
            _short(value)
    return found
