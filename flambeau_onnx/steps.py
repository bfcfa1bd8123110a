"""Steps: series whose times keep a step, with each observation at its place and what the time itself tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flambeau_onnx.times import DAY, TimeForm

MOST_FILLED = 0.5  # of a series: with more gaps than this its rows are taken in order


class Unfit(ValueError):
    """Rows of which nothing can be forecast: what was found, where, what was expected and what to do."""

    def __init__(self, found: str, *, where: str | None = None, expected: str | None = None, fix: str | None = None):
        self.found, self.where, self.expected, self.fix = found, where, expected, fix
        super().__init__("; ".join(filter(None, [f"{where}: {found}" if where else found, expected and
                                                 f"expected {expected}", fix])))  # fmt: skip


def by_series(rows: Any, id: str | None) -> list[tuple[Mapping[str, Any], ...]]:
    """Rows of observations (mappings, or columns by name), those of each series together, as a tuple.

    Raises:
        Unfit: they are none.
    """
    if isinstance(rows, Mapping):
        lengths = {len(c) if isinstance(c, Sized) and not isinstance(c, str) else None for c in rows.values()}
        if len(lengths) == 1 and None not in lengths:
            rows = [dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)]
    if not rows or not isinstance(rows, (list, tuple)) or not all(isinstance(row, Mapping) for row in rows):
        raise Unfit(
            f"a {type(rows).__name__} is no history", expected="rows of observations in time, or a frame of them"
        )
    groups: dict[Any, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row.get(id) if id else None, []).append(row)
    return [tuple(group) for group in groups.values()]


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
        date_format: how times are written, where they are texts or numbers that stand for dates; see `TimeForm`.
        yearly: whether the time of the year is told to the model.
        zone, since: the offset of the clock that times are kept in, and the first of two-digit years; see `TimeForm`.
        month_day: of steps of months that do not all have one day: the day of the month they are at, or the last one
            there is of shorter months; 0 for the last working day, -1 for the first.
        held_out_from: the first time that is not trained on, as the table has it.
        numerals: how the numbers of columns are written, where that is not as programs do; see `Numerals`.
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
    zone: str | None = None
    since: int = TimeForm.since
    month_day: int | None = None
    numerals: dict[str, str] = field(default_factory=dict)
    held_out_from: str | None = None

    @property
    def form(self) -> TimeForm:
        """How times are written."""
        return TimeForm(self.date_format, self.zone, self.since)

    @property
    def of_dates(self) -> bool | None:
        """Whether its times are dates, and not numbers; None where no step has been found yet."""
        if self.unit == "order" and self.step == Layout.step:
            return None
        return self.unit in ("us", "month") or (self.unit == "order" and self.step > 0)

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
        return self.form.written(time, "%Y-%m-%d" if whole_days else "%Y-%m-%d %H:%M:%S%z")

    def _expanded(self, names: Sequence[str]) -> list[str]:
        return [c for n in names for c in ([f"{n} = {v}" for v in self.classes[n]] if n in self.classes else [n])]


def filled_times(times: np.ndarray, at: np.ndarray, length: int, layout: Layout) -> np.ndarray:
    """The times of all places of a series, from those of its rows."""
    if times.dtype.kind != "M":
        return np.interp(np.arange(length), at, times)
    return np.concatenate((times[:1], times_after(times[:1], length - 1, layout)))


def times_after(times: np.ndarray, count: int, layout: Layout) -> np.ndarray:
    """The times of the steps after the last."""
    last, steps = times[-1], np.arange(1, count + 1)
    if layout.unit == "month":
        start = last.astype("datetime64[M]")
        months = start + (steps * int(layout.step)).astype("timedelta64[M]")
        if layout.month_day is None:
            return months.astype("datetime64[us]") + (last - start)
        ends = (months + np.timedelta64(1, "M")).astype("datetime64[D]") - np.timedelta64(1, "D")
        if layout.month_day > 0:
            days = np.minimum(months.astype("datetime64[D]") + np.timedelta64(layout.month_day - 1, "D"), ends)
        elif layout.month_day:
            days = np.busday_offset(months.astype("datetime64[D]"), 0, roll="forward")
        else:
            days = np.busday_offset(ends, 0, roll="backward")
        return days.astype("datetime64[us]") + (last - last.astype("datetime64[D]"))
    if times.dtype.kind != "M":
        return last + steps * (layout.step or 1.0)
    if layout.weekdays:
        days = np.busday_offset(last.astype("datetime64[D]"), steps, roll="backward").astype("datetime64[us]")
        return days + (last - last.astype("datetime64[D]"))
    return last + (steps * layout.step).astype("timedelta64[us]")


def clock_of(times: np.ndarray, layout: Layout) -> np.ndarray:
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


def places(times: np.ndarray, layout: Layout) -> tuple[np.ndarray, int | None]:
    """Where each row of one series stands, int64 (n) from 0 on, and how many steps between are missing; None where its
    rows do not fit the layout's step, and stand one behind the other."""
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
        return count, None
    return whole, missing


