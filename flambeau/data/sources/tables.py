"""Table files as data frames: CSV in any encoding, with or without a header, TSV, Parquet, JSON Lines."""

from __future__ import annotations

import codecs
import io
import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from flambeau.core.errors import DataError, first_line
from flambeau.core.files import check_regular, read_bytes
from flambeau.core.findings import Finding, Severity
from flambeau.data.sources.archives import decompressed, inner_suffix
from flambeau.data.sources.cells import UNNAMED, Cells, by_spaces, fitting, look, quoted
from flambeau.data.sources.formats import READERS, frame_of
from flambeau.data.sources.mending import contents, head_of, mended, tabs_for_spaces, unclosed_quotes
from flambeau.data.sources.unread import disguised
from flambeau.fields.language.charsets import MOST_DAMAGED, detect, to_text

PARQUET = (".parquet", ".pq", ".parq")
TABS = (".tsv", ".tab")
SUFFIXES = (".csv", *TABS, ".dat", ".data", *PARQUET, ".jsonl", ".ndjson")  # and those of READERS
JSON_LINES = (".jsonl", ".ndjson")
BLOCK = 16 << 20
SPACED_QUOTE = re.compile(rb'([,;|\t]) +"(?=[^"]|"[,;|\t\r\n])')
LOOKED_AT = 10_000  # rows, to find out what each column holds
DAMAGED = "\ufffd"  # what stands for bytes that are not in the encoding


def is_table(path: str | Path) -> bool:
    """Whether a file's name ends as a table's does, compressed or not."""
    suffix = inner_suffix(path)
    return suffix in SUFFIXES or suffix in READERS


class Table(NamedTuple):
    """A table file's frame, how its text was read (None where it has no encoding), and what was noticed.

    Cells of a CSV or TSV file are texts as the file has them, None where there is nothing; `decimal` is then the
    decimal mark that its separator suggests, and None where values have types of their own. `made_of`
    are columns that another was made of.
    """

    frame: Any
    encoding: str | None = None
    findings: Sequence[Finding] = ()
    decimal: str | None = None
    made_of: Sequence[str] = ()


def read_table(
    path: str | Path, *, encoding: str | None = None, header: bool = True, columns: Sequence[str] | None = None,
    nested: bool = False,
) -> Table:  # fmt: skip
    """Reads a table file.

    Args:
        encoding: of a CSV, TSV or JSON Lines file; found out if not given.
        header: whether the first row of a CSV or TSV file names the columns.
        columns: names for the columns of a file without a header; column_1, column_2, … if not given.
        nested: whether values of JSON Lines are objects in lists, such as chats, which are then left as they are.

    Raises:
        DataError: the file is missing, cannot be read, or is not in the encoding given (a few rows that are not, or
            that have another number of cells than the others, are left out and named).
    """
    import polars as pl

    file = Path(path)
    if not file.exists():
        raise DataError("there is no such file", where=path, code="not-found")
    check_regular(file)
    file = decompressed(file)
    suffix = file.suffix.lower()
    if suffix not in (*SUFFIXES, ".txt") and suffix not in READERS:
        raise DataError(f"no table has the ending '{suffix}'", where=path, expected=" ".join((*SUFFIXES, *READERS)))
    if other := disguised(read_bytes(file, 64), suffix):
        raise DataError(f"this is {other}", where=path)
    try:
        if suffix in READERS:
            frame, findings = READERS[suffix](file)
            return Table(frame, None, findings)
        if suffix in PARQUET:
            return _parquet(file)
        source, name, damaged = _utf8(file, encoding)
        findings = _of_encoding(file, name, encoding)
        if suffix in JSON_LINES:
            frame, decimal = _json_lines(source, file, nested), None
        else:
            frame, decimal, more = _text_cells(source, file, header, columns or ())
            findings = [*more, *findings]
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"the table cannot be read ({first_line(error)})", where=path) from None
    if damaged:
        frame, more = _without_damage(frame, file, name)
        findings += more
    return Table(frame, name, findings, decimal)


