"""Corrections of labels: a table that a person has looked through, laid over the labels of a Dataset."""

from __future__ import annotations

import csv
import io
import json
import math
from numbers import Number
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.core.errors import DataError, UsageError, nearest, shown
from flambeau.core.files import read_bytes
from flambeau.core.findings import Finding, Severity

if TYPE_CHECKING:
    from flambeau.data.dataset import Dataset

COLUMNS = ("place", "given", "suggested", "confidence", "keep")


def corrected(data: Dataset, path: str | Path) -> Dataset:
    """A Dataset with the labels that a table proposes, but for rows with anything in `keep`. The split stays as the
    labels before made it, so that what was held out is.

    Args:
        path: a CSV with the columns place, given, suggested and keep, as `flambeau clean` writes it.

    Raises:
        DataError: it is not such a table, a place is not in the data, or has another label there.
        UsageError: the data has no target.
    """
    if data.target is None:
        raise UsageError("data without a target has nothing to correct", where=path)
    try:
        text = read_bytes(path).decode("utf-8-sig", "surrogateescape")
        rows = list(csv.DictReader(io.StringIO(text)))
    except csv.Error as error:
        raise DataError(f"this is not a CSV ({error})", where=path) from None
    if lacking := [name for name in ("place", "given", "suggested") if rows and name not in rows[0]]:
        raise DataError(f"the table has no column '{lacking[0]}'", where=path, expected=", ".join(COLUMNS))
    places = {data.place(row): row for row in range(len(data))}
    values, field = list(data.columns[data.target]), data.fields[data.target]
    changed = 0
    for number, line in enumerate(rows, 2):
        if (line.get("keep") or "").strip():
            continue
        name = plain(line["place"])
        row, where = places.get(name), f"{path}, line {number}"
        if row is None:
            raise DataError(f"there is no {shown(name)} in the data", where=where, fix=nearest(name, places))
        suggested, given = plain(line["suggested"] or ""), plain(line["given"] or "")
        now = written(field.portable(values[row]))
        if given != now and not _same_number(given, now):
            raise DataError(f"{name} is labelled {shown(now)}", where=where,
                            expected=f"{shown(given)}, which the correction is of")  # fmt: skip
        if not suggested and field.one_class:
            raise DataError("nothing is suggested", where=where, fix="write a label, or anything into the column keep")
        values[row] = _read(suggested, values[row], where)
        changed += 1
    data.columns[data.target] = values
    said = f"{changed:,} label{'s are' if changed != 1 else ' is'} corrected by {Path(path).name}"
    data.findings.append(Finding("corrected", Severity.NOTE, said, count=changed))
    data.source = {**data.source, "corrections": str(Path(path).resolve())}
    return data


def written(value: Any) -> str:
    """A label as a cell has it: a list as JSON."""
    value = value.tolist() if hasattr(value, "tolist") else value
    return json.dumps([*value], ensure_ascii=False) if isinstance(value, (list, tuple)) else str(value)


def _same_number(one: str, other: str) -> bool:
    """Whether two cells are one number: a spreadsheet writes it anew."""
    try:
        return math.isclose(float(one), float(other), rel_tol=1e-9)
    except ValueError:
        return False


def plain(text: str) -> str:
    """A cell without what guards it against spreadsheets."""
    return text[1:] if text[:1] == "'" and text[1:2] in ("=", "+", "-", "@") else text


def _read(text: str, like: Any, where: str) -> Any:
    """A cell as a label of the same type as another one."""
    try:
        if isinstance(like, (list, tuple)):
            return json.loads(text)
        if isinstance(like, (bool, np.bool_)):
            return bool(("false", "true").index(text.lower()))
        if isinstance(like, Number):
            return int(text) if text.lstrip("+-").isdecimal() else float(text)
        return text
    except ValueError:
        raise DataError(f"{shown(text)} does not fit", where=where, expected=f"such as {shown(like)}") from None
