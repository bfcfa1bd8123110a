"""The rival of taggers: each word has the tag that it had most often."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from flambeau.baselines.rows import CHUNK, Rows
from flambeau.fields.tags import NO_TAG
from flambeau.objectives.metrics import Metric


def most_frequent_tags(rows: Rows, of: Rows, held_out: np.ndarray, metric: str) -> list[Metric]:
    """Measures tagging each word as the training rows tag most of its like; a word that they do not have as most of
    those that they have once.

    Args:
        rows: with the training rows.
        of, held_out: what is measured, which may be of other data.
        metric: the measure of the model.

    Words are looked up as they are written, whatever a model makes of them.
    """
    field = rows.target
    numbers: defaultdict[str, int] = defaultdict(lambda: len(numbers))
    pairs = [
        (numbers[word], tag)
        for words, tags in _sentences(rows, rows.train)
        for word, tag in zip(words, tags.tolist(), strict=True)
        if tag >= 0
    ]
    counts = np.zeros((len(numbers) + 1, field.num_outputs), np.int64)  # the last one is of words never seen
    np.add.at(counts, tuple(np.asarray(pairs, np.int64).reshape(-1, 2).T), 1)
    once = counts[counts.sum(1) == 1]
    counts[-1] = (once if len(once) else counts).sum(0)
    shares = torch.from_numpy(counts / np.maximum(counts.sum(1, keepdims=True), 1)).float()
    measures = rows.task.measured_by(False, metric)
    for part in np.array_split(held_out, -(-len(held_out) // CHUNK)):
        numbered = [
            (torch.tensor([numbers.get(w, -1) for w in ws]), torch.from_numpy(t)) for ws, t in _sentences(of, part)
        ]
        at, tags = (pad_sequence(list(values), True, NO_TAG) for values in zip(*numbered, strict=True))
        for measure in measures:
            measure.update(shares[at.clamp_min(-1)], tags, torch.from_numpy(part))
    return measures


def _sentences(rows: Rows, of: np.ndarray) -> Iterator[tuple[list[str], np.ndarray]]:
    """The words of each sentence and the numbers of their tags (T), below 0 where there is none."""
    columns, name, target = rows.dataset.columns, rows.dataset.inputs[0], rows.dataset.target or ""
    field = rows.dataset.fields[name]
    for row in of.tolist():
        yield field.parts(columns[name][row]), rows.target.encode(columns[target][row])