def spread(
    parts: np.ndarray, times: np.ndarray, at: np.ndarray, rows: np.ndarray, number: int, layout: Layout
) -> tuple[np.ndarray, ...]:
    """The rows of one series at their places, what is between filled in: (values, times, segments, rows)."""
    length = int(at[-1]) + 1
    values = np.full((length, parts.shape[1]), np.nan)
    values[at] = parts
    values[:, 1:] = last_known(values[:, 1:])
    source = np.full(length, -1, np.int64)
    source[at] = rows
    when = times if len(times) == length else filled_times(times, at, length, layout)
    return values, when, np.full(length, number, np.int64), source


def with_future(
    parts: np.ndarray, times: np.ndarray, at: np.ndarray, rows: np.ndarray, number: int, layout: Layout, ahead: int
) -> tuple[np.ndarray, ...]:
    """The rows up to the last target, and `ahead` steps after it.

    Raises:
        Unfit: no target is known, or what must be known ahead is not.
    """
    known = np.flatnonzero(~np.isnan(parts[:, 0]))
    if not len(known):
        raise Unfit(f"the column '{layout.target}' has no value", expected="the past of what is to be forecast")
    values, when, segments, source = spread(parts, times, at, rows, number, layout)
    last = int(at[known[-1]])
    end = last + 1 + ahead
    changing = [name for name in layout.known if not _never_changes(parts, layout, name)]
    columns = [i for i, name in enumerate(layout.channels[: parts.shape[1]]) if name in changing]
    empty = np.isnan(parts[(at > last) & (at < end)][:, columns]).any(1).sum()
    more = max(end - len(values), 0)
    if changing and (more or empty):
        raise Unfit(
            f"{', '.join(changing)} must be known for the {ahead} steps that are forecast; {more + empty} are not",
            where=f"after {layout.written(when[last])}",
            fix=f"add rows for them, with '{layout.target}' left empty",
        )
    if more:
        values = np.concatenate((values, np.repeat(values[-1:], more, 0)))
        when = np.concatenate((when, times_after(when, more, layout)))
        source = np.concatenate((source, np.full(more, -1, np.int64)))
    return values[:end], when[:end], np.full(end, number, np.int64), source[:end]


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


def standardised(
    array: np.ndarray, mean: Sequence[float], std: Sequence[float], low: Sequence[float], high: Sequence[float]
) -> np.ndarray:
    """A window (T, C) as float32, each channel but the first brought back to what was seen, where that is known; a
    missing value is the mean."""
    if len(low):
        array = array.copy()
        array[:, 1:] = np.clip(array[:, 1:], low[1:], high[1:])
    return np.nan_to_num((array - np.asarray(mean)) / np.asarray(std)).astype(np.float32)
