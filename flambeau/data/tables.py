"""Table files as data frames: CSV in any encoding, with or without a header, TSV, Parquet, JSON Lines."""

from __future__ import annotations

import codecs
import csv
import itertools
import mmap
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flambeau.core.errors import DataError
from flambeau.core.files import check_regular
from flambeau.core.findings import Finding, Severity
from flambeau.data.archives import decompressed, inner_suffix
from flambeau.data.formats import READERS
from flambeau.fields.charsets import MOST_DAMAGED, detect, to_text

SUFFIXES = (".csv", ".tsv", ".parquet", ".pq", ".jsonl", ".ndjson", *READERS)
JSON_LINES = (".jsonl", ".ndjson")
BLOCK = 16 << 20
SEEN = 1 << 16  # bytes, to find out what stands between cells
ESCAPED = re.compile(rb'\\"(?=[^",;\t\r\n])')  # before a letter: a folder's name may end with a backslash
LOOKED_AT = 10_000  # rows, to find out what each column holds
DAMAGED = "\ufffd"  # what stands for bytes that are not in the encoding


def is_table(path: str | Path) -> bool:
    """Whether a file's name ends as a table's does, compressed or not."""
    return inner_suffix(path) in SUFFIXES


class Table(NamedTuple):
    """A table file's frame, how its text was read (None where it has no encoding), and what was noticed."""

    frame: Any
    encoding: str | None
    findings: list[Finding]


def read_table(
    path: str | Path,
    *,
    encoding: str | None = None,
    header: bool = True,
    columns: Sequence[str] | None = None,
) -> Table:
    """Reads a table file.

    Args:
        encoding: of a CSV, TSV or JSON Lines file; found out if not given.
        header: whether the first row of a CSV or TSV file names the columns.
        columns: names for the columns of a file without a header; column_1, column_2, … if not given.

    Raises:
        DataError: the file is missing, cannot be read, or is not in the encoding given (a few rows that are not are
            left out and named).
    """
    import polars as pl

    file = Path(path)
    if not file.exists():
        raise DataError("there is no such file", where=path)
    check_regular(file)
    file = decompressed(file)
    suffix = file.suffix.lower()
    if suffix not in (*SUFFIXES, ".txt"):
        raise DataError(f"no table has the ending '{suffix}'", where=path, expected=" ".join(SUFFIXES))
    try:
        if suffix in READERS:
            frame, findings = READERS[suffix](file)
            return Table(frame, None, findings)
        if suffix in (".parquet", ".pq"):
            return Table(pl.read_parquet(file), None, [])
        source, name, damaged = _utf8(file, encoding)
        separator = "\t" if suffix == ".tsv" else _separator(source) if suffix not in JSON_LINES else ""
        unescaped = source if suffix in JSON_LINES else _unescaped(source)
        frame = _parsed(unescaped, suffix, separator, header)
        if not header and suffix not in JSON_LINES:
            names = list(columns or ())
            frame.columns = names + [f"column_{i + 1}" for i in range(len(names), frame.width)]
    except pl.exceptions.PolarsError as error:
        raise DataError(f"the table cannot be read ({str(error).splitlines()[0]})", where=path) from None
    findings = []
    ways = [f"'{separator}' between its cells"] * (separator not in "\t,")
    ways += ["backslashes before its quotes"] * (unescaped is not source)
    if ways:
        said = f"{file.name} is read as a table with {' and '.join(ways)}"
        findings.append(Finding("layout", Severity.NOTE, said, places=[str(path)]))
    if name not in ("utf-8", "utf-8-sig"):
        said = "as asked" if encoding else "as its bytes look"
        findings.append(Finding("encoding", Severity.NOTE, f"{file.name} is read as {name}, {said}", places=[str(path)],
                                fix="" if encoding else "if letters look wrong, give encoding="))  # fmt: skip
    if damaged:
        frame, more = _without_damage(frame, file, name)
        findings += more
    return Table(frame, name, findings)


