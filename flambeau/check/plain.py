"""What checks of texts share: raw values as texts, their plain form, and a draw of them where all would be too dear."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from os import PathLike
from typing import Any

import numpy as np

from flambeau.core.findings import Finding
from flambeau.fields.language.charsets import read_text
from flambeau.fields.language.chats import is_chat, written

ROWS = 300_000
CHARACTERS = 100_000_000
"""How many texts at most, and how much of them, are looked at for languages, tokens and near-duplicates."""
READ = 100_000
"""Characters of one text that are looked at there."""

_WORD = re.compile(r"[\u0e00-\u0eff\u3040-\u9fff\uf900-\ufaff]|\w+")


def as_text(value: Any) -> str | None:
    """A raw value of a text column as it is read; None where it is missing.

    Raises:
        DataError: the value is a file that cannot be read as text.

    >>> as_text("a"), as_text(None), as_text(float("nan")), as_text(12)
    ('a', None, None, '12')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, PathLike):
        return read_text(value)  # type: ignore[arg-type]
    if is_chat(value):
        return written(value)
    if value is None or value != value:
        return None
    return str(value)


def squeezed(text: str) -> str:
    """A text by which copies are known: one form of each character (NFKC), no capitals, single spaces.

    >>> squeezed("  Ｇｏｏｄ   film\\n"), squeezed("STRASSE") == squeezed("Straße")
    ('good film', True)
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.casefold().split())


def few_words(plain: str) -> bool:
    """Whether a squeezed text has fewer than two words; a character of a script without spaces counts as one.

    >>> few_words("ok!"), few_words("not ok"), few_words("不错"), few_words("...")
    (True, False, False, True)
    """
    return len(plain) < 100 and len(_WORD.findall(plain)) < 2


def digest(text: str) -> int:
    """64 bits of a text; 0 for an empty one.

    >>> digest(""), digest("a") == digest("a"), digest("a") == digest("b")
    (0, True, False)
    """
    if not text:
        return 0
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little") or 1


def groups_of(digests: np.ndarray) -> list[list[int]]:
    """Rows of equal digests, uint64 (N), two or more together; rows of the digest 0 are in none.

    As `Twins.groups`, in an eighth of the memory: most of a million rows have no equal.

    >>> groups_of(np.asarray([5, 0, 7, 5, 0, 7, 5, 9], np.uint64))
    [[0, 3, 6], [2, 5]]
    """
    rows = np.flatnonzero(digests)
    order = rows[np.argsort(digests[rows], kind="stable")]
    ordered = digests[order]
    ends = np.flatnonzero(np.r_[ordered[1:] != ordered[:-1], True][: len(ordered)]) + 1
    starts = np.r_[0, ends[:-1]][: len(ends)]
    several = ends - starts > 1
    groups = [order[a:b].tolist() for a, b in zip(starts[several], ends[several], strict=True)]
    return sorted(groups, key=lambda group: group[0])


def combined(columns: Sequence[np.ndarray]) -> np.ndarray:
    """One digest uint64 (N) for the digests of several columns; 0 where one of them is 0.

    >>> a, b = np.asarray([1, 2, 0], np.uint64), np.asarray([2, 1, 5], np.uint64)
    >>> both = combined([a, b])
    >>> both[0] == both[1], int(both[2])
    (np.False_, 0)
    """
    total = np.zeros_like(columns[0])
    for digests in columns:
        total = (total ^ (total >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15) + digests
    complete = np.all([digests != 0 for digests in columns], axis=0)
    return np.where(complete, np.maximum(total, np.uint64(1)), np.uint64(0))


def draw(length: np.ndarray, rows: int = ROWS, characters: int = CHARACTERS) -> np.ndarray:
    """Which of N texts to look at, int64 in order: all that have a length, or as many as the bounds allow.

    >>> draw(np.asarray([5, 0, 7])), len(draw(np.full(100, 10), characters=200))
    (array([0, 2]), 20)
    """
    there = np.flatnonzero(length)
    taken = np.minimum(length[there], READ)
    if len(there) <= rows and taken.sum() <= characters:
        return there
    order = np.random.default_rng(0).permutation(len(there))[:rows]  # equal data, equal findings
    return there[np.sort(order[np.cumsum(taken[order]) <= characters])]


def of_a_draw(findings: Iterable[Finding], drawn: int, total: int) -> list[Finding]:
    """The same findings; they say so where they are about so many texts of a larger number."""
    if drawn >= total:
        return list(findings)
    note = f" (looked for in {drawn:,} of {total:,} texts, drawn by chance)"
    return [dataclasses.replace(finding, message=finding.message + note) for finding in findings]
