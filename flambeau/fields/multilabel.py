"""MultiLabel: any number of classes out of K at once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from flambeau.core.errors import DataError, shown
from flambeau.core.findings import Finding, Severity
from flambeau.fields.base import FIELDS, Encoding, Field, Recognition
from flambeau.fields.category import class_name, natural, unknown_class
from flambeau.fields.describing import counted
from flambeau.fields.traits import readable

SEPARATORS = ";|, "
BRACKETS = "[,]"
"""The separator of lists as programs write them: "['a', 'b']", with or without quotes, in any brackets."""
_LIST = re.compile(r"\s*(?:\[.*\]|\(.*\)|\{.*\})\s*", re.DOTALL)
_LISTED = re.compile(r"""'([^']*)'|"([^"]*)"|([^\s,\[\](){}'"][^,\[\](){}]*)""")
LEAST = 0.05
"""Share of the values that several names must be in."""


@FIELDS.register("multilabel")
class MultiLabel(Field):
    """Any number of classes out of K. Raw values are lists of names, or one string with a separator.

    Encoded as float32 (K), 1 where the class is present.

    Args:
        classes: the classes in order; found in the training rows if not given.
        separator: what stands between names in a string; `[,]` for lists in brackets, such as "['a', 'b']".
        threshold: the probability from which a class counts as predicted.
    """

    task = "labels"
    has_classes = True
    target_only = True
    settings = ("classes", "separator", "threshold")

    def __init__(self, classes: Sequence[str] | None = None, separator: str = ";", threshold: float = 0.5):
        self.classes: list[str] = [str(c) for c in classes] if classes else []
        self._given = bool(classes)
        self.separator, self.threshold = separator, threshold

    scored_by = "exact_match"

    def score(self, answer: Any, truth: Any) -> float:
        return float({*answer} == {*self.names(truth)})

    def names(self, value: Any) -> list[str]:
        """The class names in one raw value; an empty string or list has none."""
        if isinstance(value, str) and self.separator == BRACKETS:
            return _listed(value)
        if isinstance(value, str):
            return [name for part in value.split(self.separator) if (name := part.strip())]
        if value is None or (isinstance(value, float) and value != value):
            raise DataError("the labels are missing", expected="a list of classes (an empty one for none)")
        if not isinstance(value, Iterable):
            raise DataError(f"the labels are {shown(value)}", expected="a list of classes")
        return [class_name(v) for v in value]

    def joined(self, names: Sequence[str]) -> str:
        """Names as a raw value in one string, which `names` reads back."""
        return str([*names]) if self.separator == BRACKETS else self.separator.join(names)

    def describe(self, values: Sequence[Any]) -> dict[str, Any]:
        return counted(name for names in readable(self.names, values) for name in names)

    @classmethod
    def recognise(cls, values: Sequence[Any]) -> Recognition:
        if len(values) and all(isinstance(v, (list, tuple, set)) for v in values):
            names = all(isinstance(x, str) for v in values for x in v)
            return Recognition(0.9 if names else 0.2, "values are lists of names")
        strings = [v for v in values if isinstance(v, str)]
        if separator := _separator(strings):
            return Recognition(0.85, f"values are names joined by '{separator}'")
        return Recognition(0.0, "values are not lists")

    @classmethod
    def suiting(cls, values: Sequence[Any]) -> MultiLabel:
        return cls(separator=_separator([v for v in values if isinstance(v, str)]) or ";")

    @classmethod
    def from_reading(cls, text: str) -> MultiLabel:
        return cls(separator=text or ";")

    @property
    def reading(self) -> str:
        return f"{self.kind}:{self.separator}"

    def as_parts(self) -> Field:
        from flambeau.fields.tags import Tags

        return Tags()

    def read_text(self, text: str) -> Any:
        return self.names(text)

    def check(self, values: Sequence[Any]) -> list[Finding]:
        """That texts are taken apart."""
        joined = next((v for v in values if isinstance(v, str) and len(self.names(v)) > 1), None)
        if joined is None:
            return []
        return [
            Finding("several-labels", Severity.NOTE,
                    f"a row may have several labels, {'in' if self.separator == BRACKETS else 'joined by'} "
                    f"'{self.separator}', such as '{joined}'",
                    fix="if that is one class: read={column: 'category'} (--read COLUMN=category)")
        ]  # fmt: skip

    def fit(self, values: Sequence[Any]) -> None:
        if not self._given:
            self.classes = sorted({name for names in readable(self.names, values) for name in names}, key=natural)

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


def _listed(text: str) -> list[str]:
    return [name for found in _LISTED.findall(text) if (name := "".join(found).strip())]


def _separator(texts: Sequence[str]) -> str | None:
    """What stands between the names in some texts; None where each is one."""
    written = {text for text in texts if text.strip()}
    if written and all(map(_LIST.fullmatch, written)):
        lists = [_listed(text) for text in written]  # one-hot rows have 0 more than once
        if max(map(len, lists)) > 1 and all(len(set(names)) == len(names) for names in lists):
            return BRACKETS
    for separator in SEPARATORS:
        if sum(separator in v for v in texts) > LEAST * len(texts) and _are_joined(set(texts), separator):
            return separator
    return None


def _are_joined(values: set[str], separator: str) -> bool:
    """Whether what stands between the separators comes back elsewhere, as labels do and the halves of a name do not."""
    whole = [[p.strip() for p in v.split(separator) if p.strip()] for v in values]
    counts = Counter(p for parts in whole for p in parts)
    if separator in ";|":
        return len(counts) < counts.total()
    # words and places have spaces and commas in them: labels are few, come in many combinations, and never twice
    again = sum(count > 1 for count in counts.values())
    return (
        len(values) >= 2 * len(counts)
        and again >= 0.9 * len(counts)
        and len({len(parts) for parts in whole}) > 2
        and all(len(set(parts)) == len(parts) for parts in whole)
    )
