"""Whole series out of tables of observations: a row for each step, with a column that tells series apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from flambeau.core.errors import DataError, UsageError
from flambeau.data.dataset import Dataset
from flambeau.data.sources.base import SOURCES, Source, described
from flambeau.data.sources.observations import Observed, observed
from flambeau.data.split import Split
from flambeau.fields import Field, LongSeries
from flambeau.fields.columns import Strings
from flambeau.fields.time.layout import Layout
from flambeau.fields.time.timeline import NUMBER, Timeline, plan, timeline

SERIES = "series"


def from_long(
    data: str | Path | Any,
    *,
    time: str,
    id: str | None = None,
    target: str | None = None,
    inputs: Sequence[str] | None = None,
    labels: bool = True,
    fields: Mapping[str, Field] | None = None,
    split: Split | str = "auto",
    encoding: str | None = None,
    time_format: str | None = None,
    read: Mapping[str, str] | None = None,
    layout: Layout | None = None,
) -> Dataset:
    """Whole series, each of whose steps is a row of a table: each series is a sample, with a class or a number if
    there is a `target`, and all its other columns are its channels. Steps that are missing are filled in.

    Args:
        data: a CSV, TSV, Parquet or JSON Lines file, or a polars or pandas frame.
        time: the column of times: dates, or numbers that rise.
        id: the column that tells the series apart.
        target: a column with the same value in all rows of a series.
        inputs: the columns that are channels; all others if not given.
        labels: whether there is a target.
        encoding, time_format, read, layout: as for `from_series`.

    Raises:
        DataError: times cannot be read, two rows of a series have one time, or a series has several targets.
        UsageError: nothing tells the series apart.
    """
    if id is None:
        raise UsageError(
            "the whole table is one series, and one sample is nothing to learn from",
            where=data if isinstance(data, (str, Path)) else None,
            expected="a column that tells several apart: id= (--id)",
            fix="of one long series add a column, such as the day that each row is of",
        )
    if target is None and labels:
        raise UsageError("whole series need a target", fix="give target= (--target), or labels=False")
    names = (time, id, *([target] if target else []), *(inputs or ()))
    seen = observed(data, time=time, names=names, id=id, target=target, encoding=encoding, time_format=time_format,
                    read=read, layout=layout)  # fmt: skip
    return from_observed(seen, data, time=time, id=id, target=target, inputs=inputs, fields=fields, split=split,
                         encoding=encoding, read=read, layout=layout)  # fmt: skip


def from_observed(
    seen: Observed, data: Any, *, time: str, id: str, target: str | None, inputs: Sequence[str] | None,
    fields: Mapping[str, Field] | None, split: Split | str, encoding: str | None, read: Mapping[str, str] | None,
    layout: Layout | None = None,
) -> Dataset:  # fmt: skip
    """As `from_long`, of a table that has been read."""
    values = seen.cells.values
    file = data if isinstance(data, (str, Path)) else None
    findings = [replace(finding, rows=[]) for finding in (*seen.findings, *seen.cells.findings)]
    if layout is None:
        channels = [c for c in values if c not in (time, id, target) and (inputs is None or c in inputs)]
        numeric = [c for c in channels if not isinstance(values[c], Strings)]
        if not numeric:
            raise DataError("no column holds numbers", where=file, expected=f"some beside '{time}' and '{id}'")
        layout, noted = plan(values, time=time, target=numeric[0], id=id, inputs=channels,
                             time_format=seen.time_format, numerals=seen.numerals)  # fmt: skip
        findings += noted
    elif seen.time_format and seen.time_format != NUMBER:
        layout = replace(layout, date_format=seen.time_format)
    field = LongSeries(asdict(layout), target)
    line = timeline(values, layout)
    name = f"{SERIES}_" if target == SERIES else target
    columns: dict[str, Any] = {SERIES: field.courses(line)}
    if target is not None and name is not None:
        columns[name] = _targets(values[target], line, target)
    source = described("long-series" if file is not None else "memory", file, time=time, id=id, target=target,
                       inputs=inputs, labels=target is not None, split=Split.of(split), encoding=encoding,
                       time_format=seen.time_format, read=read, fields=fields)  # fmt: skip
    return Dataset(columns, target=name, inputs=[SERIES], fields={SERIES: field, **(fields or {})}, split=split,
                   source=source, keys=line.names, places=lambda row: f"{id} {line.names[row]}",
                   findings=[*findings, *line.findings])  # fmt: skip


def is_of_series(values: Mapping[str, Sequence[Any]], target: str, id: str) -> bool:
    """Whether a column has one value for each of several series, and not the same for all."""
    seen: dict[str, set[str]] = {}
    for name, value in zip(values[id], values[target], strict=True):
        seen.setdefault(str(name), set()).add(str(value))
    return all(len(one) == 1 for one in seen.values()) and len({value for one in seen.values() for value in one}) > 1


def _targets(values: Sequence[Any], line: Timeline, column: str) -> list[Any]:
    """The target of each series of a timeline.

    Raises:
        DataError: one has several.
    """
    found = []
    for number, name in enumerate(line.names):
        rows = line.rows[(line.segments == number) & (line.rows >= 0)].tolist()
        own = list(dict.fromkeys(values[row] for row in rows))
        if len(own) > 1:
            first = next(row for row in rows if values[row] != own[0])
            raise DataError(f"the series {name} has several values in '{column}', {own[0]!r} and {own[1]!r}",
                            where=f"row {first + 1}", expected="one for each series")  # fmt: skip
        value = own[0]
        found.append(value.item() if isinstance(value, np.generic) else value)
    return found


@SOURCES.register("long-series")
class LongSeriesSource(Source):
    """Tables of observations of series that are not forecast: of which none has a target, or each has one."""

    of, sign = "whole series in rows", "time= (--time) and id= (--id)"
    read = staticmethod(from_long)

    @staticmethod
    def claims(path: Path, options: Mapping[str, Any]) -> float:
        return 1.0 * ("time" in options and options.get("labels") is False)
