"""Where the table is in a file of cells: what stands between them, which lines come before, which one names the
columns, and which rows have another number of cells than the others."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from flambeau.core.errors import DataError
from flambeau.fields.numerals import MISSING

HEAD_ROWS, FEW = 100, 10
SEPARATORS = ",;\t|"
NOTHING = "\x1f"  # as a separator, where there is one column
USUAL = 0.8
"""Share of the first rows that must have the same number of cells for a character to be what stands between them."""
FEW_BELOW = 3  # rows that must follow what is taken for units
LONGEST_CELL = 1000  # lines that a row may go on for in quotes, where something is wrong with the file
SEP_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
NUMBER = re.compile(r"[-+(]?[^\w\s.,+-]{0,3}\s*[-+]?\d[\d.,:\s]*([eE][-+]?\d+)?\s*\W?")
UNNAMED = "Unnamed: "
"""How a column without a name is called, as pandas does it; its place follows."""


class Cells(NamedTuple):
    """Where the cells of a file are.

    Attributes:
        separator: what stands between them.
        names: of the columns.
        lines: how many lines come before the first row.
        skipped: those of them before the header, that a reader may want to know of.
        below: lines below the header that hold units or more names.
        spaced: whether a space follows each separator.
        row_names: whether the header has no name for the first column, as R writes it.
    """

    separator: str
    names: list[str]
    lines: int
    skipped: list[str]
    spaced: bool = False
    row_names: bool = False
    below: Sequence[str] = ()


class _Row(NamedTuple):
    cells: list[str]
    end: int  # lines up to its end


def look(head: str, separator: str | None, header: bool, names: Sequence[str] = ()) -> Cells:
    """Finds the table in the first lines of a file.

    Args:
        head: whole lines, from the first one on.
        separator: what stands between cells, where that is known.
        names: of the columns of a file without a header.
    """
    lines = list(io.StringIO(head, newline=""))
    start = 0
    if lines and (match := SEP_LINE.fullmatch(lines[0])):
        separator, start = match[1], 1
    comments = list(itertools.takewhile(lambda line: line.startswith("#") or not line.strip(), lines[start:]))
    body = start + len(comments)
    separator = separator or _separator(lines[body:])
    rows = _rows(lines, body, separator)
    if not rows:  # a table of comments only, or an empty one
        return Cells(separator, _named(_rows(lines, start, separator)[:1], names), len(lines), [])
    if spaced := _spaced(rows):
        rows = _rows(lines, body, separator, spaced)
    usual = _usual(rows)
    if usual == 1 == len(rows[0].cells):
        separator = NOTHING  # a column of texts: what stands in them parts nothing
        rows = _rows(lines, body, separator)
    first = next(i for i, row in enumerate(rows) if len(row.cells) == usual)
    if not header:
        begin = rows[first - 1].end if first else body
        while begin > start and [len(row.cells) for row in _rows(lines[begin - 1 : begin], 0, separator)] == [usual]:
            begin -= 1  # a row may well begin so
        called = [*names, *(f"column_{i + 1}" for i in range(len(names), usual))]
        return Cells(separator, called, begin, lines[start:begin], spaced)
    commented = _rows([line.lstrip("# ") for line in comments], 0, separator)
    if first == 0 and commented and len(commented[-1].cells) == usual > 1 and _heads(commented[-1], rows):
        return Cells(separator, _named(commented[-1:]), body, lines[start : body - 1], spaced)
    at = first
    if first:  # there are other lines before, some of which may have as many cells
        heads = [i for i in range(first, min(first + FEW, len(rows))) if len(rows[i].cells) == usual
                 and not any(map(_has_number, rows[first : i + 1])) and _heads(rows[i], rows[i + 1 :])]  # fmt: skip
        if heads:
            at = heads[-1]
        elif len(rows[first - 1].cells) >= max(usual - 1, 2):
            at = first - 1
        elif first == 1 == len(rows[0].cells) == usual - 1:
            at = int(_has_number(rows[0]) or not _has_number(rows[1]))  # else R's, of one column
    titles = _titles(rows, at, usual)
    at, last = (titles[0], titles[-1]) if titles else (at, at)
    short = len(rows[at].cells) == usual - 1 >= 1
    trailing = short and all(row.cells[-1] == "" for row in rows[at + 1 :] if len(row.cells) == usual)
    before = rows[at - 1].end if at else body
    called = _named([rows[at]])
    if short:
        called = [*called, f"{UNNAMED}{usual - 1}"] if trailing else [f"{UNNAMED}0", *called]
    return Cells(separator, called, rows[last].end, lines[start:before], spaced, short and not trailing,
                 lines[rows[at].end : rows[last].end])  # fmt: skip


def _rows(lines: Sequence[str], start: int, separator: str, spaced: bool = False) -> list[_Row]:
    """The first rows, without empty ones."""
    reader = csv.reader(lines[start:], delimiter=separator, skipinitialspace=spaced)
    try:
        return [_Row(row, start + reader.line_num) for row in itertools.islice(reader, HEAD_ROWS) if row]
    except csv.Error:  # a cell longer than the reader takes
        return []


def _separator(lines: Sequence[str]) -> str:
    """What stands between cells: what gives most rows alike, with the fewest lines before them; the comma first."""
    best, most = ",", (0.0, 0)
    for separator in SEPARATORS:
        rows = _rows(lines, 0, separator)
        usual = _usual(rows)
        if len(rows) < 2 or usual < 2:
            continue
        first = next(i for i, row in enumerate(rows) if len(row.cells) == usual)
        share = sum(len(row.cells) == usual for row in rows) / (len(rows) - first)
        if share >= USUAL and (share, -first) > most:
            best, most = separator, (share, -first)
    return best


def by_spaces(head: str) -> bool:
    """Whether nothing but spaces stands between the cells, any number of them, as in tables that are aligned: as many
    in each row, some of them numbers, and in the header (R has no name for that of the rows)."""
    lines = [line.strip() for line in io.StringIO(head) if line.strip() and line[0] not in "#%"]
    if any(_usual(_rows(lines, 0, separator)) > 1 for separator in SEPARATORS):
        return False
    rows = _rows([f"{line}\n" for line in lines], 0, " ", spaced=True)
    if len(rows) < FEW_BELOW or any(len(row.cells) != (usual := len(rows[1].cells)) for row in rows[1:]):
        return False
    named = len(rows[0].cells) == usual > 1 or len(rows[0].cells) == usual - 1 > 1
    return named and any(all(NUMBER.fullmatch(row.cells[i]) for row in rows[1:]) for i in range(usual))


def _usual(rows: Sequence[_Row]) -> int:
    return Counter(len(row.cells) for row in rows).most_common(1)[0][0] if rows else 0


def _spaced(rows: Sequence[_Row]) -> bool:
    """Whether a space comes before nearly each cell but the first of a row."""
    cells = [cell for row in rows for cell in row.cells[1:] if cell]
    return len(cells) > 0 and sum(cell.startswith(" ") for cell in cells) > 0.9 * len(cells)


def _has_number(row: _Row) -> bool:
    return any(NUMBER.fullmatch(cell.strip()) for cell in row.cells)


def _heads(row: _Row, below: Sequence[_Row], words: bool = False) -> bool:
    """Whether a row names columns: below some of its cells, which are none (or, with `words`, which do not stand for a
    missing one), there are numbers."""
    some = [r.cells for r in below if len(r.cells) == len(row.cells)][:20]
    return any(
        not NUMBER.fullmatch(cell.strip())
        and not (words and cell.strip().lower() in MISSING)
        and sum(bool(NUMBER.fullmatch(r[i].strip())) for r in some) > USUAL * len(some) > 0
        for i, cell in enumerate(row.cells)
    )


def _titles(rows: Sequence[_Row], at: int, usual: int) -> list[int]:
    """Where the rows are that name columns or give their units, from the first that names each: below one that groups
    them others follow."""
    found = []
    for i in range(at, min(at + FEW, len(rows) - FEW_BELOW)):
        row = rows[i]
        empty = not any(cell.strip() for cell in row.cells)
        if len(row.cells) != usual or _has_number(row) or not (empty or i == at or _heads(row, rows[i + 1 :], True)):
            break
        found += [i] * (not empty)
    names = {i: [cell.strip() for cell in rows[i].cells] for i in found}
    full = [i for i in found if "" not in names[i] and len(set(names[i])) == usual] or [
        i for i in found if "" not in names[i][1:-1] and len(set(names[i][1:-1])) == max(usual - 2, 0)
    ]  # names of rows have none, and a separator may stand at each end
    return found[found.index(full[0]) :] if full else found[:1]


def _named(rows: Sequence[_Row], names: Sequence[str] = ()) -> list[str]:
    """Names of columns without the space around them, each once."""
    found: list[str] = []
    for i, cell in enumerate(rows[0].cells if rows else names):
        name = cell.strip().removeprefix("\ufeff") or f"{UNNAMED}{i}"
        same = itertools.chain([name], (f"{name}_duplicated_{n}" for n in itertools.count()))
        found.append(next(candidate for candidate in same if candidate not in found))
    return found


def fitting(text: str, cells: Cells, where: object, short: bool = False) -> tuple[str, list[str]]:
    """The rows of a table that have as many cells as it has columns, and where the others are.

    Args:
        short: whether fewer cells are enough, as where nothing is written behind the last one that has a value.

    Raises:
        DataError: a quote is never closed, or too many rows do not fit.
    """
    width = len(cells.names)
    ahead = deque(io.StringIO(text, newline=""))
    kept = [ahead.popleft() for _ in range(min(cells.lines, len(ahead)))]
    at = len(kept) + 1
    odd: list[str] = []
    count = fewer = 0
    while ahead:
        pending: list[str] = []
        reader = csv.reader(_taken(ahead, pending), delimiter=cells.separator, skipinitialspace=cells.spaced)
        try:
            row = next(reader, [])
        except csv.Error as error:
            raise DataError(f"the row cannot be read ({error})", where=f"{where}, line {at}") from None
        unclosed = len(pending) > LONGEST_CELL or (len(pending) > 1 and sum(p.count('"') for p in pending) % 2 == 1)
        if unclosed:  # the lines behind it are rows of their own
            ahead.extendleft(reversed(pending[1:]))
            pending = pending[:1]
        if unclosed:
            odd.append(f"line {at} (a quote opens that is never closed)")
        elif not row or len(row) == width or (short and len(row) < width):
            kept += pending
        else:
            fewer += len(row) < width
            odd.append(f"line {at} ({len(row)} cell{'s' * (len(row) > 1)})")
        count += bool(row)
        at += len(pending)
    most = max(3, count // 10)
    if fewer > most and not short:
        return fitting(text, cells, where, short=True)
    if len(odd) > most:
        raise DataError(
            f"{len(odd)} of {count} rows do not have as many cells as there are columns, the first: {odd[0]}",
            where=where, expected=f"{width} cells with '{cells.separator}' between", fix="put texts into quotes",
        )  # fmt: skip
    return "".join(kept), odd


def _taken(lines: deque[str], into: list[str]) -> Iterator[str]:
    while lines and len(into) <= LONGEST_CELL:
        into.append(lines.popleft())
        yield into[-1]


def quoted(text: str, cells: Cells) -> str:
    """The same table with quotes around the cells that hold some, and those doubled."""
    lines = io.StringIO(text, newline="")
    out = io.StringIO(newline="")
    out.writelines(itertools.islice(lines, cells.lines))
    rows = csv.reader(lines, delimiter=cells.separator, skipinitialspace=cells.spaced)
    csv.writer(out, delimiter=cells.separator, lineterminator="\n").writerows(row for row in rows if row)
    return out.getvalue()