def _parquet(file: Path) -> Table:
    """A Parquet file, class numbers by the names that `datasets` writes into its head."""
    import polars as pl

    frame = pl.read_parquet(file)
    try:
        features = json.loads(pl.read_parquet_metadata(file).get("huggingface") or "{}")["info"]["features"]
        named = {c: feature["names"] for c, feature in features.items() if feature.get("_type") == "ClassLabel"}
    except (ValueError, KeyError, TypeError, AttributeError):
        return Table(frame, None, [])
    findings = []
    for column, names in named.items():
        if column not in frame.columns or not frame[column].dtype.is_integer() or not all(map(str, names)):
            continue
        told = frame[column].replace_strict(
            range(len(names)), list(map(str, names)), default=None, return_dtype=pl.String
        )
        frame = frame.with_columns(told)  # -1 stands for no label
        shown = ", ".join(map(str, names[:5])) + ", …" * (len(names) > 5)
        findings.append(Finding("class-names", Severity.NOTE, f"the classes of '{column}' have the names that "
                                f"{file.name} gives them: {shown}", places=[column]))  # fmt: skip
    return Table(frame, None, findings)


def _of_encoding(file: Path, name: str, asked: str | None) -> list[Finding]:
    if name in ("utf-8", "utf-8-sig"):
        return []
    said = "as asked" if asked else "as its bytes look"
    return [Finding("encoding", Severity.NOTE, f"{file.name} is read as {name}, {said}", places=[str(file)],
                    fix="" if asked else "if letters look wrong, give encoding= (--encoding)")]  # fmt: skip


def _json_lines(source: Any, file: Path, nested: bool) -> Any:
    """A frame of JSON Lines. Where the first rows mislead, all of them are asked what a column holds.

    Raises:
        DataError: a line is no object; with its number.
    """
    import polars as pl

    if isinstance(source, Path) and read_bytes(source, 3) == codecs.BOM_UTF8:
        source = source.read_bytes()[3:]
    if not nested:
        for looked_at in (LOOKED_AT, None):
            try:
                return pl.read_ndjson(source, infer_schema_length=looked_at)
            except pl.exceptions.PolarsError:
                continue
    rows = list[Any]()
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                told = f"line {number:,} is not JSON ({str(error) or 'too deep'})"
                raise DataError(told, where=file, expected="an object a line") from None
            if not isinstance(row, dict):
                raise DataError(f"line {number:,} is a {type(row).__name__}", where=file, expected="an object a line")
            rows.append(row)
    if not rows:
        raise DataError("the file is empty", where=file, expected="an object a line")
    return frame_of(rows)


def _text_cells(source: Any, file: Path, header: bool, names: Sequence[str]) -> tuple[Any, str, list[Finding]]:
    """A frame of texts, the decimal mark that the separator suggests, and what was noticed."""
    import polars as pl

    source, ways = mended(source)
    head = head_of(source)
    if not head.strip():
        raise DataError("the file is empty", where=file, expected="a row of names, and rows of values")
    given = "\t" if file.suffix.lower() in TABS and "\t" in head else None
    if given is None and by_spaces(head):
        source, given, ways = tabs_for_spaces(source), "\t", [*ways, "spaces between its cells"]
        head = head_of(source)
    cells = look(head, given, header, names)
    if cells.spaced and (data := contents(source)) and SPACED_QUOTE.search(data):
        source = SPACED_QUOTE.sub(rb'\1"', data)
    frame, odd = _parsed(source, cells, file)
    if cells.spaced:
        frame = frame.with_columns(pl.all().str.strip_chars(" "))
    if contents(source, lambda data: data.find(b'="') >= 0) is not None:  # spreadsheets keep the zeros of 007 so
        frame = frame.with_columns(pl.all().str.replace('(?s)^="(.*)"$', "$1"))
    if cells.row_names and not _may_name_rows(frame[frame.columns[0]]):
        raise DataError(
            f"the header has {len(cells.names) - 1} cells and the rows have {len(cells.names)}", where=file,
            expected="a name for each column", fix="put numbers and texts that hold the separator into quotes",
        )  # fmt: skip
    again = pl.all_horizontal(
        pl.col(name).fill_null("").str.strip_chars() == ("" if name.startswith(UNNAMED) else name)
        for name in frame.columns
    )
    rows = frame.select(again).to_series().arg_true().to_list() if header and frame.width > 1 else []
    if rows:  # several files, one behind the other
        frame = frame.filter(~again)
    unnamed = [c for c in frame.columns if c.startswith(UNNAMED) and frame[c].null_count() == len(frame)]
    frame = frame.drop(unnamed)  # nothing but a separator at each end
    if frame.width > 1 and frame[frame.columns[0]].null_count():
        frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))  # empty lines
    ways = [f"'{cells.separator}' between its cells"] * (cells.separator in ";|") + ways
    ways += ["names of its rows, which the header has no name for"] * cells.row_names
    findings = []
    if ways:
        said = f"{file.name} is read as a table with {' and '.join(ways)}"
        findings.append(Finding("layout", Severity.NOTE, said, places=[str(file)]))
    if skipped := [line.strip() for line in cells.skipped if line.strip()]:
        said = f"{file.name} begins with {len(skipped)} line{'s' * (len(skipped) > 1)} before the table"
        findings.append(Finding("skipped-lines", Severity.NOTE, f"{said}: '{skipped[0][:60]}'"))
    if cells.below:
        said = f"{file.name} has units or a second header below its first, left out: '{cells.below[0].strip()[:60]}'"
        findings.append(Finding("skipped-lines", Severity.NOTE, said, fix="if it is a row: fill in what is no number"))
    if rows:
        said = f"{len(rows)} row{'s' * (len(rows) > 1)} of {file.name} left out that repeat{'s' * (len(rows) == 1)}"
        findings.append(
            Finding("header-again", Severity.NOTE, f"{said} the header", places=[f"row {row + 1}" for row in rows])
        )
    if odd:
        said = f"{len(odd)} row{'s' * (len(odd) > 1)} of {file.name} left out, with another number of cells than the "
        findings.append(Finding("odd-rows", Severity.WARNING, f"{said}{len(cells.names)} columns", places=odd,
                                fix="mend these lines; texts that hold the separator stand in quotes"))  # fmt: skip
    return frame, "," if cells.separator == ";" else ".", findings


