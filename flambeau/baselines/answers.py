"""The rival of models that answer questions: the sentence of the text that has most of the question's words."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import torch

from flambeau.baselines.rows import CHUNK, Budget, Rows
from flambeau.fields import Answer
from flambeau.fields.answer import NOTHING
from flambeau.objectives.metrics import Metric
from flambeau.objectives.tasks.answer import plain

SENTENCE = re.compile(r"[^.!?。！？\n]+[.!?。！？]?")


def best_sentence(
    rows: Rows, of: Rows, held_out: np.ndarray, metric: str
) -> list[tuple[str, Callable[[Budget], Sequence[Metric]], bool]]:
    """The sentence with most of the question's words, whole."""
    field = rows.target
    assert isinstance(field, Answer)

    def measured(budget: Budget) -> list[Metric]:
        measures = rows.task.measured_by(False, metric)
        passages, questions = (of.dataset.columns[name] for name in of.dataset.inputs[:2])
        goal = of.dataset.columns[rows.dataset.target or ""]
        for part in np.array_split(held_out, -(-len(held_out) // CHUNK)):
            said, true = [], []
            for row in part.tolist():
                text, asked = str(passages[row]), set(plain(str(questions[row])))
                found = [*SENTENCE.finditer(text)]
                match = max(found, key=lambda m: len(asked & set(plain(m[0]))), default=None)
                places = field.places(text)
                inside = [i for i, (b, e) in enumerate(places) if match and b < match.end() and e > match.start()]
                said.append([inside[0], inside[-1], 1.0] if inside else [-1, -1, 1.0])
                true.append(torch.from_numpy(field.encode(goal[row])).long())
            targets = torch.nn.utils.rnn.pad_sequence(true, True, NOTHING)
            for measure in measures:
                measure.update(torch.tensor(said), targets, torch.from_numpy(part))
        return measures

    return [("the sentence with most of the question's words", measured, False)]
