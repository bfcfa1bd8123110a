"""The rival of taggers: each word has the tag that it had most often."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from flambeau.baselines.rows import Rows
from flambeau.fields import Ragged, Tags
from flambeau.objectives.metrics import for_field


def most_frequent_tags(rows: Rows, held_out: np.ndarray) -> dict[str, float]:
    """The measures of tagging each word as most of its kind in the training rows; a word that they do not have as most
    of those that they have once."""
    field, inputs = rows.target, rows.dataset.inputs[0]
    assert isinstance(field, Tags)
    many = len(field.classes)
    counts = np.zeros((rows.dataset.fields[inputs].input_shape[0], many), np.int64)
    for words, tags in _sentences(rows, inputs, rows.train):
        known = tags >= 0
        np.add.at(counts, (words[known].numpy(), tags[known].numpy()), 1)
    fallback = counts[1] if counts[1].any() else counts.sum(0)
    counts[counts.sum(1) == 0] = fallback
    shares = torch.from_numpy(counts / np.maximum(counts.sum(1, keepdims=True), 1)).float()
    (metric,) = for_field(field, False)
    for words, tags in _sentences(rows, inputs, held_out):
        metric.update(shares[words], tags, torch.arange(len(words)))
    return metric.values()


def _sentences(rows: Rows, inputs: str, of: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
    """The numbers of words (B, T) and of their tags (B, T), below 0 where there is none."""
    target = rows.dataset.target or ""
    for gathered, tags in zip(rows.gathered(inputs, of), rows.gathered(target, of), strict=True):
        assert isinstance(gathered, Ragged)
        values = gathered.values.long().cpu()
        yield (values if values.ndim == 2 else values[:, :, 0]), rows.target.prepare(tags).cpu()
