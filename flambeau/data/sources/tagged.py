"""Files of tagged sentences: CoNLL's columns, or `word/tag` on lines. One sentence, one row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flambeau.core.errors import DataError, UsageError
from flambeau.core.findings import Finding, Severity
from flambeau.data.dataset import Dataset
from flambeau.data.sources.base import SOURCES, Source, described
from flambeau.data.sources.walk import walk
from flambeau.data.split import ALIASES, TEST, TRAIN, VALID, Split, with_validation
from flambeau.fields import Field, Tags, Tokens
from flambeau.fields.language.tagged import is_tagged, read_tagged

SIDES = ALIASES | {"testa": VALID, "testb": TEST}  # as CoNLL-2003 calls them
FEW_FILES = 20  # of a folder, that are opened to see whether it holds tagged sentences


def from_tagged(
    path: str | Path,
    *,
    split: Split | str = "auto",
    fields: Mapping[str, Field] | None = None,
    token_column: int | None = None,
    tag_column: int | None = None,
    encoding: str | None = None,
    inputs: Sequence[str | int] | None = None,
    target: str | int | None = None,
) -> Dataset:
    """Tagged sentences: a file, or a folder of them. Columns `tokens` and `tags`.

    CoNLL's columns (a token a line, blank lines between sentences), CoNLL-U, or `word/tag` with a sentence a line: it
    is found out which. Files called train, valid (dev) and test, or in folders called so, are that side of the split.

    Args:
        token_column, tag_column: of CoNLL's columns, from 0; the first and the last if not given, in CoNLL-U the word
            and its universal part of speech.
        encoding: of the files; found out if not given.
        inputs, target: the same columns as the command line has them, `--input 0 --target 3`.

    Raises:
        DataError: there is no such file, it is not written so, or a token has no tag; with file and line.
    """
    root = Path(path)
    token_column = _number(inputs[0], path) if inputs else token_column
    tag_column = tag_column if target is None else _number(target, path)
    if not root.exists():
        raise DataError("there is no such file or folder", where=path, code="not-found")
    inside = [root] if root.is_file() else [root / f for f in walk(root).files if (root / f).is_file()]
    files = [f for f in inside if root.is_file() or is_tagged(f)]
    rest = sorted({*inside} - {*files})
    others = [f.relative_to(root).as_posix() for f in rest if not f.name.startswith(".")]
    findings = [
        Finding("other-files", Severity.NOTE, f"{len(others)} file{'s' * (len(others) > 1)} without tagged sentences "
                f"left out, such as {others[0]}", places=others)
    ] if others else []  # fmt: skip
    if not files:
        raise DataError("no file in the folder holds tagged sentences", where=path,
                        expected="a token and its tag on each line, or word/tag word/tag")  # fmt: skip
    tokens: list[list[str]] = []
    tags: list[list[str]] = []
    places: list[str] = []
    sides: list[int] = []
    for file in files:
        name = file.name if root.is_file() else file.relative_to(root).as_posix()
        side = next((SIDES[p] for p in re.split(r"[\W_]+", name.lower()) if p in SIDES), -1)
        for sentence in read_tagged(file, name, token_column, tag_column, encoding):
            tokens.append(sentence.tokens)
            tags.append(sentence.tags)
            places.append(f"{name}, line {sentence.line}")
            sides.append(side)
    if not tokens:
        raise DataError("there is no sentence", where=path)
    how = Split.of(split)
    given = None
    if TRAIN in sides and min(sides) >= 0 and how.keeps_given:
        given = with_validation(sides, None, places, how)
    source = described("tagged", root, split=how, token_column=token_column, tag_column=tag_column, encoding=encoding,
                       fields=fields)  # fmt: skip
    kinds = {"tokens": Tokens(), "tags": Tags(), **(fields or {})}
    return Dataset({"tokens": tokens, "tags": tags}, inputs=["tokens"], target="tags", fields=kinds, source=source,
                   split=how if given is None else given, keys=places, places=places.__getitem__,
                   findings=findings)  # fmt: skip


def _number(column: str | int, path: str | Path) -> int:
    try:
        return int(column)
    except ValueError:
        raise UsageError(f"tagged files have no column called {column}", where=path,
                         expected="their numbers, from 0") from None  # fmt: skip


@SOURCES.register("tagged")
class TaggedSource(Source):
    """A file of tagged sentences, or a folder without folders that has such files in it."""

    of, sign = "tagged sentences", "a file of CoNLL"
    read = staticmethod(from_tagged)

    @staticmethod
    def claims(path: Path, options: Mapping[str, Any]) -> float:
        inside = [path] if path.is_file() else []
        if path.is_dir():
            inside = [entry for entry in sorted(path.iterdir()) if not entry.name.startswith(".")]
        tagged = all(entry.is_file() for entry in inside) and any(map(is_tagged, inside[:FEW_FILES]))
        return 0.8 * (tagged and "pattern" not in options)
