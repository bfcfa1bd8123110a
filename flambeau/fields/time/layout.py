"""Layouts: what the columns of a table of observations are, and what its times have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flambeau.core.errors import DataError
from flambeau.fields.numerals import Numerals, as_numbers
from flambeau.fields.time.times import TimeForm

DAY = 86_400_000_000  # in microseconds, as times are counted
REGULAR = 0.6  # share of steps that must be of one length
YEARS = 2  # that data must span for the time of the year to be told apart from a trend


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

    @property
    def words(self) -> str:
        """How its columns are read, in words."""
        if self.unit == "month":
            step = f"{self.step:g} month{'s' * (self.step > 1)}"
        elif self.unit == "us":
            units = {"day": DAY, "hour": DAY / 24, "minute": DAY / 1440, "second": DAY / 86_400}
            name, size = next((u for u in units.items() if self.step >= u[1]), ("second", DAY / 86_400))
            step = f"{self.step / size:.6g} {name}{'s' * (self.step > size)}"
        else:
            step = "a working day" if self.weekdays else f"{self.step:g}" if self.unit == "number" else ""
        times = f"{self.time} is date:{self.date_format}" if self.date_format else f"times in {self.time}"
        others = [f"{name} up to now" for name in self.past] + [f"{name} ahead too" for name in self.known]
        return "; ".join([self.target, *others, times + (f", step {step}" if step else ", steps in order")])

    def numbers(self, name: str, values: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of a column, float64 (N), and the rows that hold none; see `as_numbers`."""
        return as_numbers(values, Numerals.parse(self.numerals.get(name, "")))

    def _expanded(self, names: Sequence[str]) -> list[str]:
        return [c for n in names for c in ([f"{n} = {v}" for v in self.classes[n]] if n in self.classes else [n])]


def find_step(times: np.ndarray, series: np.ndarray, layout: Layout) -> None:
    """Sets unit, step, weekdays and yearly of a layout.

    Args:
        times: of each row, datetime64[us] or float64 (N). series: which one each row belongs to, int64 (N).

    Raises:
        DataError: no series has two rows.
    """
    order = np.lexsort((times, series))
    times, series = times[order], series[order]
    inside = np.diff(series) == 0
    dates = times.dtype.kind == "M"
    steps = np.diff(times.astype(np.int64) if dates else times)[inside]
    owners = series[1:][inside][steps > 0]
    steps = steps[steps > 0]
    if not len(steps):
        few = "all rows of a series have the same time" if inside.any() else "no series has two rows"
        raise DataError(few, where=f"column '{layout.time}'",
                        fix="give another column, the one that tells series apart (id=), or more rows")  # fmt: skip
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
    if common >= 28 * DAY:
        months = times.astype("datetime64[M]").astype(np.int64)
        jumps = np.diff(months)[inside]
        size = Counter(jumps.tolist()).most_common(1)[0][0]
        days = (times - times.astype("datetime64[M]")).astype("timedelta64[D]").astype(np.int64)
        if size > 0 and (jumps % size == 0).all() and (jumps > 0).all():
            layout.month_day = _month_day(times)
            if np.ptp(days) == 0 or layout.month_day is not None or days.min() >= 27:
                layout.unit, layout.step = "month", float(size)
                return
            layout.month_day = None
    weekday = (times.astype("datetime64[D]").astype(np.int64) + 3) % 7  # Monday is 0
    layout.weekdays = bool(common == DAY and len(times) > 14 and weekday.max() < 5)
    odd = np.bincount(owners[steps % common != 0], minlength=int(owners.max()) + 1) > 0
    keeps = 1 - odd[owners].mean()  # share of the steps that are of series without an odd one
    if not layout.weekdays and keeps >= REGULAR and (steps == common).mean() >= REGULAR:
        layout.unit = "us"


def _month_day(times: np.ndarray) -> int | None:
    """The day of the month that times are at, where shorter months have their last day instead; 0 for the last working
    day of each, -1 for the first; None where all have the same day, or there is no rule."""
    months, days = times.astype("datetime64[M]"), times.astype("datetime64[D]")
    last = (months + 1).astype("datetime64[D]") - 1
    day = (days - months.astype("datetime64[D]")).astype(np.int64) + 1
    if (days == last).all():
        return 31
    if day.min() > 25 and (days == np.busday_offset(last, 0, roll="backward")).all():
        return 0
    if day.min() < day.max() < 5 and (days == np.busday_offset(months.astype("datetime64[D]"), 0, "forward")).all():
        return -1
    size = (last - months.astype("datetime64[D]")).astype(np.int64) + 1
    return int(day.max()) if np.ptp(day) and (day == np.minimum(day.max(), size)).all() else None


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
        months = start + steps * int(layout.step)
        if layout.month_day is None:
            return months.astype("datetime64[us]") + (last - start)
        ends = (months + 1).astype("datetime64[D]") - 1
        if layout.month_day > 0:
            days = np.minimum(months.astype("datetime64[D]") + (layout.month_day - 1), ends)
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
