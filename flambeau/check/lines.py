"""Lines that stand in many documents: headers, notices, invitations to share. A model learns them by heart, and they
count in its figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LEAST, SHARE = 10, 0.05  # documents that a line is in, at least
BYTES = 20  # of a line, below which it may come by chance


class Repeated(NamedTuple):
    """What stands in many of M documents.

    Attributes:
        lines: the lines, with in how many documents each is, the most frequent first.
        documents: which have one, int64.
        share: of all characters.
    """

    lines: list[tuple[str, int]]
    documents: np.ndarray
    share: float


def repeated_lines(texts: Sequence[str]) -> Repeated:
    """Lines that stand in at least 5 % of documents, and in 10, of those that have several lines. Memory is 8 bytes a
    line."""
    several = [place for place, text in enumerate(texts) if "\n" in text.strip()]
    least = max(LEAST, int(np.ceil(SHARE * len(several))))
    if len(several) < least:
        return Repeated([], np.zeros(0, np.int64), 0.0)
    hashed = [np.fromiter(map(hash, _lines(texts[place])), np.int64) for place in several]
    values, counts = np.unique(np.concatenate(hashed), return_counts=True)
    often = {*values[counts >= least].tolist()}
    found: dict[str, int] = {}
    documents, length = [], 0
    for place, of in zip(several, hashed, strict=True):
        if often.isdisjoint(of.tolist()):
            continue
        documents.append(place)
        for line in _lines(texts[place]):
            if hash(line) in often:
                found[line] = found.get(line, 0) + 1
                length += len(line)
    order = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    total = sum(len(texts[place]) for place in several)
    return Repeated(order, np.asarray(documents, np.int64), length / max(total, 1))


def _lines(text: str) -> set[str]:
    """The different lines of a text that are long enough to say something."""
    stripped = {line.strip() for line in text.splitlines()}
    return {line for line in stripped if len(line) >= BYTES or len(line.encode("utf-8", "replace")) >= BYTES}
