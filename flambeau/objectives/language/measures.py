"""How texts that a model makes go wrong: they run in circles, say the same, or are copied from the training texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from flambeau.core.spans import Documents, covered, longest, shared
from flambeau.fields import Packed

FEW = 1024  # different tokens, up to which they are letters or bytes
LETTERS, PIECES = 50, 13  # how many in a row nobody writes twice by chance
TIMES, QUARTER = 3, 4  # a circle is gone round so often at least, and is a quarter of the text
RUN = 4  # of `distinct`


class Copies(NamedTuple):
    """What texts have of the training texts.

    Attributes:
        share: of their tokens, in spans that nobody writes twice by chance.
        longest: tokens of the longest span that is copied, of any length.
        start: where it begins, among the texts laid end to end.
    """

    share: float
    longest: int
    start: int


def span_of(vocabulary: int) -> int:
    """How many tokens nobody writes twice by chance, where there are so many different ones: 50 letters or 13 pieces of
    words, as in Brown and others, "Language models are few-shot learners", 2020, appendix C."""
    return LETTERS if vocabulary <= FEW else PIECES


def copies(texts: Documents, training: Documents, span: int) -> Copies:
    """What texts have of the training texts, and how much is longer than `span`."""
    inside = covered(shared(texts, training, span), span)
    found = longest(texts, training)
    return Copies(float(inside.mean()) if len(inside) else 0.0, found.size, found.start)


def distinct(texts: Documents, size: int = RUN) -> float:
    """Share of runs of a few tokens that come for the first time; 1 where none comes twice (Li and others, "A
    diversity-promoting objective function for neural conversation models", 2016).

    >>> distinct(documents([[1, 2, 3, 4, 5], [1, 2, 3, 4, 6]])), distinct(documents([[1] * 11]))
    (0.75, 0.125)
    """
    starts = shared(texts, texts, size)
    there = starts[starts >= 0]
    return len(np.unique(there)) / len(there) if len(there) else 1.0


def looped(tokens: Sequence[int]) -> bool:
    """Whether a text ends by going in a circle, at least three times and for a quarter of it.

    >>> looped([9, 8, 7, 1, 2, 1, 2, 1, 2]), looped([1, 2, 3, 4, 5, 1, 2, 3]), looped([5, 1, 1])
    (True, False, False)
    """
    text = np.asarray(tokens)
    for period in range(1, len(text) // TIMES + 1):
        unlike = np.flatnonzero(text[:-period] != text[period:])
        length = len(text) - (unlike[-1] + 1 if len(unlike) else 0)
        if length >= max(TIMES * period, len(text) / QUARTER, TIMES + 1):
            return True
    return False


def documents(texts: Iterable[Sequence[int] | np.ndarray]) -> Documents:
    """Texts laid end to end."""
    parts = [np.asarray(text, np.int32) for text in texts]
    lengths = np.asarray([len(part) for part in parts], np.int64)
    return Documents(np.concatenate(parts) if parts else np.zeros(0, np.int32), lengths)


def texts_in(packed: Packed) -> list[np.ndarray]:
    """The parts of documents that are in windows, int32 (T) each, but for what fills a window behind the last one."""
    found: list[np.ndarray] = []
    parts = [part.cpu().numpy() for part in (packed.tokens, packed.segments)]
    counted = np.ones(parts[0].shape, bool) if packed.counted is None else packed.counted.cpu().numpy()
    for tokens, segments, counts in zip(*parts, counted, strict=True):
        last = len(tokens) - int(np.argmax(counts[::-1])) if counts.any() else 0
        found += np.split(tokens[:last].astype(np.int32), np.flatnonzero(np.diff(segments[:last])) + 1)
    return [text for text in found if len(text)]
