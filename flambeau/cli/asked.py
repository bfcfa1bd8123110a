"""What is asked of `flambeau predict`: the values that its arguments stand for, each with what it is called."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flambeau.cli import common
from flambeau.core.errors import DataError
from flambeau.data.reading import read_rows
from flambeau.data.sources.roles import ROW_NAME
from flambeau.data.sources.tables import is_table
from flambeau.data.sources.walk import walk
from flambeau.fields import Field
from flambeau.predictor import Predictor, rows_of


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
    field, file = predictor.fields[predictor.inputs[0]], Path(given)
    several, typed = predictor.columns != predictor.inputs, field.asked_as == "text" and not _is_slip(given, field)
    if field.asked_as == "rows":
        yield from _courses(given, predictor, layout)
    elif given == "-" and field.asked_as == "text":
        yield from (Asked("text", line.strip(), line.strip()) for line in sys.stdin if line.strip())
    elif (row := _row(given, predictor, several)) is not None:
        yield Asked("text", _told(row), row)
    elif several or (is_table(file) and (_exists(file) or not typed)):
        yield from _rows(file, predictor, several, layout)
    elif field.asked_as == "text" and not (given.strip() and _exists(file)):
        if not typed:
            raise DataError("there is no such file", code="not-found")
        yield Asked("text", given, given)
    elif file.is_dir():
        found = [file / f for f in walk(file).files if Path(f).suffix.lower() in field.endings]
        if not found:
            raise DataError("the folder holds no files that this run can read")
        for inside in found:
            yield from _of_file(inside, field, layout)
    else:
        yield from _of_file(file, field, layout)


def _of_file(path: Path, field: Field, layout: Layout) -> Iterator[Asked]:
    """The values of a file."""
    try:
        for name, value in field.values_in(path, encoding=layout.encoding, column=layout.token_column):
            yield Asked("file" if name.startswith(str(path)) else "text", name, value)
    except DataError as error:  # the other files of the folder are predicted
        yield Asked("file", str(path), error)


def _is_slip(given: str, field: Field) -> bool:
    """Whether an argument that is no path is not meant as a text: a single word that ends like a file."""
    ends = is_table(given) or Path(given).suffix.lower() in field.endings
    return ends and not any(map(str.isspace, given.strip()))


def _courses(given: str, predictor: Predictor, layout: Layout) -> Iterator[Asked]:
    """What was up to now of each of the series of a table."""
    wanted = [name for name in predictor.columns if name != predictor.target]
    read = read_rows(given, {}, known=wanted, encoding=layout.encoding, header=layout.header, columns=layout.columns)
    field = predictor.fields[predictor.inputs[0]]
    for rows in field.apart(rows_of(read.frame))[0]:
        yield Asked("file", given, rows, {"series": str(rows[0].get(field.apart_by))} if field.apart_by else {})


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
        raise DataError("there is no such table", code="not-found")
    known, say = predictor.columns, common.reporter().say
    read = read_rows(
        file, predictor.column_fields, known=known, root=layout.root,
        plain=[name for name in known if name not in predictor.inputs],
        encoding=layout.encoding, header=layout.header, columns=layout.columns,
    )  # fmt: skip
    if read.left_out:
        say(f"{file.name}: not read: {', '.join(read.left_out)}")
    for finding in read.findings:
        say(str(finding), style="yellow")
    ids = read.frame.select([c for c in read.left_out if c in read.frame.columns and _names_rows(c)])
    written = {name: read.frame[name].to_list() for name in known}  # as the table has them
    for number, (row, which) in enumerate(zip(read.rows, _named_rows(ids, len(read.frame)), strict=True)):
        name = _told({column: values[number] for column, values in written.items()})
        if len(known) == 1 and not isinstance(cell := written[known[0]][number], (int, float)):
            name = cell if isinstance(cell, str) else f"row {number + 1}"
        if number in read.unread:
            yield Asked("file", name, read.unread[number], which)
        else:
            yield Asked("file" if read.files and len(known) == 1 else "text", name, row, which)


def _names_rows(column: str) -> bool:
    return bool(ROW_NAME.fullmatch(column)) and column != "row"


def _named_rows(ids: Any, count: int) -> Iterator[dict[str, Any]]:
    """The number of each row, from 1 on, and the names that a table has for it."""
    for number in range(count):
        yield {"row": number + 1, **(ids.row(number, named=True) if ids.width else {})}


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long for a path, or with a null character
        return False
