"""Corpora as sources: a text file, a folder of them without classes, chats, or prompts and what follows them, to learn
what text goes on with."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flambeau.core.errors import DataError, nearest
from flambeau.core.files import read_bytes
from flambeau.core.findings import Finding, Severity
from flambeau.data.dataset import Dataset
from flambeau.data.sources.base import SOURCES, Source, described
from flambeau.data.sources.cells import by_spaces
from flambeau.data.sources.levels import side_of
from flambeau.data.sources.tables import JSON_LINES, TABS, Table, read_table
from flambeau.data.sources.walk import walk
from flambeau.data.split import TEST, TRAIN, VALID, Split, as_files_say
from flambeau.fields import Corpus, Field, Preferences
from flambeau.fields.language.charsets import detect
from flambeau.fields.language.chats import PROMPT, Messages, of_turns, preference, said
from flambeau.fields.language.documents import documents_of
from flambeau.fields.language.tagged import is_tagged

TEXT = (".txt", ".text", ".md")
MESSAGES, TURNS, SYSTEM = "messages", "conversations", "system"
ASKED, ANSWERED, BESIDE = ("prompt", "instruction"), ("completion", "output", "response"), ("input", "context")
TABLES = (".csv", *TABS, ".json")
HEAD = 1 << 16
MESSAGE = re.compile(r'\[\s*\{\s*"+(?:role|content|from|value)"')  # how a chat begins that is written as JSON
LINE = 1 << 14  # characters in which it begins
FIRST = 16  # objects of a file, to see what it holds
FEWEST_LINES = 3  # that tell a table
IN_BLOCKS = 4  # documents of a file from which on a part of them is held out as they follow one another
OF_TABLES = ("target", "inputs", "columns", "header", "read", "pattern", "time", "root")


def from_corpus(
    path: str | Path, *, split: Split | str = "auto", fields: Mapping[str, Field] | None = None,
    encoding: str | None = None, labels: bool = True,
) -> Dataset:  # fmt: skip
    """Texts without a target: the column `text`, of the kind `corpus`, and of text files `file`, to split by.

    Large files are cut into documents behind blank lines. Documents of one file are alike the nearer they are, so what
    is held out of it are its last ones as they follow one another: the test's at the end, before them those that
    validate. Whole files are held out by `--split grouped --by file`; folders called train and test are the split.

    Args:
        path: a .txt file; a folder of them, without class folders; a .jsonl or .json file of chats: `messages` with
            role and content, or `conversations` with from and value (ShareGPT's); or a table of prompts and what
            follows them, see `Prompted`. A column `system` is said before everything.
        split: as for `Dataset`.
        fields: kinds set by hand.
        encoding: of the files; found out if not given.
        labels: is not looked at: there are none.

    Raises:
        DataError: there is no such file, or no text in it.
    """
    root = Path(path)
    if not root.exists():
        parent = root.parent if root.parent.is_dir() else Path()
        near = nearest(root.name, sorted(one.name for one in parent.iterdir()))
        raise DataError("there is no such file or folder", where=path, fix=near, code="not-found")
    how = Split.of(split)
    source = described("corpus", root, split=how, fields=fields, encoding=encoding)
    if root.suffix.lower() in (*JSON_LINES, *TABLES):
        return _of_rows(root, how, fields, encoding, source)
    inside = [root] if root.is_file() else [root / name for name in walk(root).files]
    files = [file for file in inside if root.is_file() or file.suffix.lower() in TEXT]
    documents, encodings = documents_of(files, encoding)
    if not len(documents):
        raise DataError("there is no text", where=path, expected="a file that is not empty")
    names = [file.name if root.is_file() else file.relative_to(root).as_posix() for file in files]
    of = [names[number] for number in documents.spans[:, 0].tolist()]
    counts = Counter(of)
    places = [f"{name}, byte {begin:,}" if counts[name] > 1 else name
              for name, begin in zip(of, documents.spans[:, 1].tolist(), strict=True)]  # fmt: skip
    sides = [side_of(Path(name).parts[0]) if len(Path(name).parts) > 1 else None for name in of]
    given = as_files_say(sides, places, how)
    parts = _in_blocks(of, places, how) if given is how else given
    return Dataset({"text": documents, "file": of}, inputs=["text"], fields={"text": Corpus(), **(fields or {})},
                   source=source, split=parts, keys=places, places=places.__getitem__,
                   findings=_findings(files, inside, names, encodings, counts, parts is not given))  # fmt: skip


class Prompted(NamedTuple):
    """The columns of a table that hold prompts, what follows them, and what belongs to a prompt; and whether both are
    written as they stand, as `prompt` and `completion` are. Others, such as `instruction`, `input` and `output`, are
    what a user and an assistant say."""

    asked: str
    answered: str
    beside: str | None
    stands: bool

    @staticmethod
    def among(names: Sequence[str]) -> Prompted | None:
        """Those of a table with columns of these names; None where it is of something else."""
        by_name = {name.lower(): name for name in names}
        asked, answered, beside = (
            next((n for n in known if n in by_name), None) for known in (ASKED, ANSWERED, BESIDE)
        )
        if asked is None or answered is None:
            return None
        stands = (asked, answered) == (ASKED[0], ANSWERED[0])
        beside = None if beside is None or stands else by_name[beside]
        return Prompted(by_name[asked], by_name[answered], beside, stands)

    def messages(self, frame: Any) -> list[Messages]:
        """The rows of a polars frame."""
        prompts, answers = frame[self.asked].to_list(), frame[self.answered].to_list()
        if self.beside is not None:
            prompts = [f"{prompt}\n\n{more}" if more else prompt
                       for prompt, more in zip(prompts, frame[self.beside].to_list(), strict=True)]  # fmt: skip
        role = PROMPT if self.stands else "user"
        return [said(prompt, answer, role) for prompt, answer in zip(prompts, answers, strict=True)]

    def finding(self) -> Finding:
        """What is to be said of it."""
        beside = f", with '{self.beside}'," if self.beside else ""
        how = "as they stand" if self.stands else "as a user and an assistant say them"
        return Finding("prompts", Severity.NOTE, f"'{self.asked}'{beside} and '{self.answered}' are written {how}, and "
                       f"only '{self.answered}' counts in the loss")  # fmt: skip


def _of_rows(
    file: Path, split: Split, fields: Mapping[str, Field] | None, encoding: str | None, source: dict[str, Any]
) -> Dataset:
    """Chats, or prompts and what follows them."""
    table = read_table(file, encoding=encoding, nested=True)
    what, kind = "line" if file.suffix.lower() in JSON_LINES else "row", Corpus
    if _preferences(table.frame.columns) and not _chats(table.frame.columns):
        kind = Preferences
    chats, findings = _written(table.frame, file)
    findings = [*table.findings, *findings]
    return Dataset({"text": chats}, inputs=["text"], fields={"text": kind(), **(fields or {})}, source=source,
                   split=split, places=lambda row: f"{what} {row + 1}", findings=findings)  # fmt: skip


def _written(frame: Any, file: Path) -> tuple[list[Any], list[Finding]]:
    """The chats of a frame's rows, or prompts with what follows them or two answers; and what is to be said."""
    if column := _chats(frame.columns):
        chats = [_parsed(chat) for chat in frame[column].to_list()]
        if column == TURNS:
            chats = [of_turns(turns) for turns in chats]
        return _with_system(chats, frame), []
    if both := _preferences(frame.columns):
        chats, what = [], "line" if file.suffix.lower() in JSON_LINES else "row"
        columns = [frame[name].to_list() if name else [None] * len(frame) for name in both]
        for row, values in enumerate(zip(*columns, strict=True), 1):
            try:
                chats.append(preference(*values))
            except DataError as error:
                raise DataError(error.found, where=f"{file}, {what} {row}") from None
        return chats, []
    if prompted := Prompted.among(frame.columns):
        messages = prompted.messages(frame)
        return messages if prompted.stands else _with_system(messages, frame), [prompted.finding()]
    raise DataError("there are neither chats nor prompts", where=file,
                    expected=f"a column {MESSAGES} or {TURNS}, or the columns prompt and completion")  # fmt: skip


def _parsed(chat: Any) -> Any:
    """A chat that a table has as JSON; as it is where it is none."""
    try:
        return json.loads(chat) if isinstance(chat, str) else chat
    except ValueError:
        return [chat]  # a text, which is no chat, and is told so


def _chats(names: Sequence[str]) -> str | None:
    """The column of chats among some, if there is one."""
    return next((name for name in (MESSAGES, TURNS) if name in names), None)


def _with_system(chats: Sequence[Any], frame: Any) -> list[Any]:
    """Chats, each behind what a column `system` says, where there is one."""
    if SYSTEM not in frame.columns:
        return [*chats]
    before = frame[SYSTEM].to_list()
    return [[{"role": SYSTEM, "content": said}, *chat] if said and isinstance(chat, list) else chat
            for said, chat in zip(before, chats, strict=True)]  # fmt: skip


def _preferences(names: Sequence[str]) -> tuple[str | None, str, str] | None:
    """The columns of a prompt, if there is one, and of a chosen and a rejected answer; None where these are not all."""
    by_name = {name.lower(): name for name in names}
    if not {"chosen", "rejected"} <= {*by_name}:
        return None
    return by_name.get("prompt"), by_name["chosen"], by_name["rejected"]


def _in_blocks(of: Sequence[str], keys: Sequence[str], how: Split) -> Split | list[str]:
    """The split of documents, by the file that each is of: of a file of several the last ones are held out, as they
    follow one another; files of one are drawn. As it is where another split is asked for."""
    if how.method not in ("auto", "random") or how.by is not None or how.folds is not None:
        return how
    shares = how.decided(len(of), few=False)
    parts = np.zeros(len(of), np.int8)
    alone = []
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(of):
        rows_of.setdefault(name, []).append(row)
    for rows in rows_of.values():
        if len(rows) < IN_BLOCKS:
            alone += rows
            continue
        test = max(1, round(len(rows) * (shares.test or 0))) * bool(shares.test)
        valid = max(1, round(len(rows) * (shares.valid or 0))) * bool(shares.valid)
        parts[rows[len(rows) - test :]] = TEST
        parts[rows[len(rows) - test - valid : len(rows) - test]] = VALID
    if alone:
        few = len(alone) < IN_BLOCKS
        parts[alone] = TRAIN if few and len(alone) < len(of) else how.assign([keys[row] for row in alone])
    return [("train", "valid", "test")[part] for part in parts.tolist()]


def _findings(
    files: Sequence[Path], inside: Sequence[Path], names: Sequence[str], encodings: Sequence[str],
    counts: Mapping[str, int], in_blocks: bool,
) -> list[Finding]:  # fmt: skip
    """What is to be said of the files."""
    found = []
    cut = [name for name in names if counts[name] > 1]
    if cut:
        held_out = "; the last ones of each file are held out as they follow one another" if in_blocks else ""
        found.append(Finding("cut", Severity.NOTE, f"{len(cut)} file{'s' * (len(cut) > 1)} cut into "
                             f"{sum(counts[name] for name in cut):,} documents behind blank lines{held_out}",
                             places=cut))  # fmt: skip
    if empty := [name for name in names if not counts[name]]:
        found.append(Finding("empty", Severity.WARNING, f"{len(empty)} file{'s' * (len(empty) > 1)} without a text "
                             "left out", places=empty))  # fmt: skip
    if others := [file.name for file in inside if file not in {*files}]:
        found.append(Finding("other-files", Severity.NOTE, f"{len(others)} files are no text and are left out",
                             places=others))  # fmt: skip
    for encoding in sorted({*encodings} - {"utf-8", "utf-8-sig"}):
        named = [name for name, one in zip(names, encodings, strict=True) if one == encoding]
        found.append(Finding("encoding", Severity.NOTE, f"{len(named)} file{'s' * (len(named) > 1)} read as {encoding}",
                             places=named, fix="if letters look wrong, give encoding= (--encoding)"))  # fmt: skip
    return found


@SOURCES.register("corpus")
class CorpusSource(Source):
    """Texts without a target."""

    of, sign = "corpora", "a text file"
    read = staticmethod(from_corpus)

    @staticmethod
    def claims(path: Path, options: Mapping[str, Any]) -> float:
        if any(option in options for option in OF_TABLES):
            return 0
        if path.is_file():
            if path.suffix.lower() in (*JSON_LINES, *TABLES):
                return 0.95 * _begins_with_a_chat(path)
            return 0.4 * (path.suffix.lower() in TEXT and not is_tagged(path) and not _is_tabular(path))
        if not path.is_dir():
            return 0
        entries = _entries(path)
        folders = [entry for entry in entries if entry.is_dir()]
        if folders and (any(side_of(folder.name) is None for folder in folders) or len(folders) < len(entries)):
            return 0
        inside = [entry for folder in folders for entry in _entries(folder)] if folders else entries
        texts = sorted(entry.path for entry in inside if entry.is_file() and entry.name.lower().endswith(TEXT))
        plain = texts and len(texts) == len(inside) and not any(is_tagged(Path(text)) for text in texts[:3])
        return 0.5 * bool(plain and any(not text.lower().endswith(".md") for text in texts))

    @staticmethod
    def table(path: Path, **layout: Any) -> Table:
        """The rows, with the column `text` that `read` makes of others, unless there is one."""
        import polars as pl

        table = read_table(path, nested=True, **layout)
        if "text" in table.frame.columns:
            return table
        chats, findings = _written(table.frame, path)
        own = {MESSAGES, TURNS, SYSTEM, "prompt", "chosen", "rejected", *ASKED, *ANSWERED, *BESIDE}
        made_of = [name for name in table.frame.columns if name.lower() in own]
        frame = table.frame.with_columns(text=pl.Series(chats, dtype=pl.Object))
        return table._replace(frame=frame, findings=[*table.findings, *findings], made_of=made_of)


def _entries(folder: str | os.PathLike[str]) -> list[os.DirEntry[str]]:
    """What lies in a folder and is not hidden: of very many files none is looked at."""
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not entry.name.startswith(".")]