def _separator(source: Any) -> str:
    """What stands between the cells of a CSV: the comma, unless that gives rows of one cell or of different length
    where another character gives rows alike."""
    if isinstance(source, bytes):
        head = source[:SEEN]
    else:
        with source.open("rb") as stream:
            head = stream.read(SEEN)
    lines = head.decode("utf-8", errors="replace").removeprefix("\ufeff").splitlines(keepends=True)
    for separator in ",;\t|":
        try:
            rows = list(itertools.islice(csv.reader(lines, delimiter=separator), 20))
        except csv.Error:
            continue
        if len(rows) > 1 and len({len(row) for row in rows if row}) == 1 < len(rows[0]):
            return separator
    return ","


def _unescaped(source: Any) -> Any:
    """The same table with quotes within cells doubled, where a backslash stands before most of them: read as they are,
    two rows would become one."""
    if isinstance(source, bytes):
        return source if source.find(b'\\"') < 0 else _doubled(source)
    if not source.stat().st_size:
        return source
    with source.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return source if data.find(b'\\"') < 0 else _doubled(data[:], source)


def _doubled(data: bytes, otherwise: Any = None) -> Any:
    if len(ESCAPED.findall(data)) <= data.count(b'""'):
        return data if otherwise is None else otherwise
    return data.replace(b'\\"', b'""')


def _parsed(source: Any, suffix: str, separator: str, header: bool) -> Any:
    """A frame of what is UTF-8. Where the first rows mislead, all of them are asked what a column holds."""
    import polars as pl

    error = None
    for rows in (LOOKED_AT, None):
        # quotes around cells are taken off; where they do not come in pairs they belong to the text, as in many files
        # of texts with tabs between
        for quote in ('"', None) if suffix == ".tsv" else ('"',):
            try:
                if suffix in JSON_LINES:
                    return pl.read_ndjson(source, infer_schema_length=rows)
                return pl.read_csv(source, separator=separator, quote_char=quote,
                                   infer_schema_length=rows, has_header=header)  # fmt: skip
            except pl.exceptions.PolarsError as wrong:
                error = error or wrong
    assert error is not None
    raise error


def _utf8(file: Path, encoding: str | None) -> tuple[Any, str, bool]:
    """What polars can read of a file (its path, or bytes in UTF-8), its encoding, and whether some bytes are wrong."""
    if encoding is None and _is_utf8(file):
        return file, "utf-8", False
    data = file.read_bytes()
    name = encoding or detect(data)
    try:
        return to_text(data, name, file)[0].encode("utf-8", errors="replace"), name, False
    except DataError:
        text = data.decode(name, errors="replace").removeprefix("\ufeff")
        lines = text.splitlines()
        if encoding and sum(DAMAGED in line for line in lines) > MOST_DAMAGED * len(lines):
            raise  # it is in another encoding
        return text.encode(), name, True


def _is_utf8(file: Path) -> bool:
    """Whether all of a file is UTF-8 without a byte order mark other than its own; in blocks, for it may be large."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with file.open("rb") as stream:
        head = stream.read(4)
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or (len(head) == 4 and 0 in head):
            return False
        try:
            decoder.decode(head)
            while block := stream.read(BLOCK):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _without_damage(frame: Any, file: Path, name: str) -> tuple[Any, list[Finding]]:
    """The frame without the values that hold undecodable bytes, and their rows named."""
    import polars as pl

    texts = [c for c, kind in frame.schema.items() if kind == pl.String]
    wrong = frame.select(pl.any_horizontal(pl.col(c).str.contains(DAMAGED, literal=True) for c in texts))
    rows = wrong.to_series().fill_null(False).arg_true().to_list()
    blank = [
        pl.when(pl.col(c).str.contains(DAMAGED, literal=True)).then(None).otherwise(pl.col(c)).alias(c) for c in texts
    ]
    many = "s" * (len(rows) > 1)
    finding = Finding(
        "undecodable", Severity.WARNING,
        f"{len(rows)} row{many} of {file.name} with bytes that are not {name}, left out",
        places=[f"row {row + 1}" for row in rows], rows=rows, fix="mend them, or give the encoding of the file",
    )  # fmt: skip
    return frame.with_columns(blank), [finding]
