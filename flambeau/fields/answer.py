"""Answer: a part of a text, which answers a question that stands in another column; or that the text has no answer."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from flambeau.core.arrays import missing
from flambeau.core.errors import DataError, UsageError, shown
from flambeau.core.findings import Finding, Severity
from flambeau.core.shapes import Int64
from flambeau.fields.base import FIELDS, Encoding, Field, Ragged
from flambeau.fields.describing import spread
from flambeau.fields.language.raw_texts import usable
from flambeau.fields.text import Text

READ = 4_096  # tokens that are read of a text and of a question about it, where nothing is said of it
NOWHERE = -1
HEAD = 5  # numbers before the places of an encoded answer
NOTHING = -100  # behind the end
ANOTHER = -10  # before each further answer
MARKS = ".,;:!?"


class Part(NamedTuple):
    """A part of a text, by its characters from `start` up to, not including, `end`; both -1 for no part of it. `others`
    are the words of answers that are as good."""

    text: str
    start: int
    end: int
    others: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text[max(self.start, 0) : max(self.end, 0)]


@FIELDS.register("answer")
class Answer(Field):
    """A part of a text. Raw values are the words of it, "" where the text has no answer, or {"text", "start"} where it
    has these words several times; or a list of such, answers that are as good: the first that is in the text is
    learned, and what is said is measured by the one that it is nearest to. A Dataset makes a `Part` of each, of the
    input that has most of them.

    Encoded as int32 (L): the tokens that begin and end it, both -1 for none and -2 where the model does not read so
    far, its characters, how many tokens the text has, where each of them stands, the text's characters, and -10 and the
    characters of each further answer; prepared as int64 (B, L), -100 behind the end. So an answer comes back as it is
    written.
    """

    task = "answer"
    target_only = places_in_input = True
    asked_as = "text"
    fitted = ("reader",)

    def __init__(self) -> None:
        self.reader: dict[str, Any] | None = None
        """The field of the text, as plain JSON: what tokens stand where."""

    def settle(self, dataset: Any, target: str) -> None:
        values = dataset.columns[target]
        if any(isinstance(value, Part) for value in values[:1]):
            return
        names = [name for name in dataset.inputs if isinstance(dataset.fields[name], Text)]
        if len(names) != 2 or len(dataset.inputs) != 2:
            raise UsageError(f"'{target}' holds answers, and the inputs are {', '.join(dataset.inputs)}",
                             expected="two columns of texts: of questions, and of what answers them")  # fmt: skip
        having = {
            name: sum(
                any(words in (usable(text) or "") for words, _ in answers_of(value))
                for value, text in zip(values, dataset.columns[name], strict=True)
            )
            for name in names
        }
        text = max(names, key=lambda name: (having[name], _length(dataset.columns[name])))
        dataset.inputs = [text, *(name for name in names if name != text)]
        parts, lost = [], []
        for row, (value, passage) in enumerate(zip(values, dataset.columns[text], strict=True)):
            part = part_of(usable(passage) or "", value)
            parts.append(part)
            if part is None:
                lost.append(row)
        dataset.columns[target] = parts
        if lost:
            first = f"{shown(answers_of(values[lost[0]])[0][0])} ({dataset.place(lost[0])})"
            told = f"{len(lost)} answer{'s' * (len(lost) > 1)} not in '{text}' as written, left out; the first: {first}"
            dataset.findings.append(
                Finding("answer-elsewhere", Severity.WARNING, told, places=[dataset.place(row) for row in lost],
                        rows=lost, count=len(lost), fix="write the words as the text has them")
            )  # fmt: skip
        if len(lost) == len(values):
            raise DataError(
                f"no answer is in '{text}'", where=dataset.place(0), fix="look whether these are the columns"
            )

    def reads(self, field: Field) -> None:
        self.reader = field.to_dict()
        self.__dict__.pop("_reader", None)

    @cached_property
    def _reader(self) -> Text:
        if self.reader is None:
            raise UsageError("the field of answers is not fitted", fix="call fit of the dataset first")
        field = Field.from_dict(self.reader)
        assert isinstance(field, Text)
        return field

    def fit(self, values: Sequence[Any]) -> None:
        if self.reader is None and values:  # alone: words between spaces
            text = Text("words")
            text.fit([part.text for part in values if isinstance(part, Part)])
            self.reads(text)

    @property
    def encoding(self) -> Encoding:
        return Encoding(np.dtype(np.int32), (), ragged=True)

    @property
    def num_outputs(self) -> int:
        return 2

    def encode(self, value: Any) -> np.ndarray:
        value = self.from_portable(value)
        if not isinstance(value, Part):
            raise DataError("the answer is missing" if missing(value) else f"the answer is {shown(value)}",
                            expected="words of the text beside it")  # fmt: skip
        places = self.places(value.text)
        first = last = NOWHERE
        if value.start >= 0:
            over = [i for i, (begins, ends) in enumerate(places) if begins < value.end and ends > value.start]
            first, last = (over[0], over[-1]) if over else (-2, -2)
        flat = [number for place in places for number in place]
        letters = [ord(letter) for letter in value.text]
        others = [number for words in value.others for number in (ANOTHER, *map(ord, words))]
        return np.asarray([first, last, value.start, value.end, len(places), *flat, *letters, *others], np.int32)

    def places(self, text: str) -> list[tuple[int, int]]:
        """Where each token that a model reads of a text stands in it."""
        return self._reader.places(text)[: self._reader.max_length]

    def prepare(
        self, gathered: Ragged, training: bool = False, generator: torch.Generator | None = None
    ) -> Int64[Tensor, "B L"]:
        return gathered.values.long().masked_fill(~gathered.there, NOTHING)

    def both(self, answers: Tensor, target: Tensor) -> list[tuple[str, tuple[str, ...]]]:
        """What answers (B, 3), tokens that begin and end them, say of the texts of prepared targets (B, L), and what
        may be said: the answer that is learned first."""
        found = []
        for (first, last, _), row in zip(answers.tolist(), target.tolist(), strict=True):
            count = row[4]
            places = row[HEAD : HEAD + 2 * count]
            letters = [n for n in row[HEAD + 2 * count :] if n != NOTHING]
            ends = [*(i for i, n in enumerate(letters) if n == ANOTHER), len(letters)]
            text = "".join(map(chr, letters[: ends[0]]))
            others = ["".join(map(chr, letters[i + 1 : j])) for i, j in itertools.pairwise(ends)]
            first, last = int(first), min(int(last), count - 1)
            start, end = trimmed(text, places[2 * first], places[2 * last + 1]) if 0 <= first <= last else (0, 0)
            found.append((text[start:end], (text[max(row[2], 0) : max(row[3], 0)], *others)))
        return found

    def describe(self, values: Sequence[Any]) -> dict[str, Any]:
        return spread(np.asarray([len(str(v)) for v in values if isinstance(v, Part)], np.float64), "characters")

    def caption(self, value: Any) -> str:
        return super().caption(str(value) if isinstance(value, Part) else value)

    def portable(self, value: Any) -> Any:
        if not isinstance(value, Part):
            return super().portable(value)
        more = {"others": list(value.others)} if value.others else {}
        return {"passage": value.text, "start": value.start, "end": value.end, **more}

    def from_portable(self, value: Any) -> Any:
        known = isinstance(value, Mapping) and "passage" in value
        return Part(value["passage"], value["start"], value["end"], tuple(value.get("others", ()))) if known else value


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """A part of a text without the spaces about it and the mark behind it, which tokens may have with their words."""
    end = start + len(text[start:end].rstrip().rstrip(MARKS))
    return end - len(text[start:end].lstrip()), end


def part_of(text: str, value: Any) -> Part | None:
    """The part of a text that a raw value names: the first with these words, or that nearest to where it says; of
    several answers that of the first that is in the text, beside the others. None where there is no such.

    >>> part_of("Rome, the old town", ["Roma", "old town", "the old town"])
    Part(text='Rome, the old town', start=10, end=18, others=('Roma', 'the old town'))
    """
    answers = answers_of(value)
    for words, about in answers:
        if not words:
            return Part(text, NOWHERE, NOWHERE)
        starts, at = [], text.find(words)
        while at >= 0:
            starts.append(at)
            at = text.find(words, at + 1)
        if starts:
            start = min(starts, key=lambda at: abs(at - about))
            others = dict.fromkeys(other for other, _ in answers if other != words)
            return Part(text, start, start + len(words), tuple(others))
    return None


def answers_of(value: Any) -> list[tuple[str, int]]:
    """The words of each answer that a raw value names, and about where they stand; ("", 0) alone where there is none.

    >>> answers_of({"text": ["in Rome", "Rome"], "answer_start": [7, 10]}), answers_of([])
    ([('in Rome', 7), ('Rome', 10)], [('', 0)])
    """
    start: Any = 0
    if isinstance(value, Mapping):
        value, start = value.get("text"), value.get("start", value.get("answer_start"))
    if isinstance(value, list | tuple):
        starts = start if isinstance(start, list | tuple) else [start] * len(value)
        pairs = zip(value, starts, strict=False)
        each = (one if isinstance(one, Mapping) else {"text": one, "start": at} for one, at in pairs)
        return [answer for one in each for answer in answers_of(one) if answer[0]] or [("", 0)]
    words = "" if missing(value) else str(value).strip()
    return [(words, start if isinstance(start, int) else 0)]


def _length(values: Sequence[Any]) -> int:
    return sum(len(str(value)) for value in values)
