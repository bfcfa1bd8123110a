"""Times as people write them: texts and numbers to datetime64 and back, by one form for all of a column."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.core.errors import UsageError
from flambeau_onnx import times as forms
from flambeau_onnx.times import EXCEL_1970, ISO, MISSING, MONTHS, UNIX, TimeForm, offset_minutes

LONGEST = 80  # characters of a time


def pattern(format: str) -> str:
    """The regular expression of a format; see `flambeau_onnx.times`.

    Raises:
        UsageError: the format has a code that is not known.
    """
    try:
        return forms.pattern(format)
    except ValueError:
        expected = "such as %Y-%m-%d, %d/%m/%Y %H:%M, %YQ%q, unix s; or auto"
        raise UsageError(f"'{format}' is not a format of times", expected=expected) from None


def texts_of(values: Sequence[Any]) -> Any:
    """Raw values as a polars series of texts, null where one is missing: numbers in digits, times as ISO has them."""
    import polars as pl

    if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
        return pl.Series(values).cast(pl.String)
    listed = [v if isinstance(v, str) else forms.text_of(v) for v in values]
    try:
        column = pl.Series(listed, dtype=pl.String)
    except UnicodeEncodeError:  # a file name of any bytes is no time, but must not stop the asking
        column = pl.Series([v and v.encode("utf-8", "replace").decode() for v in listed], dtype=pl.String)
    column = column.str.strip_chars().str.replace(forms.PERIOD, "$1")
    return column.set(column.str.to_lowercase().is_in(MISSING), None)


def parsed(column: Any, form: TimeForm) -> np.ndarray:
    """A polars series of texts as datetime64[us] on the clock of a form, NaT where one is not written so."""
    import polars as pl

    if form.format in UNIX:
        counts = column.cast(pl.Int64, strict=False)
        if form.format == "excel":  # whole seconds, for finer parts of a day are lost in digits
            days = column.cast(pl.Float64, strict=False).to_numpy() - EXCEL_1970
            micros = np.round(days * 86_400) * 1e6
        elif counts.is_null().sum() > column.is_null().sum():
            micros = column.cast(pl.Float64, strict=False).to_numpy() * UNIX[form.format]
        else:
            micros = counts.to_numpy() * UNIX[form.format]
        known = np.isfinite(micros) & (np.abs(micros) < 2**62)
        times = np.where(known, micros, 0).astype(np.int64).astype("datetime64[us]")
        times += np.timedelta64(form.offset, "m")
        return np.where(known, times, np.datetime64("NaT", "us"))
    groups = column.str.extract_groups(pattern(form.format or ISO)).struct.unnest()
    return _composed(groups, form)


def _composed(groups: Any, form: TimeForm) -> np.ndarray:
    """The named groups of `pattern` as datetime64[us], NaT where they are no time."""
    import polars as pl

    def number(name: str, default: int) -> np.ndarray:
        if name not in groups.columns:
            return np.full(groups.height, default, np.int64)
        return groups[name].cast(pl.Int64, strict=False).fill_null(default).to_numpy()

    matched = ~groups.select(pl.all_horizontal(pl.all().is_null())).to_series().to_numpy()
    valid = matched.copy()
    year = number("Y", 1970)
    if "y" in groups.columns:
        short = number("y", 0)
        year = form.since + (short - form.since) % 100
    month, day = number("m", 1), number("d", 1)
    if "b" in groups.columns:
        names = groups["b"].str.to_lowercase()
        month = names.replace_strict(MONTHS, default=0, return_dtype=pl.Int64).fill_null(0).to_numpy()
    if "q" in groups.columns:
        month = 3 * number("q", 1) - 2
    valid &= (month >= 1) & (month <= 12) & (day >= 1)
    first = ((year - 1970) * 12 + np.clip(month, 1, 12) - 1).astype("datetime64[M]")
    date = first.astype("datetime64[D]") + _days(np.clip(day, 1, 31) - 1)
    valid &= (date.astype("datetime64[M]") == first) & (day <= 31)
    if "j" in groups.columns:
        date = first.astype("datetime64[Y]").astype("datetime64[D]") + _days(number("j", 1) - 1)
        valid &= date.astype("datetime64[Y]") == first.astype("datetime64[Y]")
    if "V" in groups.columns:
        date, fits = _of_week(number("G", 1970) if "G" in groups.columns else year, number("V", 1), number("u", 1))
        valid &= fits
    hour, minute = number("H", 0), number("M", 0)
    if "p" in groups.columns:
        half = groups["p"].str.to_lowercase()
        said, later = half.is_not_null().to_numpy(), (half == "p").fill_null(False).to_numpy()
        hour = np.where(said & (hour <= 12), hour % 12 + 12 * later, hour)
    seconds = np.zeros(groups.height)
    if "S" in groups.columns:
        seconds = groups["S"].str.replace(",", ".", literal=True).cast(pl.Float64, strict=False).fill_null(0).to_numpy()
    midnight = (hour == 24) & (minute == 0) & (seconds == 0)
    valid &= ((hour < 24) | midnight) & (minute < 60) & (seconds < 61)
    micros = (hour * 60 + minute) * 60_000_000 + np.round(seconds * 1e6).astype(np.int64)
    if "z" in groups.columns and form.zone is not None:
        offset = offsets(groups["z"])
        micros = (
            micros + np.where(np.isnan(offset), 0, form.offset - np.nan_to_num(offset)).astype(np.int64) * 60_000_000
        )
    times = date.astype("datetime64[us]") + micros.astype("timedelta64[us]")
    return np.where(valid, times, np.datetime64("NaT", "us"))


def offsets(zones: Any) -> np.ndarray:
    """Written offsets, a polars series, as minutes before UTC, float64 (N), NaN where none is written."""
    import polars as pl

    known = {zone: float(offset_minutes(zone)) for zone in zones.drop_nulls().unique().to_list()}
    if not known:
        return np.full(len(zones), np.nan)
    return zones.replace_strict(known, default=None, return_dtype=pl.Float64).to_numpy()


def _of_week(year: np.ndarray, week: np.ndarray, weekday: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Days of ISO weeks, and which of these there are."""
    january = (year - 1970).astype("datetime64[Y]").astype("datetime64[D]")
    fourth = january.astype(np.int64) + 3  # always of the first week
    monday = fourth - (fourth + 3) % 7 + (week - 1) * 7
    same = (monday + 3).astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970 == year
    return (monday + weekday - 1).astype("datetime64[D]"), same & (week >= 1)


def _days(numbers: np.ndarray) -> np.ndarray:
    """Whole numbers as differences of times: NumPy adds a plain number to a time no longer."""
    return numbers.astype("timedelta64[D]")


def read(values: Sequence[Any], form: TimeForm) -> tuple[np.ndarray, np.ndarray]:
    """Raw values as datetime64[us] on the form's clock, NaT where there is none; and the rows that are no time.

    What is not written in the form is taken as ISO 8601, which no form contradicts.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        return values.astype("datetime64[us]"), np.zeros(0, np.int64)
    column = texts_of(values)
    times = parsed(column, form)
    wrong = np.flatnonzero(np.isnat(times) & column.is_not_null().to_numpy())
    if len(wrong) and re.fullmatch(r"(%[A-Za-z])+", form.format or ""):  # numbers lose the zeros before them
        width = len(form.written(np.datetime64("2024-12-31")))
        times[wrong] = parsed(column.gather(wrong).str.zfill(width), form)
        wrong = wrong[np.isnat(times[wrong])]
    if len(wrong) and form.format not in (None, ISO):
        times[wrong] = parsed(column.gather(wrong), TimeForm(ISO, form.zone))
        wrong = wrong[np.isnat(times[wrong])]
    return times, wrong
