"""How tagged sentences are written in files: CoNLL's columns, or `word/tag` on lines."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from flambeau.core.errors import DataError, UsageError
from flambeau.core.files import read_bytes
from flambeau.fields.language.charsets import read_text

SUFFIXES = (".conll", ".conllu", ".conll2003", ".bio", ".bioes", ".iob", ".iob2", ".pos", ".ner", ".tagged")
SPLITS = "train training valid val validation dev test testing testa testb"  # endings too, as of eng.testa
PLAIN = ("", ".txt", *(f".{name}" for name in SPLITS.split()))  # endings that say nothing of how a file is written
LOOKED_AT = 200  # lines, to find out how a file is written
LINES = re.compile(r"\r\n|\n|\r")  # and no other of the breaks of Unicode, which come within words
BLANKS = re.compile(r"[ \t]+")
DOCUMENT = "-DOCSTART-"
NUMBERED = re.compile(r"\d+([-.]\d+)?")  # CoNLL-U; 3-4 is a word cut in two, 3.1 one that is not there


class Sentence(NamedTuple):
    """Words, their tags, and the line that it begins on, from 1."""

    tokens: list[str]
    tags: list[str]
    line: int


def is_tagged(path: Path) -> bool:
    """Whether a file is one of tagged sentences, by its ending or by its first lines."""
    if path.name.startswith("."):
        return False
    if path.suffix.lower() in SUFFIXES:
        return True
    if path.suffix.lower() not in PLAIN:
        return False
    try:
        head = split_lines(read_bytes(path, 1 << 16).decode("latin-1"))[:LOOKED_AT]
    except DataError:
        return False
    lines = [_cells(line) for line in head if line.strip() and not line.startswith("#")]
    if not lines or any("\0" in word for line in lines for word in line):
        return False
    if _slashed(lines):
        return True
    blank = [not line.strip() for line in head]
    paragraphs = all(one or other for one, other in itertools.pairwise(blank))  # of a line each: sentences have words
    return any(blank) and not paragraphs and 2 <= len(lines[0]) <= 12 and len({len(line) for line in lines}) == 1


def read_tagged(
    path: Path, name: str, token_column: int | None = None, tag_column: int | None = None, encoding: str | None = None
) -> list[Sentence]:
    """The sentences of a file in either form; `name` is what messages call it.

    Raises:
        DataError: it is not written so, or a token has no tag; with file and line.
    """
    lines = split_lines(read_text(path, encoding))
    looked_at = [_cells(line) for line in lines[:LOOKED_AT] if line.strip() and not line.startswith("#")]
    if _slashed(looked_at):
        return list(_slash_sentences(lines, name))
    return list(_column_sentences(lines, name, token_column, tag_column))


def split_lines(text: str) -> list[str]:
    """Its lines, without their ends."""
    lines = LINES.split(text)
    return lines if lines[-1] else lines[:-1]


def _cells(line: str) -> list[str]:
    """What stands between blanks; a no-break space is a part of a word."""
    return [cell for cell in BLANKS.split(line) if cell]


def _slashed(lines: Sequence[Sequence[str]]) -> bool:
    words = [word for line in lines for word in line]
    return bool(words) and sum("/" in word.strip("/") for word in words) > 0.95 * len(words)


def _slash_sentences(lines: Sequence[str], name: str) -> Iterator[Sentence]:
    for number, line in enumerate(lines, 1):
        pairs = [item.rpartition("/") for item in _cells(line)]
        for word, _, tag in pairs:
            if not word or not tag:
                raise DataError(f"'{word or tag}' has no tag", where=f"{name}, line {number}", expected="word/tag")
        if pairs:
            yield Sentence([p[0] for p in pairs], [p[2] for p in pairs], number)


def _column_sentences(
    lines: Sequence[str], name: str, token_column: int | None, tag_column: int | None
) -> Iterator[Sentence]:
    tokens: list[str] = []
    tags: list[str] = []
    begins = 1
    width = 0
    for number, line in enumerate([*lines, ""], 1):
        where = f"{name}, line {number}"
        if not line.strip():
            if tokens:
                yield Sentence(tokens, tags, begins)
            tokens, tags = [], []
            continue
        # tabs hold words with blanks in them, as CoNLL-U has
        cells = line.split("\t") if "\t" in line else _cells(line)
        universal = len(cells) == 10 and NUMBERED.fullmatch(cells[0]) is not None
        if cells[0] == DOCUMENT or (line.startswith("#") and (not tokens or len(cells) != width)):
            continue
        if universal and not cells[0].isdigit():
            continue
        if len(cells) < 2:
            raise DataError(f"the token {cells[0]!r} has no tag", where=where, expected="a token and its tag")
        if width and len(cells) != width:
            raise DataError(f"the line has {len(cells)} columns", where=where, expected=f"{width}, as those above")
        width = len(cells)
        at = (1, 3) if universal else (0, -1)
        try:
            token = cells[at[0] if token_column is None else token_column].strip(" ")
            tag = cells[at[1] if tag_column is None else tag_column].strip(" ")
        except IndexError:
            raise UsageError(f"there is no column {max(token_column or 0, tag_column or 0)}", where=where,
                             expected=f"0 to {width - 1}") from None  # fmt: skip
        if not token or not tag:
            raise DataError("the line has no token or no tag", where=where)
        if not tokens:
            begins = number
        tokens.append(token)
        tags.append(tag)
