"""Date: a day, or a time of a day, as numbers that tell when it is in the year, the week and the day."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.core.errors import DataError, shown
from flambeau.core.findings import Finding, Severity
from flambeau.fields.base import FIELDS, Encoding, Field, Recognition
from flambeau.fields.describing import spread
from flambeau.fields.time.timeforms import DIGITS, Note, find_form
from flambeau.fields.time.times import LONGEST, pattern, read
from flambeau_onnx.times import CYCLES, DAY, PIVOT, UNIX, TimeForm, date_features

SAMPLE = 1000


@FIELDS.register("date")
class Date(Field):
    """A date or a time. Encoded as float32 (7): days since the training rows' mean, over their deviation; then sine and
    cosine of the place in the year, in the week and in the day.

    Args:
        format: how texts are written, as for `strptime` (and `%q` for a quarter), or `unix s`, `unix ms`; `auto` for
            the form that reads most of them. Where days and months cannot be told apart by any value, the day is taken
            to come first, and `check` says so. One offset from UTC that all values have is the clock that is kept;
            different ones are brought to UTC.
    """

    asked_as = "date"
    in_table = "always"
    noun = "date"
    input_only = True
    settings = ("format",)
    fitted = ("read_as", "zone", "since", "mean", "std")

    def __init__(self, format: str = "auto"):
        if format not in ("auto", *UNIX):
            pattern(format)
        self.format = format
        self.read_as: str | None = None if format == "auto" else format
        self.zone: str | None = None
        self.since = PIVOT
        self.mean, self.std = 0.0, 1.0
        self._looked = False  # at all values, so that those of the training rows do not decide

    @property
    def time_format(self) -> str:
        return self.format

    @property
    def form(self) -> TimeForm:
        """How its values are written."""
        return TimeForm(self.read_as, self.zone, self.since)

    @classmethod
    def from_reading(cls, text: str) -> Date:
        return cls(text or "auto")

    def decided(self, values: Sequence[Any]) -> Date:
        if self.read_as is not None:
            return self
        decided = Date(self.format)
        decided.fit(values)
        return decided

    @property
    def reading(self) -> str:
        return f"{self.kind}:{self.read_as}" if self.read_as else self.kind

    def read_text(self, text: str) -> Any:
        time = read([text], self.form)[0][0]
        if np.isnat(time):
            raise ValueError(f"{text!r} is no date")
        return str(time.astype("datetime64[s]"))

    @classmethod
    def recognise(cls, values: Sequence[Any]) -> Recognition:
        sample = [v for v in values[:SAMPLE] if v is not None]
        if not sample:
            return Recognition(0.0, "there are no values")
        if all(isinstance(v, (datetime.date, np.datetime64)) for v in sample):
            return Recognition(0.95, "values are dates")
        numbers = all(isinstance(v, (int, np.integer)) and len(str(v)) in DIGITS for v in sample)
        if not numbers and not all(isinstance(v, str) and len(v) <= LONGEST for v in sample):
            return Recognition(0.0, "values are not dates")
        share = find_form(sample).share
        return Recognition(0.9 if share > 0.9 else 0.0, f"{share:.0%} of the values read as dates")

    def look(self, values: Sequence[Any]) -> None:
        if self.read_as is None and (self.mean, self.std) == (0.0, 1.0):  # not fitted yet
            self._set_form(values)
            self._looked = True

    def fit(self, values: Sequence[Any]) -> None:
        if not self._looked:
            self._set_form(values)
        days = self.days(values)[0]
        known = days[np.isfinite(days)]
        self.mean, std = (float(known.mean()), float(known.std())) if len(known) else (0.0, 0.0)
        self.std = std or 1.0

    def _set_form(self, values: Sequence[Any]) -> None:
        form = self._found(values)[0]
        self.read_as, self.zone, self.since = form.format, form.zone, form.since

    def _found(self, values: Sequence[Any]) -> tuple[TimeForm, list[Note]]:
        found = find_form(values, None if self.format == "auto" else self.format)
        return found.form, found.notes

    def check(self, values: Sequence[Any]) -> list[Finding]:
        """What is to be known of how they are read."""
        return [
            Finding(note.check, Severity.WARNING if note.other else Severity.NOTE, note.message,
                    fix=f"if that is wrong: date:{note.other} with read= (--read), or Date('…')" if note.other else "")
            for note in self._found(values)[1]
        ]  # fmt: skip

    def numbered(self, values: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
        return self.decided(values).days(values)

    def may_name_rows(self, numbers: np.ndarray) -> bool:
        return False

    def days(self, values: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Days since 1970, float64 (N), NaN where there is no date; and the rows whose value is no date."""
        times, bad = read(values, self.form)
        numbers = times.astype(np.int64).astype(np.float64) / DAY
        return np.where(np.isnat(times), np.nan, numbers), bad

    def signals(self, name: str, value: Any, encoded: np.ndarray | None) -> dict[str, float | str | None]:
        return {name: float(self.days([value])[0][0])}

    def in_time(self, values: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
        """What puts values in the order of time, (N): datetime64[us], or plain numbers as they are; and the rows that
        are neither."""
        found = find_form(values, self.read_as, time_column=True)
        if self.read_as is None and not found.share:
            try:
                return np.asarray(values, np.float64), np.zeros(0, np.int64)
            except (TypeError, ValueError):
                return np.zeros(len(values)), np.arange(len(values))
        return read(values, self.form if self.read_as else found.form)

    def describe(self, values: Sequence[Any]) -> dict[str, Any]:
        return spread(self.days(values)[0], "date")

    def features(self, days: np.ndarray) -> np.ndarray:
        """Days (N) to float32 (N, 7), NaN where there is no date."""
        return date_features(days, self.mean, self.std)

    def natural(self, standard: np.ndarray) -> np.ndarray:
        """Encoded days, float64 (N), as dates are written, to the day."""
        days = np.round(standard * self.std + self.mean).astype(np.int64)
        return np.asarray([self.form.written(np.datetime64(day, "D")) for day in days.tolist()], object)

    @property
    def encoding(self) -> Encoding:
        return Encoding(np.dtype(np.float32), (1 + 2 * len(CYCLES),))

    def encode(self, value: Any) -> np.ndarray:
        days, bad = self.days([value])
        if len(bad):
            raise DataError(f"{shown(value)} is not a date", expected=f"such as {self.example()}")
        if not np.isfinite(days[0]):
            raise DataError("the date is missing")
        return self.features(days)[0]

    def encode_all(self, values: Sequence[Any]) -> np.ndarray | None:
        days, bad = self.days(values)
        return None if len(bad) or not np.isfinite(days).all() else self.features(days)

    def example(self) -> str:
        """A date as this field reads it."""
        return self.form.written(np.datetime64(round(self.mean), "D"))
