"""Timelines: tables of observations in time as regular series, laid end to end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from flambeau.core.errors import DataError
from flambeau.core.findings import Finding, Severity
from flambeau.fields.date import Date
from flambeau.fields.table import as_numbers

MOST_CLASSES = 30
DAY = 86_400_000_000  # in microseconds, as times are counted
MOST_FILLED = 0.5  # of a series: with more gaps than this its rows are taken in order
REGULAR = 0.6  # share of steps that must be of one length
YEARS = 2  # that data must span for the time of the year to be told apart from a trend
Values = Mapping[str, Sequence[Any]]


@dataclass
class Layout:
    """What the columns of a table of observations are, as plain data.

    Attributes:
        time: the column of times: dates, or numbers that rise.
        target: the column that is forecast.
        id: the column that tells series apart; None for one series.
        past: other columns that are known up to now.
        known: columns that are known for the steps ahead too: calendars, plans, what never changes in a series.
        classes: the values of columns of categories, by column.
        unit: what a step is counted in: `us`, `month`, `number`, or `order` where steps have no common length.
        step: length of a step in that unit (of `order` in `us`); 0 for numbers without a common step.
        weekdays: whether there is no row on a Saturday or Sunday.
        date_format: how times are written, where they are texts.
        yearly: whether the time of the year is told to the model.
    """

    time: str
    target: str
    id: str | None = None
    past: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    classes: dict[str, list[str]] = field(default_factory=dict)
    unit: str = "order"
    step: float = 1.0
    weekdays: bool = False
    date_format: str | None = None
    yearly: bool = False

    @property
    def columns(self) -> list[str]:
        """All columns that are read."""
        named = [self.time, *([self.id] if self.id else []), self.target, *self.past, *self.known]
        return list(dict.fromkeys(named))

    @property
    def channels(self) -> list[str]:
        """What each step of a timeline has: the target, what is known up to now, and what is known ahead."""
        return [self.target, *self._expanded(self.past), *self._expanded(self.known), *self.clock]

    @property
    def num_known(self) -> int:
        """How many of the channels, the last ones, are known ahead."""
        return len(self._expanded(self.known)) + len(self.clock)

    @property
    def clock(self) -> list[str]:
        """What the time itself tells: places in the day, the week and the year, where a step is shorter."""
        if self.unit == "number" or not self.step:
            return []
        length = self.step * 30 * DAY if self.unit == "month" else self.step
        names = []
        if length < DAY:
            names += ["day sin 1", "day cos 1", "day sin 2", "day cos 2"]
        if length <= DAY:
            names += [f"weekday {d}" for d in range(1, 8)]
        if length <= 92 * DAY and self.yearly:
            names += ["year sin", "year cos"]
        return names

    def written(self, time: Any) -> str:
        """A time as the table has it: in its format, or as YYYY-MM-DD with hours where steps are shorter than a day."""
        if not isinstance(time, np.datetime64):
            return f"{float(time):.10g}"
        whole_days = self.unit == "month" or self.step >= DAY
        form = self.date_format or ("%Y-%m-%d" if whole_days else "%Y-%m-%d %H:%M:%S")
        return time.astype("datetime64[us]").item().strftime(form.replace("%.f", ""))

    def _expanded(self, names: Sequence[str]) -> list[str]:
        return [c for n in names for c in ([f"{n} = {v}" for v in self.classes[n]] if n in self.classes else [n])]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


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


def plan(
    columns: Values, *, time: str, target: str, id: str | None = None, known: Sequence[str] = (),
    inputs: Sequence[str] | None = None,
) -> tuple[Layout, list[Finding]]:  # fmt: skip
    """The layout of a table, found from its values, and what was left out of it.

    Args:
        columns: raw values by column.
        known: columns that are known for the steps ahead.
        inputs: columns that may be used beside the target; all if not given.

    Raises:
        DataError: times cannot be read, or no series has two rows.
    """
    findings: list[Finding] = []
    layout = Layout(time, target, id)
    _, layout.date_format = _times(columns[time], layout)
    series, _ = _series_of(columns, layout)
    rest = [c for c in columns if c not in (time, target, id) and (inputs is None or c in inputs or c in known)]
    left_out = []
    for name in rest:
        numbers, bad = as_numbers(columns[name])
        distinct = {str(v) for v in columns[name] if v is not None and v == v}
        if len(bad):
            if len(distinct) > MOST_CLASSES:
                left_out.append(name)
                continue
            layout.classes[name] = sorted(distinct)
            numbers = np.unique([str(v) for v in columns[name]], return_inverse=True)[1].astype(np.float64)
        if len(distinct) < 2:
            continue  # one value tells nothing
        fixed = series.max() > 0 and _is_fixed(numbers, series)
        (layout.known if name in known or fixed else layout.past).append(name)
    if left_out:
        findings.append(
            Finding("too-many-categories", Severity.NOTE,
                    f"of more than {MOST_CLASSES} categories, left out: {', '.join(left_out)}", places=left_out)
        )  # fmt: skip
    _find_step(columns, layout)
    return layout, findings


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
    times, _ = _times(columns[layout.time], layout)
    series, names = _series_of(columns, layout)
    order = np.lexsort((times, series))
    times, series = times[order], series[order]
    same = np.flatnonzero((np.diff(series) == 0) & (times[1:] == times[:-1]))
    if len(same):
        first, second = sorted(order[same[0] : same[0] + 2] + 1)
        raise DataError(
            f"two rows of one series have the same time, {layout.written(times[same[0]])}",
            where=f"rows {first} and {second}",
            fix="remove one of them" if layout.id else "name the column that tells series apart with id= (--id)",
        )  # fmt: skip
    parts, findings = _channels(columns, layout, len(order)), list[Finding]()
    parts = parts[order]
    pieces: list[tuple[np.ndarray, ...]] = []
    gaps: list[str] = []
    filled = 0
    for s, mine in enumerate(np.split(np.arange(len(series)), np.flatnonzero(np.diff(series)) + 1)):
        at, more = _places(times[mine], layout)
        if more:
            filled += more
            gaps.append(f"{names[s]} {layout.written(times[mine][int(np.diff(at).argmax())])}".strip())
        if ahead:
            pieces.append(_with_future(parts[mine], times[mine], at, order[mine], s, layout, ahead))
        else:
            pieces.append(_spread(parts[mine], times[mine], at, order[mine], s, layout))
    if filled:
        findings.append(
            Finding("gaps", Severity.WARNING, f"{filled} steps are missing and were filled in, as after {gaps[0]}",
                    places=gaps, fix="their targets are not learned; fill them in if you know better")
        )  # fmt: skip
    values, when, segments, rows = (np.concatenate([p[i] for p in pieces]) for i in range(4))
    clock = _clock(when, layout)
    return Timeline(np.concatenate((values, clock), 1), when, segments, names, rows, findings)


def _times(values: Sequence[Any], layout: Layout) -> tuple[np.ndarray, str | None]:
    """Times as datetime64[us] or float64 (N), and the format of texts."""
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "iufM":
        numbers, bad = as_numbers(values)
        if len(bad) == 0 and np.isfinite(numbers).all():
            return numbers, None
    if isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
        times, read_as = values.astype(np.float64), None
        bad = np.flatnonzero(~np.isfinite(times))
    else:
        reader = Date(layout.date_format or "auto")
        if layout.date_format is None:
            reader.fit(values)
        days, bad = reader.days(values)
        if len(bad) and layout.date_format is not None:  # new rows may be written in another way
            other = Date()
            other.fit([values[row] for row in bad.tolist()])
            days[bad], still = other.days([values[row] for row in bad.tolist()])
            bad = bad[still]
        times = np.round(days * DAY).astype("datetime64[us]") if not np.isnan(days).any() else days
        bad = np.union1d(bad, np.flatnonzero(np.isnan(days)))
        read_as = reader.read_as if any(isinstance(v, str) for v in values[:1]) else None
    if len(bad):
        row = int(bad[0])
        many = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise DataError(f"{_plain(values[row])!r} is not a time", where=f"column '{layout.time}', row {row + 1}{many}",
                        expected=f"such as {Date(read_as or 'auto').example()}, or a number",
                        fix="mend or remove the row")  # fmt: skip
    return times, read_as


def _series_of(columns: Values, layout: Layout) -> tuple[np.ndarray, list[str]]:
    """Which series each row belongs to, int64 (N), and their names, sorted."""
    count = len(columns[layout.time])
    if layout.id is None:
        return np.zeros(count, np.int64), [""]
    names, series = np.unique([str(v) for v in columns[layout.id]], return_inverse=True)
    return series.astype(np.int64), names.tolist()


def _channels(columns: Values, layout: Layout, rows: int) -> np.ndarray:
    """The channels without the clock, float64 (N, C)."""
    out = []
    for name in (layout.target, *layout.past, *layout.known):
        values = columns.get(name, [None] * rows)
        if name in layout.classes:
            written = np.asarray([str(v) for v in values])
            out += [(written == c).astype(np.float64) for c in layout.classes[name]]
            continue
        numbers, bad = as_numbers(values)
        if len(bad):
            row = int(bad[0])
            raise DataError(f"{_plain(values[row])!r} is not a number", where=f"column '{name}', row {row + 1}",
                            expected="finite numbers", fix="mend it, or leave it empty if it is not known")  # fmt: skip
        out.append(numbers)
    return np.stack(out, 1)


def _find_step(columns: Values, layout: Layout) -> None:
    """Sets unit, step, weekdays and yearly."""
    times, _ = _times(columns[layout.time], layout)
    series, _ = _series_of(columns, layout)
    order = np.lexsort((times, series))
    times, series = times[order], series[order]
    inside = np.diff(series) == 0
    dates = times.dtype.kind == "M"
    steps = np.diff(times.astype(np.int64) if dates else times)[inside]
    steps = steps[steps > 0]
    if not len(steps):
        raise DataError("no series has two rows", fix="give the column that tells series apart, or more rows")
    common = float(np.median(steps)) if not dates else float(Counter(steps.tolist()).most_common(1)[0][0])
    layout.step = common
    if not dates:
        if (np.abs(steps / common - np.round(steps / common)) < 0.05).all() and (
            steps < 1.5 * common
        ).mean() >= REGULAR:
            layout.unit = "number"
        else:
            layout.step = 0.0
        return
    layout.yearly = (int(times.astype(np.int64).max()) - int(times.astype(np.int64).min())) >= YEARS * 365 * DAY
    if 28 * DAY <= common <= 366 * DAY:
        months = times.astype("datetime64[M]").astype(np.int64)
        jumps = np.diff(months)[inside]
        size = Counter(jumps.tolist()).most_common(1)[0][0]
        days = (times - times.astype("datetime64[M]")).astype("timedelta64[D]").astype(np.int64)
        if size > 0 and (jumps % size == 0).all() and (jumps > 0).all() and (np.ptp(days) == 0 or days.min() >= 27):
            layout.unit, layout.step = "month", float(size)
            return
    weekday = (times.astype("datetime64[D]").astype(np.int64) + 3) % 7  # Monday is 0
    layout.weekdays = bool(common == DAY and len(times) > 14 and weekday.max() < 5)
    multiples = (steps % common == 0).all()
    if not layout.weekdays and multiples and (steps == common).mean() >= REGULAR:
        layout.unit = "us"


def _places(times: np.ndarray, layout: Layout) -> tuple[np.ndarray, int]:
    """Where each row of one series stands, int64 (n) from 0 on, and how many steps between are missing."""
    count = np.arange(len(times))
    if layout.unit == "order":
        return count, 0
    if layout.unit == "month":
        months = times.astype("datetime64[M]").astype(np.int64)
        at = (months - months[0]) / layout.step
    elif layout.unit == "us":
        at = (times - times[0]).astype(np.int64) / layout.step
    else:
        at = np.r_[0, np.cumsum(np.round(np.diff(times) / layout.step))]
    whole = np.round(at).astype(np.int64)
    missing = int(whole[-1]) + 1 - len(whole)
    fits = np.abs(at - whole).max() < 0.05 and len(np.unique(whole)) == len(whole)
    if not fits or missing > MOST_FILLED * len(whole):
        return count, 0
    return whole, missing


def _spread(
    parts: np.ndarray, times: np.ndarray, at: np.ndarray, rows: np.ndarray, number: int, layout: Layout
) -> tuple[np.ndarray, ...]:
    """The rows of one series at their places, what is between filled in: (values, times, segments, rows)."""
    length = int(at[-1]) + 1
    values = np.full((length, parts.shape[1]), np.nan)
    values[at] = parts
    values[:, 1:] = last_known(values[:, 1:])
    source = np.full(length, -1, np.int64)
    source[at] = rows
    when = times if len(times) == length else _filled_times(times, at, length, layout)
    return values, when, np.full(length, number, np.int64), source


def _with_future(
    parts: np.ndarray, times: np.ndarray, at: np.ndarray, rows: np.ndarray, number: int, layout: Layout, ahead: int
) -> tuple[np.ndarray, ...]:
    """The rows up to the last target, and `ahead` steps after it."""
    known = np.flatnonzero(~np.isnan(parts[:, 0]))
    if not len(known):
        raise DataError(f"the column '{layout.target}' has no value", expected="the past of what is to be forecast")
    values, when, segments, source = _spread(parts, times, at, rows, number, layout)
    last = int(at[known[-1]])
    end = last + 1 + ahead
    if len(values) < end:
        more = end - len(values)
        missing = [name for name in layout.known if not _never_changes(parts, layout, name)]
        if missing:
            raise DataError(
                f"{', '.join(missing)} must be known for the {ahead} steps that are forecast; {more} are not there",
                where=f"after {layout.written(when[-1])}", fix=f"add rows for them, with '{layout.target}' left empty",
            )  # fmt: skip
        values = np.concatenate((values, np.repeat(values[-1:], more, 0)))
        when = np.concatenate((when, times_after(when, more, layout)))
        source = np.concatenate((source, np.full(more, -1, np.int64)))
    return values[:end], when[:end], np.full(end, number, np.int64), source[:end]


def _is_fixed(numbers: np.ndarray, series: np.ndarray) -> bool:
    """Whether numbers (N) are the same in all rows of each series."""
    order = np.argsort(series, kind="stable")
    numbers = np.nan_to_num(numbers)[order]
    begins = np.flatnonzero(np.diff(series[order], prepend=-1))
    return bool((np.maximum.reduceat(numbers, begins) == np.minimum.reduceat(numbers, begins)).all())


def _never_changes(parts: np.ndarray, layout: Layout, name: str) -> bool:
    names = layout.channels
    places = [i for i, c in enumerate(names[: parts.shape[1]]) if c == name or c.startswith(f"{name} = ")]
    return bool(layout.id) and all(np.ptp(np.nan_to_num(parts[:, i])) == 0 for i in places)


def last_known(values: np.ndarray, segments: np.ndarray | None = None) -> np.ndarray:
    """Missing values (T, C) as the last one known before them in the same series; NaN where there is none.

    Args:
        segments: int64 (T), the series of each step; one series if not given.
    """
    there = np.isfinite(values)
    if there.all():
        return values
    steps = np.arange(len(values))
    begins = np.zeros(len(values), np.int64)
    if segments is not None:
        begins = np.maximum.accumulate(np.where(np.diff(segments, prepend=segments[0]) != 0, steps, 0))
    last = np.maximum.accumulate(np.where(there, steps[:, None], -1), 0)
    known = last >= begins[:, None]
    return np.where(known, np.take_along_axis(values, np.maximum(last, 0), 0), np.nan)


def _filled_times(times: np.ndarray, at: np.ndarray, length: int, layout: Layout) -> np.ndarray:
    """The times of all places of a series, from those of its rows."""
    if times.dtype.kind != "M":
        return np.interp(np.arange(length), at, times)
    return np.concatenate((times[:1], times_after(times[:1], length - 1, layout)))


def times_after(times: np.ndarray, count: int, layout: Layout) -> np.ndarray:
    """The times of the steps after the last."""
    last, steps = times[-1], np.arange(1, count + 1)
    if layout.unit == "month":
        start = last.astype("datetime64[M]")
        return (start + (steps * int(layout.step))).astype("datetime64[us]") + (last - start)
    if times.dtype.kind != "M":
        return last + steps * (layout.step or 1.0)
    if layout.weekdays:
        days = np.busday_offset(last.astype("datetime64[D]"), steps, roll="backward").astype("datetime64[us]")
        return days + (last - last.astype("datetime64[D]"))
    return last + (steps * layout.step).astype("timedelta64[us]")


def _clock(times: np.ndarray, layout: Layout) -> np.ndarray:
    """What the time tells, float64 (T, len(layout.clock))."""
    names = layout.clock
    if not names:
        return np.zeros((len(times), 0))
    days = times.astype(np.int64) / DAY
    weekday = (np.floor(days).astype(np.int64) + 3) % 7
    columns = []
    for name in names:
        kind, *rest = name.split()
        if kind == "weekday":
            columns.append((weekday == int(rest[0]) - 1).astype(np.float64))
            continue
        turn = days * (int(rest[1]) if kind == "day" else 1 / 365.2425)
        columns.append((np.sin if rest[0] == "sin" else np.cos)(2 * np.pi * turn))
    return np.stack(columns, 1)


def seasons(layout: Layout) -> list[int]:
    """How many steps the cycles have that such times may follow: a day, a week, a year."""
    if layout.weekdays:
        return [5]
    if layout.unit == "month":
        return [round(12 / layout.step)] if 12 % layout.step == 0 and layout.step < 12 else []
    if layout.unit == "number":
        a_year = 1 / layout.step
        return [round(a_year)] if round(a_year) in (4, 12) and abs(a_year - round(a_year)) < 0.01 * a_year else []
    if layout.unit != "us":
        return []
    a_day = DAY / layout.step
    if a_day > 1 and a_day == round(a_day):
        return [round(a_day), 7 * round(a_day)]
    if layout.step == DAY:
        return [7]
    return [52] if layout.step == 7 * DAY else []


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
