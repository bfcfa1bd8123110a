"""Layouts: what the columns of a table of observations are, and what its times have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.core.errors import DataError
from flambeau.fields.numerals import Numerals, as_numbers
from flambeau_onnx.steps import Layout as Plain
from flambeau_onnx.times import DAY

REGULAR = 0.6  # share of steps that must be of one length
YEARS = 2  # that data must span for the time of the year to be told apart from a trend


class Layout(Plain):
    """What the columns of a table of observations are; see `flambeau_onnx.steps.Layout`."""

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
    last = (months + np.timedelta64(1, "M")).astype("datetime64[D]") - np.timedelta64(1, "D")
    day = (days - months.astype("datetime64[D]")).astype(np.int64) + 1
    if (days == last).all():
        return 31
    if day.min() > 25 and (days == np.busday_offset(last, 0, roll="backward")).all():
        return 0
    if day.min() < day.max() < 5 and (days == np.busday_offset(months.astype("datetime64[D]"), 0, "forward")).all():
        return -1
    size = (last - months.astype("datetime64[D]")).astype(np.int64) + 1
    return int(day.max()) if np.ptp(day) and (day == np.minimum(day.max(), size)).all() else None


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
