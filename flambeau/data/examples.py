"""A few rows to try a model on, small enough to lie in a run."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from flambeau.core.errors import DataError
from flambeau.data.dataset import Dataset
from flambeau.data.grouping import PRESENT

COUNT = 3
MOST_BYTES = 65_536
"""Of one example; a row that is larger is none."""


def examples(dataset: Dataset) -> list[dict[str, Any]]:
    """The inputs of a few training rows, far from each other, as plain JSON; of pictures and sounds small copies."""
    rows = dataset.rows("train")
    inputs = [column for column in dataset.inputs if column != PRESENT]
    found: list[dict[str, Any]] = []
    for row in rows[np.linspace(0, len(rows) - 1, 2 * COUNT + 1)[1::2].astype(int)] if len(rows) else ():
        try:
            example = {c: dataset.fields[c].portable(dataset.columns[c][int(row)]) for c in inputs}
            text = json.dumps(example)
        except (DataError, TypeError, ValueError, AttributeError, OSError):
            continue  # a value that the training leaves out too
        if len(text) <= MOST_BYTES and example not in found:
            found.append(json.loads(text, parse_constant=lambda _: None))
    return found