def _begins_with_a_chat(path: Path) -> bool:
    """Whether a row among the first of a table is a chat, or a prompt and what follows it."""
    try:
        data = read_bytes(path, 1 << 20)
    except DataError:
        return False
    head = data.decode(detect(data), "replace").removeprefix("\ufeff")
    if path.suffix.lower() in (".csv", *TABS):
        names, _, below = head.partition("\n")
        said = below if MESSAGE.search(below[:LINE]) else None  # a cell that is a chat as JSON
        rows: list[dict[str, Any]] = [dict.fromkeys((name.strip(' "\r') for name in re.split("[,;\t|]", names)), said)]
    else:
        rows = _first_objects(head)
    return any(_is_said(row) for row in rows)


def _first_objects(head: str) -> list[dict[str, Any]]:
    """Some objects at the beginning of JSON or JSON Lines; of one that holds a list of them these."""
    found, decoder, at = list[dict[str, Any]](), json.JSONDecoder(), head.find("{")
    for _ in range(FIRST):
        if at < 0:
            break
        try:
            row, end = decoder.raw_decode(head, at)
        except (ValueError, RecursionError):
            at = head.find("{", at + 1)  # it is cut off, or damaged: what it holds, or what comes next
            continue
        lists = [value for value in row.values() if isinstance(value, list)]
        wraps = len(lists) == 1 and _chats([*row]) is None
        found += [one for one in lists[0][:FIRST] if isinstance(one, dict)] if wraps else [row]
        at = head.find("{", end)
    return found


def _is_said(row: Mapping[str, Any]) -> bool:
    if {"label", "target"} & {*row}:
        return False
    said = row.get(_chats([*row]) or "")
    if isinstance(said, str):
        chat = MESSAGE.search(said[:LINE]) is not None
    else:  # one without a role is told by its line when it is read
        listed = said if isinstance(said, list) else []
        chat = any(isinstance(one, dict) and {"role", "content", "from", "value"} & {*one} for one in listed)
    return chat or _preferences([*row]) is not None or Prompted.among([*row]) is not None


def _is_tabular(path: Path) -> bool:
    """Whether the lines of a file are the rows of a table: as many cells in each, by whatever stands between them."""
    try:
        head = read_bytes(path, HEAD).decode("utf-8", "replace")
    except DataError:
        return True  # the table's reader says why it cannot be read
    lines = [line for line in head.splitlines()[:50] if line.strip()]
    if len(lines) < FEWEST_LINES:
        return False
    counts = ({line.count(separator) for line in lines} for separator in "\t;|,")
    return (
        any(len(same) == 1 and 0 not in same for same in counts)
        or all("\t" in line for line in lines)
        or by_spaces(head)
    )
