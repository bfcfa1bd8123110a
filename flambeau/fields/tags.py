"""Tags: one class for each token of a sentence, such as its part of speech, or the name that it is a part of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from flambeau.core.errors import DataError, shown
from flambeau.core.findings import Finding, Severity
from flambeau.core.shapes import Int64
from flambeau.fields.base import FIELDS, Encoding, Field, Ragged, Recognition
from flambeau.fields.category import class_name, natural
from flambeau.fields.describing import counted
from flambeau.fields.traits import readable

NO_TAG = -100  # behind a sentence's end, as `torch.nn.functional.cross_entropy` leaves it out
UNSEEN = -1  # a tag that no training row has: nothing to learn from, and always wrong
RARE, FEW = 10, 30
MOST = 0.9  # of the values that are lists of names, so that the column is taken for tags
SPAN_TAG = re.compile(r"([BIMESLU])-(.+)")


class Span(NamedTuple):
    """Tokens from `start` up to, not including, `end`, and what they are."""

    start: int
    end: int
    label: str


@FIELDS.register("tags")
class Tags(Field):
    """One class out of K for each token. Raw values are lists of names, as long as the list of tokens, or a string
    with spaces between them. Encoded as int64 (T), prepared as int64 (B, T), -100 behind a sentence's end.

    A tag that no training row has is -1: nothing is learned from it, and whatever is predicted there is wrong.

    Args:
        classes: the tags in order; found in the training rows if not given.
    """

    task = "tags"
    target_only = True
    has_parts = True
    settings = ("classes",)

    def __init__(self, classes: Sequence[str] | None = None):
        self.classes: list[str] = [str(c) for c in classes] if classes else []
        self._given = bool(classes)

    def as_parts(self) -> Tags:
        return self

    @classmethod
    def recognise(cls, values: Sequence[Any]) -> Recognition:
        sample = [v for v in values if v is not None]
        lists = [v for v in sample if isinstance(v, (list, tuple)) and all(isinstance(x, str) for x in v)]
        if not lists or len(lists) <= MOST * len(sample):  # a bad one is named when the store is built
            return Recognition(0.0, "values are not lists of tags")
        sample = lists
        # several labels of one sample differ; tags of one sentence come again
        again = sum(len(set(v)) < len(v) for v in sample)
        distinct, total = len({tag for v in sample for tag in v}), sum(map(len, sample))
        if again >= 0.2 * len(sample) and distinct <= max(FEW, total // 10):
            return Recognition(0.95, f"values are lists of {distinct} names that come again within a list")
        return Recognition(0.3, "values are lists of names")

    scored_by = "accuracy"

    def score(self, answer: Any, truth: Any) -> float:
        tags = self.parts(truth)
        return float(np.mean([one == other for one, other in zip(answer, tags, strict=True)]))

    def parts(self, value: Any) -> list[str]:
        """The tags in a raw value."""
        if isinstance(value, str):
            value = value.split()
        if not isinstance(value, (list, tuple)):
            raise DataError("the tags are missing" if value is None else f"the tags are {shown(value)}",
                            expected="a list with one tag for each token")  # fmt: skip
        names = [class_name(tag) for tag in value]
        if "" in names:
            raise DataError(f"tag {names.index('') + 1} is empty", expected="a name")
        return names

    def describe(self, values: Sequence[Any]) -> dict[str, Any]:
        return counted(tag for tags in readable(self.parts, values) for tag in tags)

    def fit(self, values: Sequence[Any]) -> None:
        if not self._given:
            self.classes = sorted({tag for tags in readable(self.parts, values) for tag in tags}, key=natural)
        self.__dict__.pop("index", None)

    @property
    def encoding(self) -> Encoding:
        return Encoding(np.dtype(np.int64), (), ragged=True)

    @property
    def num_outputs(self) -> int:
        return len(self.classes)

    def encode(self, value: Any) -> np.ndarray:
        return np.asarray([self.index.get(tag, UNSEEN) for tag in self.parts(value)], np.int64)

    def prepare(
        self, gathered: Ragged, training: bool = False, generator: torch.Generator | None = None
    ) -> Int64[Tensor, "B T"]:
        return gathered.values.masked_fill(~gathered.there, NO_TAG)

    def decode(self, output: np.ndarray) -> list[str]:
        """Probabilities (T, K) to a tag for each token."""
        return [self.classes[i] for i in output.argmax(-1)]

    @property
    def has_spans(self) -> bool:
        """Whether the tags mark spans: `O`, and `B-`, `I-` (also `M-`, `E-`, `S-`, `L-`, `U-`) before the name of one.
        A few that are misspelt do not count."""
        marked = [tag for tag in self.classes if tag != "O"]
        return "O" in self.classes and sum(bool(SPAN_TAG.fullmatch(tag)) for tag in marked) > len(marked) / 2

    def check(self, values: Sequence[Any]) -> list[Finding]:
        counts = Counter(tag for tags in readable(self.parts, values) for tag in tags)
        findings = []
        if len(counts) == 1:
            findings.append(
                Finding("one-class", Severity.ERROR, f"there is only one tag, '{next(iter(counts))}'",
                        fix="look whether it is the right column", count=len(values))
            )  # fmt: skip
        rare = {tag: n for tag, n in counts.items() if n < RARE}
        if rare:
            findings.append(
                Finding("few-samples", Severity.NOTE, f"{len(rare)} of {len(counts)} tags come under {RARE} times",
                        places=[f"{tag}: {n}" for tag, n in sorted(rare.items(), key=lambda item: item[1])],
                        count=len(rare), fix="they can hardly be learned: look whether some are misspelt")
            )  # fmt: skip
        return findings


def spans(tags: Sequence[str]) -> list[Span]:
    """The spans that tags mark, in BIO, BIOES or BILOU: read as conlleval does, so that `I-` after another also begins
    one (Tjong Kim Sang, De Meulder 2003, "Introduction to the CoNLL-2003 shared task").

    >>> spans(["B-PER", "I-PER", "O", "I-LOC", "B-LOC"])
    [Span(start=0, end=2, label='PER'), Span(start=3, end=4, label='LOC'), Span(start=4, end=5, label='LOC')]
    """
    found: list[Span] = []
    start, label = 0, ""
    for at, tag in enumerate([*tags, "O"]):
        match = SPAN_TAG.fullmatch(tag)
        mark, name = (match[1], match[2]) if match else ("O", "")
        if label and (mark in "BSUO" or name != label):
            found.append(Span(start, at, label))
            label = ""
        if name and not label:
            start, label = at, name
        if label and mark in "ESLU":
            found.append(Span(start, at + 1, label))
            label = ""
    return found
