"""Date: a day, or a time of a day, as numbers that tell when it is in the year, the week and the day."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.core.errors import DataError, UsageError, shown
from flambeau.fields.base import FIELDS, Encoding, Field, Recognition

FORMATS = (
    "%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y/%m/%d", "%Y/%m/%d %H:%M",
    "%Y/%m/%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M",
    "%d.%m.%Y %H:%M", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%b %d %Y", "%d %b %Y", "%Y年%m月%d日",
)  # fmt: skip
CYCLES = {"year": 365.2425, "week": 7.0, "day": 1.0}
"""Days of each cycle that a date has a place in."""
DAY = np.timedelta64(1, "D") / np.timedelta64(1, "us")
SAMPLE = 1000
LONGEST = 40  # characters of a date


@FIELDS.register("date")
class Date(Field):
    """A date or a time. Encoded as float32 (7): days since the training rows' mean, over their deviation; then sine and
    cosine of the place in the year, in the week and in the day.

    Args:
        format: how texts are written, as for `strptime`; `auto` for the one of `FORMATS` that reads most of them.
            Where days and months cannot be told apart, the day is taken to come first.
    """

    kind = "date"
    input_only = True
    settings = ("format",)
    fitted = ("read_as", "mean", "std")

    def __init__(self, format: str = "auto"):
        if format != "auto" and "%" not in format:
            raise UsageError(f"'{format}' is not a format of dates", expected="such as %Y-%m-%d, or auto")
        self.format = format
        self.read_as: str | None = None if format == "auto" else format
        self.mean, self.std = 0.0, 1.0

    @classmethod
    def recognise(cls, values: Sequence[Any]) -> Recognition:
        sample = [v for v in values[:SAMPLE] if v is not None]
        if not sample:
            return Recognition(0.0, "there are no values")
        if all(isinstance(v, (datetime.date, np.datetime64)) for v in sample):
            return Recognition(0.95, "values are dates")
        if not all(isinstance(v, str) and len(v) <= LONGEST for v in sample):
            return Recognition(0.0, "values are not dates")
        _, read = best_format(sample)
        return Recognition(0.9 if read > 0.9 else 0.0, f"{read:.0%} of the values read as dates")

    def fit(self, values: Sequence[Any]) -> None:
        if self.format == "auto":
            self.read_as, _ = best_format([v for v in values if isinstance(v, str)][: 10 * SAMPLE])
        days = self.days(values)[0]
        known = days[np.isfinite(days)]
        self.mean, std = (float(known.mean()), float(known.std())) if len(known) else (0.0, 0.0)
        self.std = std or 1.0

    def days(self, values: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Days since 1970, float64 (N), NaN where there is no date; and the rows whose value is no date."""
        if isinstance(values, np.ndarray) and values.dtype.kind == "M":
            times, bad = values.astype("datetime64[us]"), np.zeros(0, np.int64)
        else:
            times, bad = self._times(values)
        numbers = times.astype(np.int64).astype(np.float64) / DAY
        return np.where(np.isnat(times), np.nan, numbers), bad

    def _times(self, values: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
        times = np.full(len(values), "NaT", "datetime64[us]")
        texts, bad = [], []
        for row, value in enumerate(values):
            if isinstance(value, str) and value.strip():
                texts.append(row)
            elif isinstance(value, (datetime.date, np.datetime64)):
                times[row] = _without_zone(value)
            elif not (value is None or value != value or value == ""):
                bad.append(row)
        if texts:
            read = parse([values[row] for row in texts], self.read_as or FORMATS[0])
            times[texts] = read
            bad += np.asarray(texts)[np.isnat(read)].tolist()
        return times, np.asarray(sorted(bad), np.int64)

    def parts(self, days: np.ndarray) -> np.ndarray:
        """Days (N) to float32 (N, 7), NaN where there is no date."""
        angles = [2 * np.pi * (days / cycle) for cycle in CYCLES.values()]
        columns = [(days - self.mean) / self.std, *(f(a) for a in angles for f in (np.sin, np.cos))]
        return np.stack(columns, -1).astype(np.float32)

    @property
    def encoding(self) -> Encoding:
        return Encoding(np.dtype(np.float32), (1 + 2 * len(CYCLES),))

    def encode(self, value: Any) -> np.ndarray:
        days, bad = self.days([value])
        if len(bad):
            raise DataError(f"{shown(value)} is not a date", expected=f"such as {self.example()}")
        if not np.isfinite(days[0]):
            raise DataError("the date is missing")
        return self.parts(days)[0]

    def encode_all(self, values: Sequence[Any]) -> np.ndarray | None:
        days, bad = self.days(values)
        return None if len(bad) or not np.isfinite(days).all() else self.parts(days)

    def example(self) -> str:
        """A date as this field reads it."""
        day = datetime.datetime(1970, 1, 1) + datetime.timedelta(days=round(self.mean))
        return day.strftime((self.read_as or FORMATS[0]).replace("%.f", ""))


def best_format(texts: Sequence[str]) -> tuple[str, float]:
    """The format of `FORMATS` that reads most of some texts, the first of equals, and the share that it reads."""
    if not texts:
        return FORMATS[0], 0.0
    if not any(c.isdigit() for c in texts[0]):
        return FORMATS[0], 0.0
    shares = {f: 1 - float(np.isnat(parse(texts, f)).mean()) for f in FORMATS}
    best = max(FORMATS, key=lambda f: shares[f])
    return best, shares[best]


def parse(texts: Sequence[str], format: str) -> np.ndarray:
    """Texts as datetime64[us], NaT where one is not written so.

    >>> parse(["2024-02-29", "2023-02-29"], "%Y-%m-%d")
    array(['2024-02-29T00:00:00.000000',                        'NaT'],
          dtype='datetime64[us]')
    """
    import polars as pl

    # a file name of any bytes is no date, but must not stop the asking
    readable = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
    column = pl.Series(readable, dtype=pl.String).str.strip_chars()
    kind: Any = pl.Datetime("us") if "%H" in format or "%M" in format else pl.Date
    try:
        return column.str.strptime(kind, format, strict=False).to_numpy().astype("datetime64[us]")
    except pl.exceptions.PolarsError:
        raise UsageError(f"'{format}' is not a format of dates", expected="such as %Y-%m-%d") from None


def _without_zone(value: Any) -> np.datetime64:
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        value = value.astimezone(datetime.UTC).replace(tzinfo=None)
    return np.datetime64(value, "us")
