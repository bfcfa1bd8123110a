"""Which kind of field a column is: by its values, or as a person says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flambeau.core.errors import UsageError, shown
from flambeau.fields.base import FIELDS, Field, Recognition


def recognise(values: Sequence[Any], *, target: bool = False) -> tuple[Field, str]:
    """The field whose kind suits a sample of raw values best, and why.

    Raises:
        UsageError: no kind suits.
    """
    best: tuple[Recognition, type[Field]] | None = None
    for _, field_class in FIELDS.items():
        if field_class.input_only if target else field_class.target_only:
            continue
        found = field_class.recognise(values)
        if not target and field_class.kind == "category" and _are_numbers(values):
            continue  # few whole numbers are classes as a target; as an input they have an order
        if best is None or found.score > best[0].score:
            best = (found, field_class)
    if best is None or best[0].score <= 0:
        example = values[0] if len(values) else None
        raise UsageError(
            f"no kind of field suits values such as {shown(example)}",
            fix="set one by hand: fields={'column': fb.fields.…}",
        )
    return best[1].suiting(values), best[0].why


AS_WRITTEN = "text"
"""Says of a column that its texts are neither numbers nor dates, whatever they look like."""


def field_to_read(reading: str) -> Field | None:
    """The field that `--read COLUMN=READING` means: `number:de`, `date:%m/%d/%y`, `category`, `labels:|`; None for
    `text`, which leaves the texts as they are.

    >>> field_to_read("number:de").reading, field_to_read("labels:|").reading
    ('number:de', 'multilabel:|')

    Raises:
        UsageError: there is no such kind, or it cannot be read so.
    """
    kind, _, text = reading.partition(":")
    kind = {"labels": "multilabel"}.get(kind.strip(), kind.strip())
    return None if reading == AS_WRITTEN else FIELDS[kind].from_reading(text)


def _are_numbers(values: Sequence[Any]) -> bool:
    known = [v for v in values if v is not None]
    return all(isinstance(v, (int, float, np.number)) and not isinstance(v, (bool, np.bool_)) for v in known)


def chosen(fields: Mapping[str, Field] | None) -> dict[str, dict[str, Any]] | None:
    """What was chosen by hand, as plain data; None where nothing was."""
    return {name: field.chosen() for name, field in fields.items()} if fields else None
