"""How a text is cut into pieces, and what names mean: what Flambeau does with values before any model sees them."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

WORDS = ("words", "chinese")  # kinds that a text's characters may follow
Cut = Callable[[str], list[str]]


@cache
def words(joints: str) -> Cut:
    """What cuts a text into words with what stands inside them: letters and digits, with the accents and vowel signs
    that belong to them, and between those one of `joints`; any other character, but for spaces, is a word by itself.

    >>> words("'")("l'été, हिन्दी भाषा")
    ["l'été", ',', 'हिन्दी', 'भाषा']
    """
    plain = re.compile(rf"\w+(?:[{joints}]\w+)*|[^\w\s]").findall

    def cut(text: str) -> list[str]:
        return plain(text) if text.isascii() or not _has_marks(text) else _marked(joints).findall(text)

    return cut


@cache
def _marks() -> np.ndarray:
    r"""Which characters are combining marks: `\w` leaves them out, and Hindi, Thai, vocalised Arabic and decomposed
    letters are full of them. Bool, by number."""
    return np.asarray([unicodedata.category(chr(number))[0] == "M" for number in range(0x1F000)])


def _has_marks(text: str) -> bool:
    # a regular expression would take longer for this than for the words
    numbers = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return bool(_marks()[numbers[numbers < len(_marks())]].any())


@cache
def _marked(joints: str) -> re.Pattern[str]:
    marks = "".join(map(chr, np.flatnonzero(_marks())))
    inside = rf"\w[\w{marks}]*"
    return re.compile(rf"{inside}(?:[{joints}]{inside})*|[^\w\s][{marks}]*")


@cache
def cutter(kind: str) -> Cut:
    """A function from text to pieces, for the kinds with a vocabulary of pieces.

    >>> cutter("words")("Don't stop, now!")
    ["Don't", 'stop', ',', 'now', '!']
    >>> cutter("characters")("天气好")
    ['天', '气', '好']
    """
    if kind == "words":
        return words("'’")
    if kind == "characters":
        return lambda text: [c for c in text if not c.isspace()]
    assert kind == "chinese"
    import jieba

    jieba.setLogLevel(logging.WARNING)
    jieba.initialize()
    return lambda text: [piece for piece in jieba.lcut(text) if not piece.isspace()]


def plain(text: str, lower: bool) -> str:
    """A text with each accent in its letter (Unicode's form C), and in lower case where that is wanted."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return text.lower() if lower else text


def characters(text: str, most: int) -> list[str]:
    """Its first characters that are no space.

    >>> characters("天气 好", 2), characters("a b c", 2)
    (['天', '气'], ['a', 'b'])
    """
    return [c for c in text[: 2 * most] if not c.isspace()][:most]


def truncating(tokenizer: str, max_length: int) -> Any:
    """A tokeniser out of its JSON that keeps so many tokens of a text, its own marks among them."""
    from tokenizers import Tokenizer

    tool = Tokenizer.from_str(tokenizer)
    tool.no_padding()
    tool.enable_truncation(max_length)
    return tool


def word_pieces(tool: Any, words: list[str]) -> np.ndarray:
    """Pieces of words by a tokeniser, and which of them begin a word, int32 (S, 2).

    Raises:
        ValueError: it makes nothing of a word, so that the tags behind it would belong to others.
    """
    encoded = tool.encode(words, is_pretokenized=True)
    first, last = [], None
    for word in encoded.word_ids:  # None of what the tokeniser adds
        first.append(int(word is not None and word != last))
        last = word if word is not None else last
    # as many as there are, or, where the sentence was cut, up to the last one that is there
    seen = last + 1 if encoded.overflowing and last is not None else len(words)
    if sum(first) < seen:
        there = set(encoded.word_ids)
        lost = next(i for i in range(seen) if i not in there)
        unknown = getattr(tool.model, "unk_token", None)
        if unknown is None or words[lost] == unknown:
            raise ValueError(f"token {lost + 1} is {words[lost]!r}, of which the tokeniser makes nothing")
        return word_pieces(tool, [unknown if i < seen and i not in there else word for i, word in enumerate(words)])
    return np.asarray([encoded.ids, first], np.int32).T.copy()


def meant(name: str) -> float | str | None:
    """What a program that knows types makes of a name: a number, true or false; None where it leaves it alone."""
    try:
        number = float(name)
        return number if number == number else None
    except ValueError:
        return name.lower() if name.lower() in ("true", "false") else None
