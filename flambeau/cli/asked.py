"""What is asked of `flambeau predict`: the values that its arguments stand for, each with what it is called."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flambeau.cli import common
from flambeau.core.errors import DataError, nearest
from flambeau.data.grouping import unseen
from flambeau.data.sources.columns import from_polars
from flambeau.data.sources.paths import join_paths, located, unpacked
from flambeau.data.sources.roles import ROW_NAME
from flambeau.data.sources.tables import is_table, read_table
from flambeau.data.sources.walk import walk
from flambeau.fields import Rows
from flambeau.fields.language.charsets import read_text
from flambeau.fields.language.tagged import SUFFIXES as TAGGED
from flambeau.fields.language.tagged import is_tagged, read_tagged, split_lines
from flambeau.fields.time.ts import read_series
from flambeau.predictor import Predictor

WRITTEN = ("text", "tokens")  # kinds whose values may stand on the command line itself


class Layout(NamedTuple):
    """How files are written: as the training's was, and in which encoding; found out if not given."""

    encoding: str | None = None
    token_column: int | None = None
    header: bool = True
    columns: Sequence[str] | None = None
    root: Path | None = None


class Asked(NamedTuple):
    """A raw value, or why there is none, and what it is called; of what kind that name is, `file` or `text`; and of a
    table's row its number, from 1 on, and the names that the table has for it."""

    kind: str
    name: str
    value: Any
    row: Mapping[str, Any] = {}


def asked(arguments: list[str], predictor: Predictor, layout: Layout) -> Iterator[Asked]:
    """The values of each argument: a file, the files of a folder, the rows of a table, a row as JSON, or a text; of `-`
    each line of the standard input.

    An argument that stands for nothing gives what is wrong with it, so that the others are predicted.
    """
    for given in arguments:
        try:
            yield from _values(given, predictor, layout)
        except DataError as error:
            yield Asked("text" if given.lstrip().startswith("{") else "file", given, error)


def _values(given: str, predictor: Predictor, layout: Layout) -> Iterator[Asked]:
    field = predictor.fields[predictor.inputs[0]] if predictor.inputs else None
    several = len(predictor.inputs) > 1 or (field is not None and field.kind == "table")
    file = Path(given)
    if given == "-" and field is not None and field.kind in WRITTEN:
        yield from (Asked("text", line.strip(), line.strip()) for line in sys.stdin if line.strip())
    elif (row := _row(given, predictor, several)) is not None:
        yield Asked("text", _told(row), row)
    elif several or (is_table(file) and field is not None and (_exists(file) or not _is_text(given, field))):
        yield from _rows(file, predictor, several, layout)
    elif field is not None and field.kind in WRITTEN and not (given.strip() and _exists(file)):
        if not _is_text(given, field):
            raise DataError("there is no such file")
        yield Asked("text", given, given)
    elif field is not None and field.kind == "series":
        for i, series in enumerate(read_series(file), 1):
            yield Asked("text", f"series {i}", series)
    elif file.is_dir():
        endings = {*TAGGED, ".txt"} if field is not None and field.kind == "tokens" else getattr(field, "suffixes", ())
        found = [file / f for f in walk(file).files if Path(f).suffix.lower() in endings]
        if not found:
            raise DataError("the folder holds no files that this run can read")
        for inside in found:
            yield from _of_file(inside, field, layout)
    else:
        yield from _of_file(file, field, layout)


def _of_file(path: Path, field: Any, layout: Layout) -> Iterator[Asked]:
    """The one value of a file, or its sentences where words are tagged."""
    try:
        if field is not None and field.kind == "tokens":
            yield from _sentences(path, layout)
        elif field is not None and field.kind == "text":
            yield Asked("file", str(path), read_text(path, layout.encoding))
        else:
            yield Asked("file", str(path), path)
    except DataError as error:  # the other files of the folder are predicted
        yield Asked("file", str(path), error)


def _is_text(given: str, field: Any) -> bool:
    """Whether an argument that is no path is meant as a text: a single word that ends like a file is a slip."""
    ends = is_table(given) or Path(given).suffix.lower() in (*TAGGED, ".txt")
    return field.kind in WRITTEN and (not ends or any(map(str.isspace, given.strip())))


def _row(given: str, predictor: Predictor, several: bool) -> Mapping[str, Any] | None:
    """A row written as JSON; None where the argument is something else."""
    if not predictor.inputs or not given.lstrip().startswith("{"):
        return None
    try:
        row = json.loads(given)
    except ValueError as error:
        if several:
            raise DataError(f"the row is not JSON ({error})") from None
        return None  # a text may begin so
    return row if several or predictor.inputs[0] in row else None


def _told(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in row.items())


def _rows(file: Path, predictor: Predictor, several: bool, layout: Layout) -> Iterator[Asked]:
    """The rows of a table file, or the values of the one column that the model reads; columns that it does not read
    are left out, and said."""
    if not _exists(file):
        raise DataError("there is no such table")
    known = predictor.columns
    read = read_table(file, encoding=layout.encoding, header=layout.header, columns=layout.columns)
    for finding in read.findings:
        common.reporter().say(str(finding), style="yellow")
    frame = unpacked(read.frame)
    for name in known:
        if name not in frame.columns:
            raise DataError(
                f"the table has no column '{name}'", expected=", ".join(known), fix=nearest(name, frame.columns)
            )
    if not len(frame):
        raise DataError("the table has no rows")
    extra = [name for name in frame.columns if name not in known]
    if extra:
        common.reporter().say(f"{file.name}: not read: {', '.join(extra)}")
    fields = predictor.column_fields
    others, root = [n for n in known if n not in predictor.inputs], layout.root or file.parent
    frame, ids = (
        located(frame.select(known), others, root, file.name)[0],
        frame.select([c for c in extra if _names_rows(c)]),
    )
    columns = from_polars(frame, None, fields, decimal=read.decimal).values
    for finding in unseen(columns, fields):
        common.reporter().say(str(finding), style="yellow")
    written = {name: frame[name].to_list() for name in known}
    names = written[known[0]]  # as the table has them
    # as in training, a column of file names holds hardly anything else: no other cell is ever opened
    found, unread = join_paths(columns, others, root)
    for number, (row, which) in enumerate(zip(Rows(columns), _named_rows(ids, len(frame)), strict=True)):
        name = _told({column: values[number] for column, values in written.items()})
        if len(known) == 1 and not isinstance(names[number], (int, float)):
            name = names[number] if isinstance(names[number], str) else f"row {number + 1}"
        if number in unread:
            yield Asked("file", name, unread[number], which)
        else:
            yield Asked("file" if found and len(known) == 1 else "text", name, row, which)


def _names_rows(column: str) -> bool:
    return bool(ROW_NAME.fullmatch(column)) and column != "row"


def _named_rows(ids: Any, count: int) -> Iterator[dict[str, Any]]:
    """The number of each row, from 1 on, and the names that a table has for it."""
    for number in range(count):
        yield {"row": number + 1, **(ids.row(number, named=True) if ids.width else {})}


def _sentences(file: Path, layout: Layout) -> Iterator[Asked]:
    """Of a file of tagged sentences their words; of any other each line."""
    if is_tagged(file):
        for sentence in read_tagged(file, file.name, layout.token_column, encoding=layout.encoding):
            yield Asked("file", f"{file}, line {sentence.line}", sentence.tokens)
        return
    for number, line in enumerate(split_lines(read_text(file, layout.encoding)), 1):
        if line.strip():
            yield Asked("file", f"{file}, line {number}", line)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long for a path, or with a null character
        return False
