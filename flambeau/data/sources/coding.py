"""Targets in another coding than names or numbers: bytes, members of an Enum, one-hot and multi-hot rows."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np

from flambeau.core.findings import Finding, Severity
from flambeau.fields import Field, MultiLabel

LONGEST = 200  # bytes of a label; what is longer is no name


def plain_targets(values: Any, field: Field | None) -> tuple[Any, Field | None, list[Finding]]:
    """(values, field, findings): targets as fields read them, and a field where the coding tells it.

    Rows of zeros and one 1, of two columns or more, are classes; rows of zeros and any number of ones are labels.

    Args:
        field: what the target is said to be; None where it is not.

    >>> plain_targets([b"cat", b"dog"], None)[0], plain_targets(np.eye(3)[[2, 0]], None)[0]
    (['cat', 'dog'], [2, 0])
    """
    if isinstance(values, np.ndarray) and np.issubdtype(values.dtype, np.bytes_):
        values = values.tolist()
    if not isinstance(values, (list, tuple, np.ndarray)) or (isinstance(values, np.ndarray) and values.ndim != 2):
        return values, field, []
    first = next((value for value in values[:100] if value is not None), None) if len(values) else None
    if isinstance(first, (bytes, np.bytes_)):
        return as_texts(values), field, []
    if isinstance(first, Enum):
        return [value.name if isinstance(value, Enum) else value for value in values], field, []
    if not (field is None or field.has_classes) or not _is_row(first):
        return values, field, []
    several, one = (field is not None and field.one_class is single for single in (False, True))
    if several and isinstance(first, (list, tuple)) and len(first) == 2:
        return values, field, []  # [0, 1] may well be two labels
    if _hot(values[:100]) is None:
        return values, field, []
    hot = _hot(values)
    if hot is None:
        return values, field, []
    count = hot.shape[1]
    given = list(getattr(field, "classes", ()))
    names: list[Any] = given if len(given) == count else list(range(count))
    if not several and bool((hot.sum(1) == 1).all()):
        told = f"the targets are one-hot rows of {count}: each is read as the class of its 1, from {names[0]} on"
        return [names[i] for i in hot.argmax(1)], field, [Finding("one-hot", Severity.NOTE, told)]
    if one:
        return values, field, []
    labels = [[names[i] for i in np.flatnonzero(row)] for row in hot]
    return labels, field or MultiLabel(classes=[str(name) for name in names]), []


def as_texts(values: Any) -> Any:
    """Bytes as texts; as they are where they are none, such as the bytes of a picture."""
    if any(isinstance(value, bytes) and len(value) > LONGEST for value in values):
        return values
    try:
        return [value.decode() if isinstance(value, bytes) else value for value in values]
    except UnicodeDecodeError:
        return values


def _is_row(value: Any) -> bool:
    if isinstance(value, (str, bytes)) or not hasattr(value, "__len__") or not len(value) >= 2:
        return False
    return all(isinstance(part, (bool, int, float, np.generic)) or getattr(part, "ndim", 1) == 0 for part in value)


def _hot(values: Any) -> np.ndarray | None:
    """Rows of zeros and ones as an array (N, K); None for anything else."""
    try:
        rows = np.asarray(values if isinstance(values, np.ndarray) else [np.asarray(value) for value in values])
    except ValueError:  # rows of different lengths
        return None
    if rows.ndim != 2 or rows.dtype.kind not in "biuf":
        return None
    return rows.astype(bool) if bool(((rows == 0) | (rows == 1)).all()) else None
