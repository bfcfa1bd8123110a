"""Tables of observations in time: a row for each step of a series, as sources of series read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from flambeau.core.errors import DataError, UsageError, nearest
from flambeau.core.findings import Finding
from flambeau.data.sources.columns import Columns, from_polars
from flambeau.data.sources.frames import as_polars, with_index
from flambeau.data.sources.tables import read_table
from flambeau.fields import Field, Number
from flambeau.fields.recognition import field_to_read
from flambeau.fields.time.layout import Layout


class Observed(NamedTuple):
    """The columns of a table of observations, how its times are written where that is known, and what was noticed."""

    cells: Columns
    time_format: str | None
    findings: list[Finding]

    @property
    def numerals(self) -> dict[str, str]:
        """Columns of numbers, and how these are written."""
        return {name: f.read_as or "" for name, f in self.cells.fields.items() if f.numerals is not None}


def observed(
    data: str | Path | Any, *, time: str, names: Iterable[str], id: str | None, target: str | None,
    encoding: str | None, time_format: str | None, read: Mapping[str, str] | None, layout: Layout | None,
) -> Observed:  # fmt: skip
    """The cells of a table, see `from_series` for the arguments.

    Args:
        names: columns that must be there.

    Raises:
        DataError, UsageError: a column is not there, or cannot be read as is asked.
    """
    file = Path(data) if isinstance(data, (str, Path)) else None
    findings: list[Finding] = []
    decimal = None
    if file is not None:
        frame, _, noted, decimal, _ = read_table(file, encoding=encoding)
        findings += noted
    else:
        frame = as_polars(with_index(data, time, target or ""))
    for name in names:
        if name not in frame.columns:
            raise DataError(
                f"there is no column '{name}'", where=file or "the data frame", fix=nearest(name, frame.columns)
            )
    if len(named := [name for name in (time, target, id) if name is not None]) > len({*named}):
        raise UsageError("time, target and id must be different columns")
    if getattr(frame[time].dtype, "time_zone", None):  # with the offset that each has
        frame = frame.with_columns(frame[time].dt.strftime("%Y-%m-%d %H:%M:%S%.f%:z"))
    asked = {name: field_to_read(reading) for name, reading in (read or {}).items()}
    if time in asked:
        of_time = asked.pop(time)
        if of_time is None or of_time.time_format is None:
            raise UsageError(f"the column '{time}' holds the times", expected="date, date:%d/%m/%Y or number for it")
        time_format = time_format or of_time.time_format
    time_format = None if time_format == "auto" else time_format
    written = {name for name, field in asked.items() if field is None or field.one_class} | {time}
    frame = frame.with_columns(frame[name].cast(str) for name in written - {time})
    numbers: dict[str, Field] = {n: f for n, f in asked.items() if f is not None and f.numerals is not None}
    if layout is not None:
        numbers |= {name: Number(written=how or "en") for name, how in layout.numerals.items()}
    if odd := asked.keys() - written - numbers.keys():
        raise UsageError(
            f"the column '{min(odd)}' cannot be read so", expected="number:…, category, text; of times date:…"
        )
    cells = from_polars(frame, None, numbers, decimal=decimal or ".", as_written={*written, *([id] if id else [])})
    return Observed(cells, time_format, findings)
