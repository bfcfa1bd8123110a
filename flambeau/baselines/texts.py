"""The rival of models that write texts: each word of the source as the word that it goes with most often.

The table is IBM's first model (Brown et al. 1993, "The mathematics of statistical machine translation"), found by a few
rounds of expectation and maximisation over the pairs of the training rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from flambeau.baselines.rows import CHUNK, Budget, Rows
from flambeau.fields.language.raw_texts import usable
from flambeau.fields.language.tokenizers import cutter, plain, suited
from flambeau.objectives.metrics import Metric

ROUNDS = 5
MOST_PAIRS = 20_000_000  # of words that stand in the same row
MOST_WORDS = 100  # of a text


def word_by_word(
    rows: Rows, of: Rows, held_out: np.ndarray, metric: str
) -> list[tuple[str, Callable[[Budget], Sequence[Metric]], bool]]:
    """What writes, for each word of a source, the word of the target that explains it best; one that training did not
    have as it is."""
    name = rows.dataset.inputs[0]
    if len(rows.dataset.inputs) != 1 or rows.dataset.fields[name].asked_as != "text":
        return []

    def measured(budget: Budget) -> list[Metric]:
        source, target = (rows.dataset.columns[column] for column in (name, rows.dataset.target or ""))
        pairs = [(usable(source[row]), usable(target[row])) for row in rows.train.tolist()]
        table = Table([(one, other) for one, other in pairs if one and other], budget)
        measures = rows.task.measured_by(False, metric)
        column, goal = of.dataset.columns[name], of.dataset.columns[rows.dataset.target or ""]
        for part in np.array_split(held_out, -(-len(held_out) // CHUNK)):
            said = [rows.target.encode(table(usable(column[row]) or "") or " .")[1:] for row in part.tolist()]
            true = [rows.target.encode(goal[row]) for row in part.tolist()]
            answers, targets = (
                pad_sequence([torch.from_numpy(one).long() for one in each], True, -1) for each in (said, true)
            )
            for measure in measures:
                measure.update(answers.float(), targets, torch.from_numpy(part))
        return measures

    return [("word by word", measured, False)]


class Table:
    """From each word of one language to the word of another."""

    def __init__(self, pairs: Sequence[tuple[str, str]], budget: Budget):
        kinds = [suited(text for text, _ in pairs[:1000]), suited(text for _, text in pairs[:1000])]
        self.cut, cut_target = cutter(kinds[0]), cutter(kinds[1])
        self.joint = " " if kinds[1] == "words" else ""
        rows = [[self.words(one), cut_target(other)[:MOST_WORDS]] for one, other in pairs]
        index: tuple[dict[str, int], dict[str, int]] = ({}, {})
        sources, targets, begins = [], [], []
        count = 0
        for words in rows:
            numbers = [
                [known.setdefault(word, len(known)) for word in part] for known, part in zip(index, words, strict=True)
            ]
            # each word of the target beside all of the source's: one group of pairs, whose shares add up to 1
            for word in numbers[1]:
                begins.append(count)
                sources += numbers[0]
                targets += [word] * len(numbers[0])
                count += len(numbers[0])
            if count > MOST_PAIRS:
                budget.notes.append(f"of the first {len(begins):,} words")
                break
        self.index, named = index[0], [*index[1]]
        at = np.asarray(sources, np.int64) * max(len(named), 1) + np.asarray(targets, np.int64)
        keys, place = np.unique(at, return_inverse=True)
        owner, starts = keys // max(len(named), 1), np.asarray(begins, np.int64)
        share: np.ndarray = np.ones(len(keys))  # of a target's word, given the source's
        done = 0
        while len(keys) and budget.more(done, ROUNDS, "rounds"):
            weight = share[place]
            weight = weight / np.repeat(np.add.reduceat(weight, starts), np.diff(np.r_[starts, count]))
            share = np.bincount(place, weight, len(keys))
            share = share / np.bincount(owner, share, len(self.index))[owner]
            done += 1
        best = np.lexsort((-share, owner))
        first = best[np.r_[True, owner[best][1:] != owner[best][:-1]]] if len(keys) else best
        self.table = {word: named[key % len(named)] for word, key in zip(self.index, keys[first].tolist(), strict=True)}

    def words(self, text: str) -> list[str]:
        """The words of a source, as they are looked up."""
        return self.cut(plain(text, True))[:MOST_WORDS]

    def __call__(self, text: str) -> str:
        written = self.cut(plain(text, False))[:MOST_WORDS]
        return self.joint.join(self.table.get(plain(word, True), word) for word in written)
