"""Category: one class out of K."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from flambeau.core.arrays import missing
from flambeau.core.errors import DataError, nearest
from flambeau.core.findings import Finding, Severity
from flambeau.fields.base import FIELDS, Encoding, Field, Recognition
from flambeau.fields.columns import Names, counts_of, mapped
from flambeau_onnx.cutting import meant

FEW_CLASSES = 30
FEW, FEW_UNSEEN = 3, 0.1  # classes that are told; a share of the values above which it is grave
RARE, LEAST_RARE = 0.4, 10  # share of an even share, and training rows


def class_name(value: Any) -> str:
    """A raw label as a class name: 1, 1.0 and "1" are one class.

    Raises:
        DataError: the label is missing.

    >>> class_name(1.0), class_name("cat"), class_name(True)
    ('1', 'cat', 'True')
    """
    if value is None:
        raise DataError("the label is missing", expected="a class")
    if isinstance(value, (float, np.floating)):
        if np.isnan(value):
            raise DataError("the label is NaN", expected="a class")
        if float(value).is_integer():
            return str(int(value))
    return str(value)


def _retyped(value: Any, name: str) -> float | str | None:
    """The same of a value, unless it is a text that nothing shows to have been changed: "7" may be another code than
    "007"."""
    if isinstance(value, str) and name.lower() not in ("true", "false") and not name.endswith(".0"):
        return None
    return meant(name)


def natural(name: str) -> tuple[int, float, str]:
    """A sort key: numbers by value, before words."""
    try:
        return (0, float(name), name)
    except ValueError:
        return (1, 0.0, name)


def unknown_class(name: str, classes: Sequence[str]) -> DataError:
    """The error for a class that no training row has."""
    # looking for the nearest of many names takes longer than reading a picture, and there may be many such rows
    fix = nearest(name, classes) if len(classes) <= FEW_CLASSES else None
    return DataError(f"the class '{name}' is not among the {len(classes)} classes of the training rows", fix=fix)


def _joined(names: Collection[str]) -> tuple[str, str] | None:
    """What may stand between labels in some names, and one of those; none of their parts is found once only."""
    for separator in (", ", ",", "/", "+", "&", " "):
        parts = {name: [part.strip() for part in name.split(separator)] for name in names}
        several = [name for name, labels in parts.items() if len(labels) > 1 and all(labels)]
        times = Counter(label for labels in parts.values() for label in labels)
        alone = {label for name in several for label in parts[name]} & set(names)
        if len(several) > 1 < len(alone) and all(times[label] > 1 for name in several for label in parts[name]):
            return separator, several[0]
    return None


def _counted(values: Sequence[Any]) -> Counter[str]:
    """How often each class is there, without missing labels.

    Raises:
        DataError: a value is several.
    """
    counts, of_values = Counter[str](), counts_of(values)
    if sum(count for _, count in of_values) != len(values):
        raise DataError("a value is several, and no class", expected="one name or whole number a row")
    for value, count in of_values:
        if value is not None and value == value:
            counts[class_name(value)] += count
    return counts


@FIELDS.register("category")
class Category(Field):
    """One class out of K. Encoded as int64, its place in `classes`.

    Args:
        classes: the classes in order; found in the training rows if not given.
    """

    one_class = True
    in_table = "always"
    task = "classes"
    has_classes = True
    settings = ("classes",)
    fitted = ("counts",)
    after = fitted

    def __init__(self, classes: Sequence[str] | None = None):
        self.classes: list[str] = [str(c) for c in classes] if classes else []
        self._given = bool(classes)
        self.counts: list[int] = []
        """Training rows of each class."""

    @classmethod
    def recognise(cls, values: Sequence[Any]) -> Recognition:
        sample = [v for v in values if v is not None]
        if not sample or not isinstance(sample[0], (str, bool, np.bool_, int, np.integer, float, np.floating)):
            return Recognition(0.0, "values are not names or whole numbers")
        try:
            distinct = set(sample)
        except TypeError:
            return Recognition(0.0, "values are not names or whole numbers")
        if isinstance(sample[0], (bool, np.bool_)):
            return Recognition(0.9, "values are true or false")
        if isinstance(sample[0], str):
            repeated = len(distinct) <= max(20, len(sample) // 2)
            return Recognition(0.8 if repeated else 0.3, f"{len(distinct)} distinct names")
        if any(isinstance(v, str) for v in distinct):
            return Recognition(0.5, "values are names and numbers")
        whole = all(float(v).is_integer() for v in distinct if v == v)
        few = len(distinct) <= max(20, min(1000, len(sample) // 10))
        return Recognition(0.7 if whole and few else 0.1, f"{len(distinct)} distinct whole numbers")

    @classmethod
    def why(cls, values: Sequence[Any], of_sample: str) -> str:
        there = [name for name, _ in counts_of(values)] if isinstance(values, Names) else values
        score, why = cls.recognise(there)
        return why if score else of_sample

    def names(self, value: Any) -> list[str]:
        return [class_name(value)]

    def fit(self, values: Sequence[Any]) -> None:
        counts = _counted(values)
        if not self._given:
            self.classes = sorted(counts, key=natural)
        self.counts = [counts[name] for name in self.classes]
        self.__dict__.pop("index", None)
        self.__dict__.pop("_retyped", None)

    @property
    def rarest(self) -> int:
        """The class with the fewest training rows, the last of equal ones; 0 where none were counted."""
        return max(range(len(self.counts)), key=lambda i: (-self.counts[i], i), default=0)

    @property
    def rare(self) -> bool:
        """Whether a class is so rare that accuracy says little: under two fifths of an even share, which of two classes
        is 20 %, and enough rows to tell how well it is found."""
        there = [count for count in self.counts if count >= LEAST_RARE]
        return len(there) > 1 and min(there) * len(self.counts) < RARE * sum(self.counts)

    def describe(self, values: Sequence[Any]) -> dict[str, Any]:
        return {"counts": dict(_counted(values).most_common())}

    def asks(self, column: str) -> list[dict[str, Any]]:
        return [{"name": column, "kind": "category", "choices": self.classes}]

    def numbered(self, values: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
        """A number for each distinct value, in the order of their first rows."""
        known: dict[Any, int] = {}
        numbers = np.full(len(values), np.nan)
        for row, value in enumerate(values):
            if missing(value):
                continue
            try:
                numbers[row] = known.setdefault(value, len(known))
            except TypeError:
                continue  # a list is no category
        return numbers, np.zeros(0, np.int64)

    def example(self) -> str | None:
        return self.classes[0] if self.classes else None

    def portable(self, value: Any) -> Any:
        return None if value is None or value != value else class_name(value)

    @property
    def encoding(self) -> Encoding:
        return Encoding(np.dtype(np.int64), ())

    @property
    def num_outputs(self) -> int:
        return len(self.classes)

    def unseen(self, column: str, values: Sequence[Any]) -> list[Finding]:
        """Categories that no training row had: many, where they are written otherwise."""
        counts = [(value, count) for value, count in counts_of(values) if not missing(value)] if self.classes else []
        unknown = [(value, count) for value, count in counts if self.place(value) is None]
        total, strange = sum(count for _, count in counts), sum(count for _, count in unknown)
        if not strange:
            return []
        known = ", ".join(f"'{one}'" for one in self.classes[:FEW])
        grave = strange > FEW_UNSEEN * total
        return [
            Finding("unseen-category", Severity.WARNING if grave else Severity.NOTE,
                    f"{strange} of {total} values of '{column}' are taken as unknown, for no training row had them, "
                    f"such as '{unknown[0][0]}'; training had such as {known}", count=strange,
                    fix="look whether the column is written as it was" if grave else "")
        ]  # fmt: skip

    def place(self, value: Any) -> int | None:
        """The number of a raw value's class; None where no training row has it.

        A value that has been through a program that knows types is found again where one class only can be meant: 7 and
        "7.0" are the class "007" where there is no "7", and True is "true".

        Raises:
            DataError: the label is missing.
        """
        name = class_name(value)
        found = self.index.get(name)
        if found is None and isinstance(value, str):  # of a file that a program wrote as whole numbers, not as floats
            found = self.index.get(f"{name}.0")
        return found if found is not None else self._retyped.get(_retyped(value, name))

    @cached_property
    def _retyped(self) -> dict[float | str | None, int]:
        """The classes by what programs make of their names, where that is of one class only."""
        known = [meant(name) for name in self.classes]
        times = Counter(known)
        return {what: place for place, what in enumerate(known) if what is not None and times[what] == 1}

    def signals(self, name: str, value: Any, encoded: np.ndarray | None) -> dict[str, float | str | None]:
        return {name: None if value is None or value != value else self._known(value)}

    def _known(self, value: Any) -> str:
        """The class that a raw value means; of one that no training row has its own name."""
        return class_name(value) if (place := self.place(value)) is None else self.classes[place]

    scored_by = "accuracy"

    def score(self, answer: Any, truth: Any) -> float:
        return float(class_name(answer) == self._known(truth))

    def encode(self, value: Any) -> np.ndarray:
        place = self.place(value)
        if place is None:
            raise unknown_class(class_name(value), self.classes)
        return np.asarray(place)

    def _number(self, name: str | None) -> int:
        """The place of a class, -1 where there is none."""
        place = None if name is None else self.place(name)
        return -1 if place is None else place

    def encode_all(self, values: Sequence[Any]) -> np.ndarray | None:
        if isinstance(values, Names):
            places = mapped(values, self._number)
            return None if (places < 0).any() else places  # each is named where it is encoded alone
        if isinstance(values, np.ndarray) or not all(type(value) is str for value in values):
            return None
        try:
            return np.fromiter(map(self.index.__getitem__, values), np.int64, len(values))
        except KeyError:
            return None  # each is named where it is encoded alone

    def decode(self, output: np.ndarray) -> str:
        """Probabilities (K) to the likeliest class."""
        return self.classes[int(output.argmax())]

    def check(self, values: Sequence[Any]) -> list[Finding]:
        counts = _counted(values)
        findings: list[Finding] = []
        if len(counts) <= FEW_CLASSES * 10 and (joined := _joined(counts)):
            findings.append(
                Finding("joined-names", Severity.NOTE,
                        f"names such as '{joined[1]}' are made of others with '{joined[0]}' between",
                        fix=f"if a row has several labels: read={{column: 'labels:{joined[0]}'}} (--read "
                            f"'COLUMN=labels:{joined[0]}')", count=len(counts))
            )  # fmt: skip
        if len(counts) == 1:
            message, fix = f"there is only one class, '{next(iter(counts))}'", "add samples of at least one other class"
            findings.append(Finding("one-class", Severity.ERROR, message, fix=fix, count=len(values)))
        few = {name: n for name, n in counts.items() if n < 10}
        if few:
            message, fix = (
                f"{len(few)} of {len(counts)} classes have under 10 samples",
                "collect more, or leave them out",
            )
            places = [f"{name}: {n}" for name, n in sorted(few.items(), key=lambda item: item[1])]
            findings.append(Finding("few-samples", Severity.WARNING, message, places=places, fix=fix, count=len(few)))
        if len(counts) > 1:
            (most, n_most), *_, (least, n_least) = counts.most_common()
            if n_most > 10 * n_least:
                times = f"{n_most / n_least:.0f} times fewer"
                message = f"'{most}' has {n_most} samples and '{least}' has {n_least}, {times}"
                fix = "read the per-class recall in the report, not accuracy alone"
                findings.append(Finding("imbalance", Severity.WARNING, message, fix=fix, count=len(counts)))
        return findings
