"""Columns that say nothing but the time: the month, the hour, a weekend, the number of the row."""

from __future__ import annotations

import numpy as np

HOUR, DAY = 3_600_000_000, 86_400_000_000  # microseconds
REPEATED = 1.5  # cycles that must be there for a column to be called a function of the place in it


def tells_only_time(values: np.ndarray, times: np.ndarray) -> str | None:
    """What of the time a column is, or is a function of: "the month", "the hour"; None where it says more.

    A column whose numbers are the month is one whatever the data spans; one with a value for each month only where
    there is more than a year of it, for else each may have been a value of its own.

    Args:
        values: numbers, or the numbers of categories, float64 (N).
        times: datetime64[us] or float64 (N).
    """
    if not np.isfinite(values).all() or len(values) < 3:
        return None
    at = times.astype("datetime64[us]").astype(np.float64) if times.dtype.kind == "M" else times
    if np.ptp(at) and abs(np.corrcoef(at, values)[0, 1]) > 1 - 1e-9:
        return "the time itself"
    order = np.argsort(at, kind="stable")
    if len(np.unique(at)) == len(at) and len(np.unique(np.diff(values[order]))) == 1:
        return "the number of the row"
    if times.dtype.kind != "M":
        return None
    for name, (place, cycle) in places(times).items():
        if len(np.unique(values - place)) == 1:
            return name
        if cycle and np.ptp(at) >= REPEATED * cycle and _is_function(values, place):
            return name
    return None


def places(times: np.ndarray) -> dict[str, tuple[np.ndarray, float | None]]:
    """By name, where times are in a cycle, and how long it is in microseconds; None where a column that is a function
    of it may say more, as holidays do of the day of the year."""
    days, months = times.astype("datetime64[D]"), times.astype("datetime64[M]")
    years = times.astype("datetime64[Y]")
    month = months.astype(np.int64) % 12 + 1
    weekday = (days.astype(np.int64) + 3) % 7
    of_day = (times - days).astype(np.int64)
    thursday = days + (3 - weekday).astype("timedelta64[D]")
    week = (thursday - thursday.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64) // 7 + 1
    return {
        "the hour": (of_day // HOUR, DAY),
        "the time of the day": (of_day, DAY),
        "the minute": (of_day // 60_000_000 % 60, None),
        "the day of the week": (weekday, 7 * DAY),
        "the day of the month": ((days - months.astype("datetime64[D]")).astype(np.int64) + 1, None),
        "the month": (month, 365 * DAY),
        "the quarter": ((month + 2) // 3, 365 * DAY),
        "the week": (week, None),
        "the day of the year": ((days - years.astype("datetime64[D]")).astype(np.int64) + 1, None),
        "the year": (years.astype(np.int64) + 1970, None),
    }


def _is_function(values: np.ndarray, place: np.ndarray) -> bool:
    """Whether all rows at one place have one value."""
    order = np.argsort(place, kind="stable")
    begins = np.flatnonzero(np.diff(place[order], prepend=place.min() - 1))
    ordered = values[order]
    return bool((np.maximum.reduceat(ordered, begins) == np.minimum.reduceat(ordered, begins)).all())


def clock_put_back(times: np.ndarray, series: np.ndarray, twice: np.ndarray) -> bool:
    """Whether times that come twice are an hour of one night a year, at a weekend of spring or autumn."""
    days = times[twice].astype("datetime64[D]")
    weekday, month = (days.astype(np.int64) + 3) % 7, days.astype("datetime64[M]").astype(np.int64) % 12 + 1
    hour = (times[twice] - days).astype("timedelta64[h]").astype(np.int64)
    nights = np.unique(np.stack((series[twice], days.astype(np.int64), hour)), axis=1)
    years = np.stack((nights[0], nights[1].astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64)))
    once = np.unique(years, axis=1).shape[1] == nights.shape[1]
    return bool(once and (weekday >= 5).all() and np.isin(month, (2, 3, 4, 9, 10, 11)).all()
                and ((hour < 4) | (hour == 23)).all())  # fmt: skip
