"""Timelines: tables of observations in time as regular series, laid end to end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from flambeau.core.errors import DataError, shown
from flambeau.core.findings import Finding, Severity
from flambeau.fields.columns import Strings
from flambeau.fields.numerals import as_numbers
from flambeau.fields.time.calendar import clock_put_back, tells_only_time
from flambeau.fields.time.layout import Layout, find_step
from flambeau.fields.time.timeforms import find_form
from flambeau.fields.time.times import read
from flambeau_onnx.steps import Unfit, clock_of, places, spread, with_future
from flambeau_onnx.times import DAY

MOST_CLASSES = 30
NUMBER = "number"  # the format of times that are numbers and nothing more
Values = Mapping[str, Sequence[Any]]


class Timeline(NamedTuple):
    """Series end to end: values float64 (T, C), NaN where missing; times (T), datetime64[us] or float64; segments int64
    (T), which series a step belongs to; their names; rows int64 (T), the table's row of each step, -1 where a gap was
    filled in; and what was noticed."""

    values: np.ndarray
    times: np.ndarray
    segments: np.ndarray
    names: list[str]
    rows: np.ndarray
    findings: list[Finding]

    @property
    def dated(self) -> bool:
        """Whether its times are dates, and not numbers."""
        return self.times.dtype.kind == "M"


def plan(
    columns: Values, *, time: str, target: str, id: str | None = None, known: Sequence[str] = (),
    inputs: Sequence[str] | None = None, time_format: str | None = None,
    numerals: Mapping[str, str] | None = None,
) -> tuple[Layout, list[Finding]]:  # fmt: skip
    """The layout of a table, found from its values, and what was left out of it.

    Args:
        columns: raw values by column.
        known: columns that are known for the steps ahead.
        inputs: columns that may be used beside the target; all if not given.
        time_format: how times are written, as `TimeForm` has it; found if not given.
        numerals: columns that are known to be of numbers, and how these are written.

    Raises:
        DataError: times cannot be read, or no series has two rows.
    """
    layout = Layout(time, target, id, numerals=dict(numerals or {}))
    findings = _set_form(columns[time], layout, time_format)
    times = _times(columns[time], layout)
    series, _ = _series_of(columns, layout)
    rest = [c for c in columns if c not in (time, target, id) and (inputs is None or c in inputs or c in known)]
    left_out, constant, calendar = [], [], dict[str, str]()
    for name in rest:
        numbers, bad = layout.numbers(name, columns[name])
        distinct = {str(v) for v in columns[name] if v is not None and v == v}
        if len(distinct) < 2:
            constant.append(name)
            continue
        of_names = isinstance(columns[name], Strings) or (len(bad) > 0 and name not in layout.numerals)
        classes = sorted(distinct) if of_names else None
        if classes is not None:
            numbers = np.unique([str(v) for v in columns[name]], return_inverse=True)[1].astype(np.float64)
        requested = name in known or (inputs is not None and name in inputs)
        if not requested and (what := tells_only_time(numbers, times)):
            calendar[name] = what
            continue
        if classes is not None:
            if len(classes) > MOST_CLASSES:
                left_out.append(name)
                continue
            layout.classes[name] = classes
        fixed = series.max() > 0 and _is_fixed(numbers, series)
        (layout.known if name in known or fixed else layout.past).append(name)
    findings += _left_out(left_out, constant, calendar)
    find_step(times, series, layout)
    return layout, findings


def _left_out(classes: list[str], constant: list[str], calendar: dict[str, str]) -> list[Finding]:
    """Why columns are not used."""
    findings = []
    if classes:
        message = f"of more than {MOST_CLASSES} categories, left out: {', '.join(classes)}"
        findings.append(Finding("too-many-categories", Severity.NOTE, message, places=classes))
    if constant:
        findings.append(Finding("constant-column", Severity.NOTE, f"of one value, left out: {', '.join(constant)}"))
    if calendar:
        listed = ", ".join(n if what == f"the {n}" else f"{n} ({what})" for n, what in calendar.items())
        message = f"left out, for they say nothing but the time, which the model is told: {listed}"
        fix = "name one with known= (--known) if it is to be used all the same"
        findings.append(Finding("calendar-column", Severity.NOTE, message, fix=fix))
    return findings


def timeline(columns: Values, layout: Layout, ahead: int = 0) -> Timeline:
    """The series of a table, in the order of time, each step in its place.

    Gaps between regular steps are filled in: every channel has its last value again, the target NaN. Missing values of
    other channels are the last ones that were known.

    Args:
        ahead: steps that each series goes on for after its last target, with what is known of them; 0 for as far as
            there are rows.

    Raises:
        DataError: a column or a value is missing or cannot be read; two rows of a series have the same time.
    """
    for name in layout.columns:
        if name not in columns and (name != layout.target or not ahead):
            raise DataError(f"the table has no column '{name}'", expected=", ".join(layout.columns))
    times = _times(columns[layout.time], layout)
    series, names = _series_of(columns, layout)
    order = np.lexsort((times, series))
    times, series = times[order], series[order]
    findings = _unsorted(order, series, layout)
    twice = np.flatnonzero((np.diff(series) == 0) & (times[1:] == times[:-1])) + 1
    if len(twice):
        findings.append(_came_twice(times, series, twice, order, layout))
        order, times, series = (np.delete(array, twice) for array in (order, times, series))
    parts = _channels(columns, layout, len(columns[layout.time]))[order]
    pieces: list[tuple[np.ndarray, ...]] = []
    gaps: list[str] = []
    unfit: list[str] = []
    filled = 0
    for s, mine in enumerate(np.split(np.arange(len(series)), np.flatnonzero(np.diff(series)) + 1)):
        at, more = places(times[mine], layout)
        if more is None:
            unfit.append(names[s] or "the series")
        elif more:
            filled += more
            gaps.append(f"{names[s]} {layout.written(times[mine][int(np.diff(at).argmax())])}".strip())
        if ahead:
            try:
                pieces.append(with_future(parts[mine], times[mine], at, order[mine], s, layout, ahead))
            except Unfit as error:
                raise DataError(error.found, where=error.where, expected=error.expected, fix=error.fix) from None
        else:
            pieces.append(spread(parts[mine], times[mine], at, order[mine], s, layout))
    if filled:
        message = f"{filled} steps are missing and were filled in, as after {gaps[0]}"
        fix = "their targets are not learned; fill them in if you know better"
        findings.append(Finding("gaps", Severity.WARNING, message, places=gaps, fix=fix))
    if unfit:
        findings.append(
            Finding("irregular", Severity.WARNING,
                    f"{len(unfit)} series of {len(names)} do not keep the common step, or have more gaps than half of "
                    "their rows; their rows are taken in order", places=unfit,
                    fix="bring them to the step of the others if the time between rows matters")
        )  # fmt: skip
    values, when, segments, rows = (np.concatenate([p[i] for p in pieces]) for i in range(4))
    clock = clock_of(when, layout)
    return Timeline(np.concatenate((values, clock), 1), when, segments, names, rows, findings)


def _unsorted(order: np.ndarray, series: np.ndarray, layout: Layout) -> list[Finding]:
    """Rows that come before an earlier one of their series in the table."""
    late = np.flatnonzero((np.diff(order) < 0) & (np.diff(series) == 0))
    if not len(late):
        return []
    return [
        Finding("unsorted", Severity.NOTE,
                f"the rows are not in the order of the column '{layout.time}' ({len(late)} come before an earlier one, "
                f"as row {int(order[late + 1].min()) + 1}); they are put in order", count=len(late))
    ]  # fmt: skip


def _came_twice(times: np.ndarray, series: np.ndarray, twice: np.ndarray, order: np.ndarray, layout: Layout) -> Finding:
    """What is to be said of an hour that comes twice where clocks are put back.

    Raises:
        DataError: times come twice otherwise.
    """
    if times.dtype.kind == "M" and layout.unit == "us" and layout.step < DAY and clock_put_back(times, series, twice):
        come = "1 time comes" if len(twice) == 1 else f"{len(twice)} times come"
        return Finding(
            "clock-put-back", Severity.WARNING,
            f"{come} twice, where clocks were put back, as {layout.written(times[twice[0]])}; the first row "
            "of each is used", count=len(twice), fix="give times in UTC, or with their offset from it",
        )  # fmt: skip
    first, second = sorted(order[twice[0] - 1 : twice[0] + 1] + 1)
    many = f", and {len(twice) - 1} more do" if len(twice) > 1 else ""
    raise DataError(
        f"two rows of one series have the same time, {layout.written(times[twice[0]])}{many}",
        where=f"rows {first} and {second}",
        fix="remove one of them"
        if layout.id
        else "name the column that tells series apart with id= (--id); if "
        "another column holds the hour or the month, write both into one",
    )


def _times(values: Sequence[Any], layout: Layout) -> np.ndarray:
    """Times as datetime64[us] or float64 (N).

    Raises:
        DataError: one is missing or cannot be read.
    """
    dates = isinstance(values, np.ndarray) and values.dtype.kind == "M"
    if layout.of_dates is False:
        numbers, bad = as_numbers(values)
        if len(bad := np.union1d(bad, np.flatnonzero(np.isnan(numbers))) if not dates else np.arange(len(values))):
            raise _no_time(values, bad, layout)
        return numbers
    if layout.date_format is None and not dates and layout.of_dates is None:
        numbers, bad = as_numbers(values)
        if len(bad) == 0 and np.isfinite(numbers).any():
            if len(missing := np.flatnonzero(~np.isfinite(numbers))):
                raise _no_time(values, missing, layout)
            return numbers
    form = layout.form
    if layout.date_format is None and not dates:  # the training's were no texts
        form = replace(find_form(values, time_column=True).form, zone=layout.zone)
    times, bad = read(values, form)
    if len(bad) and layout.date_format is not None:  # new rows may be written in another way, if it is a clear one
        rest = [values[row] for row in bad.tolist()]
        reading = find_form(rest, time_column=True)
        if not any(note.other for note in reading.notes):
            times[bad], still = read(rest, replace(reading.form, zone=layout.zone))
            bad = bad[still]
    bad = np.union1d(bad, np.flatnonzero(np.isnat(times)))
    if len(bad):
        raise _no_time(values, bad, layout)
    return times


def _no_time(values: Sequence[Any], rows: np.ndarray, layout: Layout) -> DataError:
    """That what stands in some rows is no time."""
    row, value = int(rows[0]), _plain(values[int(rows[0])])
    many = f", and {len(rows) - 1} more" if len(rows) > 1 else ""
    what = "the time is missing" if value is None or value != value else f"{shown(value)} is not a time"
    return DataError(
        what, where=f"column '{layout.time}', row {row + 1}{many}",
        expected="a number, as in training" if layout.of_dates is False
        else f"such as {layout.form.written(np.datetime64('2024-01-31T14:00'))}, or a number",
        fix="mend or remove the row, or say how times are written: time_format= (--time-format '%d/%m/%Y %H:%M')",
    )  # fmt: skip


def _set_form(values: Sequence[Any], layout: Layout, format: str | None) -> list[Finding]:
    """Finds how times are written, and says what there is to be known of it; raises where not all are as is given."""
    if format == NUMBER:
        return []
    reading = find_form(values, format, time_column=True)
    if format or reading.share:
        layout.date_format, layout.zone, layout.since = reading.form.format, reading.form.zone, reading.form.since
    if format and len(other := read(values, reading.form)[1] if reading.share else np.arange(len(values))):
        raise _no_time(values, other, layout)
    return [
        Finding(note.check, Severity.WARNING if note.other else Severity.NOTE,
                f"column '{layout.time}': {note.message}",
                fix=f"if that is wrong: time_format='{note.other}' (--time-format)" if note.other else "")
        for note in reading.notes
    ]  # fmt: skip


def _series_of(columns: Values, layout: Layout) -> tuple[np.ndarray, list[str]]:
    """Which series each row belongs to, int64 (N), and their names, sorted."""
    count = len(columns[layout.time])
    if layout.id is None:
        return np.zeros(count, np.int64), [""]
    names, series = np.unique(["" if v is None or v != v else str(v) for v in columns[layout.id]], return_inverse=True)
    if names[0] == "":
        raise DataError(f"the column '{layout.id}' is empty", where=f"row {int((series == 0).argmax()) + 1}",
                        fix="say which series the row belongs to, or remove it")  # fmt: skip
    return series.astype(np.int64), names.tolist()


def _channels(columns: Values, layout: Layout, rows: int) -> np.ndarray:
    """The channels without the clock, float64 (N, C)."""
    out = []
    for name in (layout.target, *layout.past, *layout.known):
        values = columns.get(name, [None] * rows)
        if name in layout.classes:
            lower = "True" not in layout.classes[name]  # a file may have them as true and false
            written = np.asarray(
                [str(v).lower() if isinstance(v, (bool, np.bool_)) and lower else str(v) for v in values]
            )
            out += [(written == c).astype(np.float64) for c in layout.classes[name]]
            continue
        numbers, bad = layout.numbers(name, values)
        if len(bad):
            row = int(bad[0])
            raise DataError(f"{_plain(values[row])!r} is not a number", where=f"column '{name}', row {row + 1}",
                            expected="finite numbers", fix="mend it, or leave it empty if it is not known")  # fmt: skip
        out.append(numbers)
    return np.stack(out, 1)


def _is_fixed(numbers: np.ndarray, series: np.ndarray) -> bool:
    """Whether numbers (N) are the same in all rows of each series."""
    order = np.argsort(series, kind="stable")
    numbers = np.nan_to_num(numbers)[order]
    begins = np.flatnonzero(np.diff(series[order], prepend=-1))
    return bool((np.maximum.reduceat(numbers, begins) == np.minimum.reduceat(numbers, begins)).all())


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
