"""Gathers the numbers, categories and dates of a dataset's inputs into one column: a step gathers them at once."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flambeau.core.arrays import missing
from flambeau.core.errors import DataError
from flambeau.core.findings import Finding, Findings
from flambeau.data.dataset import Dataset
from flambeau.fields import Field, Number, Rows, Table

PRESENT = "__present__"
"""The input that says which of the others a row has; there only where some row lacks one."""


def grouped(dataset: Dataset) -> Dataset:
    """The dataset with its tabular inputs as one Table, where it has several inputs or one that only a Table takes.

    The columns stay there too. One Number alone, such as a vector, stays as it is. Where rows lack one of several
    inputs (a picture, a text), such rows may stay, and one more input, PRESENT, says what is there.
    """
    return _with_present(_with_table(dataset))


def _with_table(dataset: Dataset) -> Dataset:
    names = tabular(dataset)
    if not names:
        return dataset
    out = copy.copy(dataset)
    name = _free_name(dataset.columns)
    out.columns = {**dataset.columns, name: Rows({column: dataset.columns[column] for column in names})}
    out.inputs = [name, *(column for column in dataset.inputs if column not in names)]
    table = Table({column: dataset.fields[column] for column in names})
    out.fields = {name: table, **{c: field for c, field in dataset.fields.items() if c not in names}}
    return out


def _with_present(dataset: Dataset) -> Dataset:
    others = optional(dataset.inputs, dataset.fields)
    if len(dataset.inputs) < 2 or not others or PRESENT in dataset.inputs:
        return dataset
    there = present(dataset, others)
    if there[dataset.rows("train")].all():
        return dataset
    out = copy.copy(dataset)
    out.columns = {**dataset.columns, PRESENT: there}  # type: ignore[dict-item]
    out.inputs = [*dataset.inputs, PRESENT]
    out.fields = {**dataset.fields, PRESENT: Number(standardise=False, transform="none")}
    out.optional = frozenset(others)
    return out


def optional(inputs: Sequence[str], fields: Mapping[str, Field]) -> list[str]:
    """Those of several inputs that a row may lack: all but a table, which has its own way with gaps."""
    return [name for name in inputs if name != PRESENT and not fields[name].gathers]


def lacking(dataset: Dataset, name: str) -> np.ndarray:
    """The rows without a value in an input that a row may lack, int64: none where there is one input only."""
    names = tabular(dataset)
    several = len(dataset.inputs) - len(names) + bool(names) > 1
    if not several or name not in dataset.inputs or name in names:
        return np.zeros(0, np.int64)
    return np.flatnonzero([missing(value) for value in dataset.columns[name]])


def present(dataset: Dataset, names: Sequence[str]) -> np.ndarray:
    """float32 (N, M): 1 where a row has the input, 0 where it is missing."""
    return np.stack([np.asarray([not missing(v) for v in dataset.columns[n]], np.float32) for n in names], 1)


def tabular(dataset: Dataset) -> list[str]:
    """The inputs that `grouped` gathers."""
    names = [name for name in dataset.inputs if _is_tabular(dataset, name)]
    alone = len(dataset.inputs) == 1 and names and dataset.fields[names[0]].in_table == "beside"
    return [] if alone else names


def regrouped(dataset: Dataset, fields: Mapping[str, Field], inputs: Sequence[str], target: str | None) -> Dataset:
    """Other data in the form of a run: with the fields as they were fitted, and the columns that its tables gather.

    Raises:
        DataError: a column of the run is missing.
    """
    out = copy.copy(dataset)
    wanted: list[str] = []
    for name in inputs:
        wanted += fields[name].gathers or [name] * (name != PRESENT)
    for column in (*wanted, *([target] if target else [])):
        if column not in dataset.columns:
            raise DataError(f"the data has no column '{column}'", expected=", ".join([*wanted, target or ""]))
    tables = {name: field.columns_of(name) for name, field in fields.items() if field.gathers}
    read_as = {column: field for table in tables.values() for column, field in table.items()}
    out.findings = Findings([*dataset.findings, *unseen(dataset.columns, read_as)])
    rows = {name: Rows({column: dataset.columns[column] for column in table}) for name, table in tables.items()}
    out.columns, out.fields, out.inputs, out.target = {**dataset.columns, **rows}, dict(fields), list(inputs), target
    if PRESENT in inputs:
        others = optional(inputs, fields)
        out.columns[PRESENT] = present(dataset, others)  # type: ignore[assignment]
        out.optional = frozenset(others)
    return out


def unseen(columns: Mapping[str, Sequence[Any]], fields: Mapping[str, Field]) -> list[Finding]:
    """What columns of other data have that no training row had."""
    return [
        finding for name, field in fields.items() if name in columns for finding in field.unseen(name, columns[name])
    ]


def _is_tabular(dataset: Dataset, name: str) -> bool:
    if not dataset.fields[name].in_table:
        return False
    values = dataset.columns[name]
    return values.ndim == 1 if isinstance(values, np.ndarray) else all(np.ndim(v) == 0 for v in values[:100])


def _free_name(columns: Mapping[str, Any]) -> str:
    name = "table"
    while name in columns:
        name += "_"
    return name


def encoded_some(value: Mapping[str, Any], fields: Mapping[str, Field], inputs: Sequence[str]) -> dict[str, np.ndarray]:
    """The encoded columns of a row that may lack some of its inputs: these are blank, and PRESENT says so."""
    others = optional(inputs, fields)
    there = [not missing(value.get(name)) for name in others]
    encoded = {PRESENT: np.asarray(there, np.float32)}
    for name in inputs:
        field = fields[name]
        if name in others and missing(value.get(name)):
            form = field.encoding
            encoded[name] = np.zeros((0, *form.shape) if form.ragged else form.shape, form.dtype)
        elif name != PRESENT:
            encoded[name] = field.encode(value[name])
    return encoded
