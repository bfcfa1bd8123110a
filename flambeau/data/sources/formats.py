"""Tables that are not CSV: Excel and OpenDocument, ARFF, JSON."""

from __future__ import annotations

import csv
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flambeau.core.errors import DataError, MissingExtra, first_line
from flambeau.core.files import read_bytes
from flambeau.core.findings import Finding, Severity
from flambeau.core.registry import Registry
from flambeau.fields.language.charsets import detect, to_text

MOST_UNPACKED = 1 << 30  # bytes of a workbook
MOST_CELLS = 100_000_000  # of a sheet, empty ones too
_ATTRIBUTE = re.compile(r"""@attribute\s+('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\S+)\s+(.+)""", re.IGNORECASE)


READERS: Registry[Callable[[Path], Read]] = Registry("kind of table")
"""What reads a file, by its ending."""


class Read(NamedTuple):
    """A polars frame, and what was noticed while it was read."""

    frame: Any
    findings: list[Finding]


@READERS.register(".xlsx")
@READERS.register(".xlsm")
@READERS.register(".xlsb")
@READERS.register(".xls")
@READERS.register(".ods")
def read_workbook(path: Path) -> Read:
    """The first sheet with rows of an Excel or OpenDocument file; its first row names the columns. A column of cells of
    several kinds is one of texts.

    Raises:
        DataError: the file is damaged, has a password, or holds no rows. MissingExtra.
    """
    try:
        import python_calamine as calamine
    except ImportError:
        raise MissingExtra("python-calamine", "tables", "reading Excel and OpenDocument tables") from None
    if zipfile.is_zipfile(path):
        _check_extent(path)
    try:
        workbook = calamine.CalamineWorkbook.from_path(str(path))
        sheets = {name: workbook.get_sheet_by_name(name).to_python() for name in workbook.sheet_names}
    except calamine.PasswordError:
        raise DataError("the table has a password", where=path, fix="save it without one") from None
    except (calamine.CalamineError, calamine.XmlError, calamine.ZipError, OSError) as error:
        raise DataError(f"the table cannot be read ({first_line(error)})", where=path) from None
    filled = [name for name, rows in sheets.items() if len(rows) > 1]
    if not filled:
        raise DataError("no sheet holds a row below its names", where=path)
    header, *rows = sheets[filled[0]]
    values = [[cell if cell != "" else None for cell in column] for column in zip(*rows, strict=True)]
    named = [(str(name).strip(), column) for name, column in zip(header, values, strict=True)]
    kept = [(name, column) for name, column in named if name or any(cell is not None for cell in column)]
    findings = []
    if len(filled) > 1:
        findings.append(
            Finding("sheets", Severity.NOTE, f"of {path.name} the sheet '{filled[0]}' is read", places=filled[1:],
                    fix="for another one, save it as a file of its own")
        )  # fmt: skip
    return Read(_frame([name for name, _ in kept], [column for _, column in kept]), findings)


def _check_extent(path: Path) -> None:
    """Raises DataError for a workbook (a zip of XML) that would take all memory: by what it unpacks to, or by a cell so
    far from the first one that all cells in between are too many."""
    with zipfile.ZipFile(path) as parts:
        if sum(part.file_size for part in parts.infolist()) > MOST_UNPACKED:
            raise DataError(f"it unpacks to more than {MOST_UNPACKED >> 30} GiB", where=path, fix="save it as CSV")
        for name in parts.namelist():
            if not re.fullmatch(r"xl/worksheets/[^/]+\.xml", name):
                continue
            width = height = 1
            for cell in re.finditer(rb'<c [^>]*?r="([A-Z]{1,3})(\d{1,7})"', parts.read(name)):
                letters = [letter - 64 for letter in cell[1]]
                width = max(width, sum(number * 26**place for place, number in enumerate(reversed(letters))))
                height = max(height, int(cell[2]))
            if width * height > MOST_CELLS:
                raise DataError(f"a sheet has cells in column {width:,} and in row {height:,}", where=path,
                                fix="delete what lies apart from the table, or save it as CSV")  # fmt: skip


@READERS.register(".json")
def read_json(path: Path) -> Read:
    """A JSON file: a list of rows as objects, an object of columns (lists, or values by row), or one that holds such a
    thing under a single name.

    Raises:
        DataError: it is something else, or is damaged.
    """
    try:
        document = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"the file is not JSON ({str(error) or 'too deep'})", where=path) from None
    if isinstance(document, dict):
        tables = [value for value in document.values() if isinstance(value, list) and value and _are_rows(value)]
        document = tables[0] if len(tables) == 1 else document
    if isinstance(document, list) and document and _are_rows(document):
        return Read(frame_of(document), [])
    if isinstance(document, dict) and document:
        columns = [list(v.values()) if isinstance(v, dict) else v for v in document.values()]
        if all(isinstance(column, list) for column in columns) and len({len(column) for column in columns}) == 1:
            return Read(_frame(list(document), columns), [])
    fits = "a list of objects, or an object of lists of one length"
    raise DataError("the file holds no table", where=path, expected=fits)


def _are_rows(values: Sequence[Any]) -> bool:
    return all(isinstance(value, dict) for value in values)


