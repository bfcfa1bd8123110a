"""Lists of classes beside masks, with or without their colours: classes.csv (name, r, g, b), labelmap.txt of CVAT and
VOC (`name:r,g,b:parts:actions`), a JSON of names and colours, or classes.txt, a name a line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from flambeau.core.errors import DataError
from flambeau.core.files import ODD, parse_json
from flambeau.fields.language.charsets import read_text

NAMED = re.compile(r"(?i)((classes|class_?dict|labels?|label_?map|codes|colou?rs|palette)\.(csv|txt|json))")
MOST_BYTES = 1 << 20


class Classes(NamedTuple):
    """The classes in order, the colour of each or None, and the file that says so; None where none does."""

    classes: list[str] | None
    colours: list[Any] | None
    file: Path | None


def classes_beside(root: Path, others: Iterable[str] = ()) -> Classes:
    """The list of classes in a folder or in some others.

    Raises:
        DataError: there is one, and it cannot be read.
    """
    for folder in dict.fromkeys([root, *map(Path, others)]):
        for file in sorted(folder.iterdir()):
            if NAMED.fullmatch(file.name) and file.is_file() and file.stat().st_size < MOST_BYTES:
                names, colours = _read(file)
                return Classes(names, colours, file)
    return Classes(None, None, None)


def _read(file: Path) -> tuple[list[str], list[Any] | None]:
    text = read_text(file)
    try:
        rows = _of_json(text) if file.suffix.lower() == ".json" else _of_lines(text)
        found = [(str(name), None if colour is None else [int(part) for part in colour]) for name, colour in rows]
        if not found or any(colour is not None and len(colour) != 3 for _, colour in found):
            raise ValueError("no classes")
    except ODD:
        expected = "name, r, g, b on each line, name:r,g,b::, or JSON of names and colours"
        raise DataError("the classes and their colours cannot be read", where=file, expected=expected) from None
    coloured = [colour for _, colour in found if colour is not None]
    if coloured and len(coloured) < len(found):
        raise DataError("some classes have a colour and some have none", where=file)
    return [name for name, _ in found], coloured or None


def _of_json(text: str) -> list[tuple[Any, Any]]:
    """{name: [r, g, b]}, {name: "#rrggbb"}, [{"name": …, "color": …}, …], or a list of names."""
    told = parse_json(text)
    if isinstance(told, dict) and len(told) == 1 and isinstance(next(iter(told.values())), list):
        inner = next(iter(told.values()))
        told = inner if inner and isinstance(inner[0], dict) else told
    if isinstance(told, dict):
        return [(name, _colour(value)) for name, value in told.items()]
    return [
        (one["name"], _colour(one.get("color", one.get("colour")))) if isinstance(one, dict) else (one, None)
        for one in told
    ]


def _colour(value: Any) -> Any:
    if isinstance(value, str):
        digits = value.removeprefix("#")
        return [int(digits[i : i + 2], 16) for i in (0, 2, 4)]
    return value


def _of_lines(text: str) -> list[tuple[str, Any]]:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    rows = [*csv.reader(io.StringIO("\n".join(lines)), skipinitialspace=True)]
    if all(":" in line for line in lines):  # name:r,g,b:parts:actions
        return [(name, rgb.split(",") if rgb else None) for name, rgb, *_ in (line.split(":") for line in lines)]
    if all(len(row) == 1 for row in rows):
        return [(row[0], None) for row in rows if row[0].lower() not in ("name", "class", "label")]
    if not all(cell.strip().isdigit() for cell in rows[0][-3:]):
        rows = rows[1:]
    # the name is the cell that is no number, before or behind the colour; a number before it counts the classes
    named = [(next(cell for cell in row if not cell.strip().isdigit()), row) for row in rows]
    return [(name, [cell for cell in row if cell.strip().isdigit()][-3:]) for name, row in named]
