"""Where tokens stand in a text: parts of one that is longer than a model reads, and weights word by word."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence

from flambeau.fields.heat import strength

SPACES = re.compile(r"\s+")
AT_ONCE = 64
"""Characters of a text, for each token that a model reads, that are looked at together: words are hardly as long."""
Places = Callable[[str], list[tuple[int, int]]]
"""Where each token that a model reads of a text stands in it, from and to; (0, 0) where it does not."""


def crops(text: str, places: Places, most: int, count: int) -> list[str]:
    """`count` parts of a text, each as long as the model reads, the first at its beginning and the last at its end; the
    text alone where it is read whole.

    Args:
        most: tokens that a model reads.
    """
    found: list[tuple[int, int]] = []
    at = length = 0
    while at < len(text):
        there = [(at + begins, at + ends) for begins, ends in places(text[at : at + AT_ONCE * most]) if begins < ends]
        if not there or (at := max(ends for _, ends in there)) <= (found[-1][1] if found else 0):
            break
        found += there
        length = length or len(there)
    if len(found) <= length:
        return [text]
    starts = [round(i * (len(found) - length) / (count - 1)) for i in range(count)]
    return [text[found[start][0] : found[start + length - 1][1]] for start in starts]


def by_word(
    places: list[tuple[int, int]], weights: Sequence[float], words: int
) -> tuple[list[tuple[int, int]], list[float]]:
    """The first so many places and weights, of words, each weight with those of the word's characters, which follow."""
    summed, word = list(weights[:words]), 0
    for (begins, _), weight in zip(places[words:], weights[words:], strict=False):
        while word < len(summed) - 1 and places[word][1] <= begins:
            word += 1
        if word < len(summed) and places[word][0] <= begins < places[word][1]:
            summed[word] += weight
    return places[: len(summed)], summed


def marked_words(text: str, places: Sequence[tuple[int, int]], weights: Sequence[float], shown: int) -> str:
    """The part of a text around its heaviest word, `shown` characters, as HTML; each word marked by its own weight:
    above 0 `for1` to `for4`, below `against1` to `against4`."""
    most = max(map(abs, weights), default=0.0)
    heaviest = max(range(len(places)), key=lambda i: abs(weights[i]), default=0)
    start = max(0, places[heaviest][0] - shown // 2) if places and len(text) > shown else 0
    end = start + shown
    parts = ["<span>…</span>"] * (start > 0)
    at = start
    for (begins, ends), weight in zip(places, weights, strict=False):
        if begins < at or ends > end or begins == ends:
            continue
        parts += [f"<span>{html.escape(text[at:begins])}</span>"] * (begins > at)
        parts.append(f"<span{strength(weight, most)}>{html.escape(text[begins:ends])}</span>")
        at = ends
    rest = html.escape(text[at:end]) + ("…" if len(text) > end else "")
    return SPACES.sub(" ", "".join([*parts, f"<span>{rest}</span>"]))