def frame_of(rows: Sequence[Mapping[str, Any]]) -> Any:
    """A polars frame of rows as objects."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return _frame(names, [[row.get(name) for row in rows] for name in names])


@READERS.register(".arff")
def read_arff(path: Path) -> Read:
    """An ARFF file (Weka, OpenML), dense or sparse; nominal values are names as they are written, `?` is missing.

    Raises:
        DataError: it has no attributes, or one of a kind that is not known; a row that does not fit is left out and
            named.
    """
    data = read_bytes(path)
    lines = to_text(data, detect(data), path)[0].splitlines()
    names, numeric, defaults = list[str](), list[bool](), list[str | None]()
    rows, wrong = list[list[str | None]](), list[int]()
    inside = False
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("%"):
            continue
        if inside:
            cells = _cells(line, numeric, defaults)
            if cells is None:
                wrong.append(number)
            else:
                rows.append(cells)
        elif found := _ATTRIBUTE.fullmatch(line):
            kind = found[2].strip().lower()
            if kind.startswith("relational"):
                raise DataError("relational attributes are not read", where=f"{path}, line {number}")
            names.append(_bare(found[1]))
            numeric.append(kind.split()[0] in ("numeric", "real", "integer"))
            nominal = _split(found[2].strip()[1:-1]) if kind.startswith("{") else []
            defaults.append("0" if numeric[-1] else nominal[0].strip() if nominal else None)
        elif line.lower().startswith("@attribute"):
            raise DataError(
                "the attribute has no kind", where=f"{path}, line {number}", expected="@attribute NAME KIND"
            )
        inside = inside or line.lower().startswith("@data")
    if not names or not rows:
        fits = "@attribute lines, @data and rows"
        raise DataError("the file has no attributes or no rows", where=path, expected=fits)
    columns = [list(column) for column in zip(*rows, strict=True)]
    values = [
        [None if cell is None else float(cell) for cell in column] if of_numbers else column
        for column, of_numbers in zip(columns, numeric, strict=True)
    ]
    findings = []
    if wrong:
        message = f"{len(wrong)} line{'s' * (len(wrong) > 1)} of {path.name} that do not fit its attributes, left out"
        places = [f"line {number}" for number in wrong]
        findings.append(Finding("left-out-lines", Severity.WARNING, message, places=places, fix="mend them"))
    return Read(_frame(names, values), findings)


def _split(line: str) -> list[str]:
    """The values between commas, some of which may be in quotes."""
    quote = min((q for q in "'\"" if q in line), key=line.index, default="'")
    return next(csv.reader([line], quotechar=quote, escapechar="\\", skipinitialspace=True), [])


def _cells(line: str, numeric: Sequence[bool], defaults: Sequence[str | None]) -> list[str | None] | None:
    """The cells of a line of ARFF, None for what is missing; None where it does not fit.

    Args:
        defaults: what a sparse line leaves out: 0, or a nominal attribute's first value.
    """
    cells: list[str | None]
    sparse = line.startswith("{") and line.endswith("}")
    found = _split(line[1:-1] if sparse else line)
    if sparse:
        cells = list(defaults)
        for cell in filter(str.strip, found):
            place, _, value = cell.strip().partition(" ")
            if not place.isdecimal() or int(place) >= len(numeric):
                return None
            cells[int(place)] = _bare(value.strip())
    else:
        cells = [cell.strip() for cell in found]
    cells = [None if cell in ("?", "") else cell for cell in cells]
    fits = len(cells) == len(numeric) and all(
        cell is None or not of_numbers or _is_number(cell) for of_numbers, cell in zip(numeric, cells, strict=True)
    )
    return cells if fits else None


def _bare(name: str) -> str:
    """A name without the quotes around it."""
    return re.sub(r"\\(.)", r"\1", name[1:-1]) if len(name) > 1 and name[0] == name[-1] and name[0] in "'\"" else name


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _frame(names: Sequence[str], columns: Iterable[Sequence[Any]]) -> Any:
    """A polars frame of columns of cells; names that are missing or that come twice are made up as for a CSV."""
    import polars as pl

    series: dict[str, Any] = {}
    for i, (name, cells) in enumerate(zip(names, columns, strict=True)):
        name = name or f"column_{i + 1}"
        again = sum(other == name or other.startswith(f"{name}_duplicated_") for other in series)
        series[f"{name}_duplicated_{again - 1}" if again else name] = _column(cells)
    return pl.DataFrame(series)


def _column(cells: Sequence[Any]) -> Any:
    """A polars column: of the cells' own kind where all have one, else of texts."""
    import polars as pl

    kinds = {type(cell) for cell in cells if cell is not None}
    if kinds <= {int, float}:
        whole = all(float(cell).is_integer() and abs(cell) < 2**53 for cell in cells if cell is not None)
        kind: Any = pl.Int64 if whole and kinds else pl.Float64
        return pl.Series([None if c is None else int(c) if whole else float(c) for c in cells], dtype=kind)
    if dict in kinds or any(isinstance(part, dict) for cell in cells if isinstance(cell, list) for part in cell):
        try:
            return pl.Series(list(cells))
        except (pl.exceptions.PolarsError, TypeError, ValueError):  # they differ in shape, and would be made texts
            return pl.Series(list(cells), dtype=pl.Object)
    if len(kinds) == 1 or kinds <= {list, dict}:
        return pl.Series(list(cells), strict=False)
    return pl.Series([None if cell is None else _written(cell) for cell in cells])


def _written(cell: Any) -> str:
    """A cell as a person would write it."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


@READERS.register(".arrow")
@READERS.register(".feather")
@READERS.register(".ipc")
def read_arrow(path: Path) -> Read:
    """An Arrow or Feather file, of the file or the stream format.

    Raises:
        DataError: it is neither.
    """
    import polars as pl

    read = pl.read_ipc if read_bytes(path, 6) == b"ARROW1" else pl.read_ipc_stream
    try:
        return Read(read(path), [])
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"the table cannot be read ({first_line(error)})", where=path) from None
