"""Gathers the numbers, categories and dates of a dataset's inputs into one column, so that a step gathers them at once."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flambeau.core.errors import DataError
from flambeau.data.dataset import Dataset
from flambeau.fields import Category, Date, Field, Number, Rows, Table


def grouped(dataset: Dataset) -> Dataset:
    """The dataset with its tabular inputs as one Table, where it has several inputs or one that only a Table takes.

    The columns stay there too. One Number alone, such as a vector, stays as it is.
    """
    names = [name for name in dataset.inputs if _is_tabular(dataset, name)]
    if not names or (len(dataset.inputs) == 1 and isinstance(dataset.fields[names[0]], Number)):
        return dataset
    out = copy.copy(dataset)
    name = _free_name(dataset.columns)
    out.columns = {**dataset.columns, name: Rows({column: dataset.columns[column] for column in names})}
    out.inputs = [name, *(column for column in dataset.inputs if column not in names)]
    table = Table({column: dataset.fields[column] for column in names})
    out.fields = {name: table, **{c: field for c, field in dataset.fields.items() if c not in names}}
    return out


def regrouped(dataset: Dataset, fields: Mapping[str, Field], inputs: Sequence[str], target: str | None) -> Dataset:
    """Other data in the form of a run: with the fields as they were fitted, and the columns that its tables gather.

    Raises:
        DataError: a column of the run is missing.
    """
    out = copy.copy(dataset)
    wanted = [c for name in inputs for c in (fields[name].columns if isinstance(fields[name], Table) else (name,))]  # type: ignore[attr-defined]
    for column in (*wanted, *([target] if target else [])):
        if column not in dataset.columns:
            raise DataError(f"the data has no column '{column}'", expected=", ".join([*wanted, target or ""]))
    tables = {name: field for name, field in fields.items() if isinstance(field, Table)}
    rows = {name: Rows({c: dataset.columns[c] for c in table.columns}) for name, table in tables.items()}
    out.columns, out.fields, out.inputs, out.target = {**dataset.columns, **rows}, dict(fields), list(inputs), target
    return out


def _is_tabular(dataset: Dataset, name: str) -> bool:
    field = dataset.fields[name]
    if not isinstance(field, Number):
        return isinstance(field, (Category, Date))
    values = dataset.columns[name]
    return values.ndim == 1 if isinstance(values, np.ndarray) else all(np.ndim(v) == 0 for v in values[:100])


def _free_name(columns: Mapping[str, Any]) -> str:
    name = "table"
    while name in columns:
        name += "_"
    return name
