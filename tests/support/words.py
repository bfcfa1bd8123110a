"""A kind of data that Flambeau does not have: text as a ragged column of words, written as a user writes one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flambeau.core.errors import DataError
from flambeau.fields import FIELDS, Encoding, Field, Ragged, Recognition

VOCABULARY = 1000
TOPICS = ("debugger", "formatstrings", "string-methods")


@cache
def sentences() -> tuple[list[str], list[str]]:
    """About 500 real sentences of Python's own documentation, 1 to about 250 words, and the topic of each."""
    from pydoc_data.topics import topics

    parts = [(t, re.split(r"(?<=[.!?])\s+", " ".join(topics[t].split()))) for t in TOPICS]
    found = [(s, t) for t, listed in parts for s in listed if re.search(r"\w", s)]
    return [s for s, _ in found], [t for _, t in found]


class Words(Field):
    """Words by their number in a vocabulary, int32 (T); 0 for one that the training rows have not."""

    kind = "words"
    persistent = True
    suffixes = frozenset({".sentence"})
    settings = ("size",)
    fitted = ("vocabulary",)

    def __init__(self, size: int = VOCABULARY):
        self.size = size
        self.vocabulary: list[str] = []

    @classmethod
    def recognise(cls, values: Sequence[Any]) -> Recognition:
        text = [v for v in values if isinstance(v, (str, Path)) and (" " in str(v) or str(v).endswith(".sentence"))]
        return Recognition(0.95 if len(text) > len(values) / 2 else 0.0, "values have spaces in them")

    def split(self, value: Any) -> list[str]:
        if isinstance(value, (list, tuple)):
            return [str(v) for v in value]
        if not isinstance(value, (str, Path)):
            raise DataError(f"{value!r} is not text", expected="a sentence")
        text = Path(value).read_text(encoding="utf-8") if str(value).endswith(".sentence") else str(value)
        return re.findall(r"\w+", text.lower())

    def fit(self, values: Sequence[Any]) -> None:
        counts = Counter(word for value in values if value is not None for word in self.split(value))
        self.vocabulary = [word for word, _ in counts.most_common(self.size - 1)]

    @property
    def encoding(self) -> Encoding:
        return Encoding(np.dtype(np.int32), (), ragged=True)

    def encode(self, value: Any) -> np.ndarray:
        numbers = {word: i + 1 for i, word in enumerate(self.vocabulary)}
        words = self.split(value)
        if not words:
            raise DataError("the sentence has no words")
        return np.asarray([numbers.get(word, 0) for word in words], np.int32)


@contextmanager
def registered() -> Iterator[None]:
    """Inside, FIELDS has the kind `words`."""
    FIELDS.register("words")(Words)
    try:
        yield
    finally:
        del FIELDS._parts["words"]


class Bag(nn.Module):
    """The mean of word embeddings, then a linear layer: Ragged (B, T) to (B, K)."""

    def __init__(self, num_classes: int = len(TOPICS), width: int = 16, seed: int = 0):
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = nn.Embedding(VOCABULARY, width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, words: Ragged) -> Tensor:
        inside = torch.arange(words.values.shape[1]) < words.lengths[:, None]  # (B, T)
        embedded = self.embedding(words.values.long()) * inside[..., None]
        return self.head(embedded.sum(1) / words.lengths[:, None])