def _parsed(source: Any, cells: Cells, file: Path) -> tuple[Any, list[str]]:
    """The rows, and where those are that have another number of cells."""
    import polars as pl

    def read(data: Any, quote: str | None = '"') -> Any:
        schema = dict.fromkeys(cells.names, pl.String)
        return pl.read_csv(data, separator=cells.separator, quote_char=quote, has_header=False, skip_lines=cells.lines,
                           schema=schema, missing_columns="insert", raise_if_empty=False)  # fmt: skip

    frame = None
    # quotes around cells are taken off; where they do not come in pairs they belong to the text, as in many files of
    # texts with tabs between
    for quote in ('"', None) if cells.separator == "\t" else ('"',):
        try:
            frame = read(source, quote)
            break
        except pl.exceptions.PolarsError:
            continue
    if frame is not None:
        last = frame[frame.columns[-1]]
        ends = last.null_count() if frame.width > 1 else 0
        few = 0 < ends <= max(3, len(frame) // 10)
        if not (few and _has_short_line(source, cells)) and (cells.separator == "\t" or not unclosed_quotes(source)):
            return frame, []
    # a row that is too short cannot be told from one whose last value is missing, but by counting
    text = contents(source).decode("utf-8", errors="replace")
    try:
        fitted, odd = fitting(text, cells, file)
    except DataError:
        if frame is not None:
            return frame, []
        raise
    if frame is None or odd:
        try:
            frame = read(fitted.encode())
        except pl.exceptions.PolarsError:  # quotes within cells, as for inches
            frame = read(quoted(fitted, cells).encode())
    return frame, odd


def _may_name_rows(names: Any) -> bool:
    """Whether each is another, and numbers are whole and rise."""
    import polars as pl

    numbers = names.cast(pl.Float64, strict=False)
    if names.is_duplicated().any():
        return False
    return numbers.null_count() > 0 or (numbers.is_sorted() and bool((numbers % 1 == 0).all()))


def _has_short_line(source: Any, cells: Cells) -> bool:
    """Whether a line without quotes has fewer cells than there are columns: line by line, for the file may be large."""
    separator, least = cells.separator.encode(), len(cells.names) - 1
    stream: BinaryIO
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
        lines = itertools.islice(stream, cells.lines, None)
        return any(line.count(separator) < least and b'"' not in line and line.strip() != b"" for line in lines)


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

    texts = [c for c, dtype in frame.schema.items() if dtype == pl.String]
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
