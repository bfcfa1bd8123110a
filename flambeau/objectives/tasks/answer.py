"""Question answering: the part of a text that answers a question.

flambeau train squad.json
flambeau train rows.csv --input question --input context --target answer --objective question-answering
flambeau predict runs/squad '{"context": "Anna was born in 1923.", "question": "When was Anna born?"}'
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from flambeau.data.batch import Batch
from flambeau.fields import Answer, Field, Text
from flambeau.fields.answer import READ, trimmed
from flambeau.models.spec import OutputSpec
from flambeau.objectives.base import OBJECTIVES
from flambeau.objectives.classification import Worst
from flambeau.objectives.intervals import GROUPS, Grouped, groups_of
from flambeau.objectives.metrics import Metric
from flambeau.objectives.prediction import UNKNOWN, Prediction
from flambeau.objectives.supervised import Supervised
from flambeau.objectives.tasks.base import TASKS, Task

LONGEST = 40  # tokens of an answer
ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


@TASKS.register("answer")
class Answered(Task):
    """Cross-entropy of the tokens that begin and end an answer, over logits (B, 2, 1 + T) of which the first is that
    there is none. Targets are those of `Answer`, (B, L); answers are (B, 3): the token that begins one and that which
    ends it, both -1 for none, and the probability of both."""

    field: Answer
    default_loss = "tag_cross_entropy"
    metric_names = ("f1", "exact_match")
    rivals = "answers"
    unmixable = "an answer to two questions at once is none"
    objective = "question-answering"
    greatest_error = 1.0
    numbers = True  # tokens' numbers, which half precision would round

    @property
    def output_spec(self) -> OutputSpec:
        return OutputSpec(self.field.num_outputs, "span")

    def learned(self, batch: Batch) -> Tensor:
        """The places (B, 2) that are to be foretold: 0 for no answer, below it where the model does not see it."""
        return batch.target[:, :2] + 1

    def answer(self, output: Any, inputs: Any) -> Any:
        return best(output)

    def activate(self, output: Tensor) -> Tensor:
        return best(output)

    def exported(self, output: Any, inputs: Any) -> dict[str, Tensor]:
        """`scores` (B, 2, 1 + T), of which `finished` takes the likeliest answer."""
        return {"scores": output}

    def finished(self, given: Mapping[str, Tensor]) -> Tensor:
        return given[self.answers] if self.answers in given else best(given["scores"])

    def raw(self, given: Mapping[str, Tensor]) -> Tensor:
        return given["scores"]

    def decode(
        self, output: np.ndarray, reject_below: float = 0.0, asked: Field | None = None, value: Any = None
    ) -> Prediction:
        first, last, sure = int(output[0]), int(output[1]), float(output[2])
        places = self.field.places(str(value)) if first >= 0 else []
        if not 0 <= first < len(places):
            return Prediction("" if sure >= reject_below else UNKNOWN, sure)
        start, end = trimmed(str(value), places[first][0], places[min(last, len(places) - 1)][1])
        label = str(value)[start:end] if sure >= reject_below else UNKNOWN
        return Prediction(label, sure, place=(start, end))

    def metrics(self, detail: bool, asked: str = "auto") -> list[Metric]:
        return [Overlap(self.field, detail)]

    def row_errors(self, answers: Tensor, target: Tensor) -> Tensor:
        """An answer is as wrong as its words and those of the nearest answer of the target differ."""
        return answers.new_tensor([1 - nearest(said, true)[1] for said, true in self.field.both(answers, target)])


@OBJECTIVES.register("question-answering")
class QuestionAnswering(Supervised):
    """Supervised training on answers that are parts of a text."""

    layout = "span"
    augments = False  # words that move take an answer's place with them

    @classmethod
    def fields_of(cls, target: str | None, inputs: Sequence[str]) -> dict[str, Field]:
        return {**{name: Text(max_length=READ) for name in inputs}, **({} if target is None else {target: Answer()})}


def best(output: Tensor) -> Tensor:
    """Of logits (B, 2, 1 + T) the likeliest beginning and end, no more than LONGEST tokens apart, float32 (B, 3)."""
    chances = output.float().softmax(2)
    begin, end = chances[:, 0, 1:], F.pad(chances[:, 1, 1:], (0, LONGEST - 1))
    spans = begin[:, :, None] * end.unfold(1, LONGEST, 1)  # (B, T, LONGEST), by the tokens from one to the other
    sure, at = spans.flatten(1).max(1)
    none = chances[:, 0, 0] * chances[:, 1, 0]
    there = sure > none
    first = torch.where(there, at // LONGEST, -1).float()
    last = torch.where(there, at // LONGEST + at % LONGEST, -1).float()
    return torch.stack([first, last, torch.where(there, sure, none)], 1)


def plain(text: str) -> list[str]:
    """The words of an answer as SQuAD compares them: without capitals, punctuation and articles.

    >>> plain("The Eiffel-Tower!"), plain("a")
    (['eiffeltower'], [])
    """
    return ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split()


def f1(said: str, true: str) -> float:
    """How far the words of two answers are the same, 0…1 (Rajpurkar et al. 2016, arXiv:1606.05250); of no answer
    whether both are none.

    >>> f1("the tower", "Tower"), f1("old tower", "tower"), f1("", "tower"), f1("", "")
    (1.0, 0.6666666666666666, 0.0, 1.0)
    """
    one, other = plain(said), plain(true)
    if not one or not other:
        return float(one == other)
    shared = sum((Counter(one) & Counter(other)).values())
    return 2 * shared / (len(one) + len(other))


def nearest(said: str, answers: Sequence[str]) -> tuple[float, float]:
    """The best exact match and the best F1 of an answer to several that are as good, each by itself, as SQuAD's script
    takes them; those of nothing but articles and punctuation are none.

    >>> nearest("the old town", ["Roma", "old town of Rome", "Old Town"]), nearest("", ["the"])
    ((1.0, 1.0), (1.0, 1.0))
    """
    valid = [answer for answer in answers if plain(answer)] or [""]
    return max(float(plain(said) == plain(answer)) for answer in valid), max(f1(said, answer) for answer in valid)


class Overlap(Grouped):
    """SQuAD's exact match and F1 of answers (B, 3) to targets (B, L), of the best of several, and of how many it is
    right whether there is an answer."""

    proportions = ("exact_match",)

    def __init__(self, field: Answer, detail: bool):
        self.field, self.keep = field, detail
        self.sums = torch.zeros(GROUPS, 4, dtype=torch.float64)  # rows, exact, F1, rightly answered or not
        self.worst = Worst()

    def update(self, output: Tensor, target: Tensor, rows: Tensor) -> None:
        pairs = self.field.both(output, target)
        terms = [[1.0, *nearest(said, true), (said == "") == (not any(true))] for said, true in pairs]
        told = torch.tensor(terms, dtype=torch.float64)
        self.sums.index_add_(0, groups_of(rows), told)
        if self.keep:
            wrong = (1 - told[:, 2]) * (1 + output[:, 2].double().cpu())

            def tell(i: int) -> dict[str, Any]:
                said, true = pairs[i]
                return {"true": " / ".join(filter(None, true)) or "(none)", "predicted": said or "(none)"}

            self.worst.offer(wrong, rows, tell)

    @property
    def count(self) -> int:
        return int(self.sums[:, 0].sum())

    def score(self, sums: Tensor) -> dict[str, Tensor]:
        rows = sums[:, 0].clamp_min(1)
        return {"f1": sums[:, 2] / rows, "exact_match": sums[:, 1] / rows, "answerable": sums[:, 3] / rows}

    def detail(self) -> dict[str, Any]:
        return {"kind": "texts", "worst": self.worst.listed()}
