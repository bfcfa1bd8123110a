"""MultiLabel: any number of classes out of K at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from flambeau.core.errors import DataError, shown
from flambeau.fields.base import FIELDS, Encoding, Field, Recognition
from flambeau.fields.category import class_name, natural, unknown_class


@FIELDS.register("multilabel")
class MultiLabel(Field):
    """Any number of classes out of K. Raw values are lists of names, or one string with a separator.

    Encoded as float32 (K), 1 where the class is present.

    Args:
        classes: the classes in order; found in the training rows if not given.
        separator: what stands between names in a string.
        threshold: the probability from which a class counts as predicted.
    """

    kind = "multilabel"
    target_only = True
    settings = ("classes", "separator", "threshold")

    def __init__(self, classes: Sequence[str] | None = None, separator: str = ";", threshold: float = 0.5):
        self.classes: list[str] = [str(c) for c in classes] if classes else []
        self._given = bool(classes)
        self.separator, self.threshold = separator, threshold

    def names(self, value: Any) -> list[str]:
        """The class names in one raw value; an empty string or list has none."""
        if isinstance(value, str):
            return [name for part in value.split(self.separator) if (name := part.strip())]
        if value is None or (isinstance(value, float) and value != value):
            raise DataError("the labels are missing", expected="a list of classes (an empty one for none)")
        if not isinstance(value, Iterable):
            raise DataError(f"the labels are {shown(value)}", expected="a list of classes")
        return [class_name(v) for v in value]

    def _names_or_none(self, value: Any) -> list[str]:
        try:
            return self.names(value)
        except DataError:
            return []  # named when the store is built

    @classmethod
    def recognise(cls, values: Sequence[Any]) -> Recognition:
        if len(values) and all(isinstance(v, (list, tuple, set)) for v in values):
            names = all(isinstance(x, str) for v in values for x in v)
            return Recognition(0.9 if names else 0.2, "values are lists of names")
        strings = [v for v in values if isinstance(v, str)]
        if strings and sum(";" in v for v in strings) > len(strings) // 5 and _parts_repeat(strings):
            return Recognition(0.85, "values are names joined by ';'")
        return Recognition(0.0, "values are not lists")

    def fit(self, values: Sequence[Any]) -> None:
        if not self._given:
            self.classes = sorted({n for v in values for n in self._names_or_none(v)}, key=natural)

    @property
    def encoding(self) -> Encoding:
        return Encoding(np.dtype(np.float32), (len(self.classes),))

    @property
    def num_outputs(self) -> int:
        return len(self.classes)

    def encode(self, value: Any) -> np.ndarray:
        row = np.zeros(len(self.classes), np.float32)
        for name in self.names(value):
            if name not in self.classes:
                raise unknown_class(name, self.classes)
            row[self.classes.index(name)] = 1
        return row

    def decode(self, output: np.ndarray) -> list[str]:
        """Probabilities (K) to the classes at or above the threshold."""
        return [name for name, p in zip(self.classes, output, strict=True) if p >= self.threshold]


def _parts_repeat(values: list[str]) -> bool:
    """Whether what stands between the separators comes back elsewhere, as labels do and the halves of a name do not."""
    whole = [v.split(";") for v in set(values)]
    parts = [p.strip() for v in whole for p in v]
    return len(set(parts)) < len(parts)
