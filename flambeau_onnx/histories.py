"""Histories: what was observed up to now, in rows, as the window that a forecast is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flambeau_onnx.errors import ExportError
from flambeau_onnx.steps import Layout, Unfit, by_series, clock_of, last_known, places, standardised, with_future
from flambeau_onnx.times import read


class History:
    """float32 (L + H, C), each channel standardised: the last L steps of a series, and what is known of the next H. A
    raw value is a tuple of rows, or a window float64 (L + H, C) in natural units."""

    ragged = False
    packages: tuple[str, ...] = ()

    def __init__(self, said: Mapping[str, Any]):
        self.said, self.length, self.horizon = said, int(said["length"]), int(said["horizon"])
        self.layout = Layout(**said["layout"])

    def __call__(self, value: Any) -> np.ndarray:
        if not isinstance(value, np.ndarray):
            value = self.window(value)[0]
        shape = self.length + self.horizon, len(self.layout.channels)
        if value.shape != shape or value.dtype.kind not in "fiu" or np.isinf(value).any():
            raise ExportError(f"a window of the shape {value.shape} is no history; expected finite numbers {shape}")
        known = last_known(value.astype(np.float64))
        return standardised(known, *(self.said[name] for name in ("mean", "std")),
                            *(self.said.get(name, []) for name in ("low", "high")))  # fmt: skip

    def parts(self, value: Any) -> list[str]:
        raise ExportError("this input has no words")

    def apart(self, values: Any) -> tuple[list[Any], bool]:
        """Rows of observations, or columns of them, as a tuple of rows a series; and whether several were meant."""
        if isinstance(values, list) and not (values and isinstance(values[0], Mapping)):
            return values, True
        if not isinstance(values, (list, Mapping)):
            return [values], False
        try:
            return [*by_series(values, self.layout.id)], self.layout.id is not None
        except Unfit as error:
            raise ExportError(str(error)) from None

    def ahead(self, value: Any) -> tuple[str | None, list[str] | None]:
        """Whose forecast it is, and when its steps are; unknown of a window."""
        if isinstance(value, np.ndarray):
            return None, None
        _, times, name = self.window(value)
        return name or None, [self.layout.written(time) for time in times[-self.horizon :]]

    def window(self, rows: Any) -> tuple[np.ndarray, np.ndarray, str]:
        """float64 (L + H, C) at the end of the rows of one series, the times of its steps, and whose it is."""
        if not isinstance(rows, Sequence) or not rows or not all(isinstance(row, Mapping) for row in rows):
            raise ExportError(f"a {type(rows).__name__} is no history; expected rows of observations in time")
        layout = self.layout
        known = {name for row in rows for name in row}
        if missing := [name for name in layout.columns if name not in known and name != layout.target]:
            raise ExportError(f"the rows have no column '{missing[0]}'; expected {', '.join(layout.columns)}")
        names = {str(row[layout.id]) for row in rows} if layout.id else {""}
        if len(names) != 1:
            raise ExportError(f"the rows are of {len(names)} series; give those of one as a tuple, or all as a list")
        times = np.asarray([self._time(row.get(layout.time), i) for i, row in enumerate(rows, 1)])
        order = np.argsort(times, kind="stable")
        if len(twice := np.flatnonzero(times[order][1:] == times[order][:-1])):
            raise ExportError(f"two rows have the same time, {layout.written(times[order[twice[0]]])}; remove one")
        values = np.stack([self._channels(row, i) for i, row in enumerate(rows, 1)])[order]
        times = times[order]
        at, _ = places(times, layout)
        try:
            values, times, *_ = with_future(values, times, at, order, 0, layout, self.horizon)
        except Unfit as error:
            raise ExportError(str(error)) from None
        if len(values) < self.length + self.horizon:
            steps = len(values) - self.horizon
            raise ExportError(f"the history has {steps} steps, of {self.length} that are looked at; give as many")
        values = np.concatenate((values, clock_of(times, layout)), 1)[-self.length - self.horizon :]
        return values, times, names.pop()

    def _time(self, value: Any, row: int) -> Any:
        layout = self.layout
        try:
            if layout.of_dates is False:
                time: Any = float(value)
                fits = np.isfinite(time)
            else:
                time = read(value, layout.form)
                fits = not np.isnat(time)
        except (TypeError, ValueError):
            fits = False
        if not fits:
            such = "a number" if layout.of_dates is False else layout.written(np.datetime64("2024-01-31T14:00"))
            raise ExportError(f"column '{layout.time}', row {row}: {value!r} is not a time; expected such as {such}")
        return time

    def _channels(self, row: Mapping[str, Any], number: int) -> np.ndarray:
        """The channels of a row without the clock, float64 (C)."""
        layout, out = self.layout, list[float]()
        for name in (layout.target, *layout.past, *layout.known):
            value = row.get(name)
            if (classes := layout.classes.get(name)) is not None:
                lower = isinstance(value, (bool, np.bool_)) and "True" not in classes
                written = str(value).lower() if lower else str(value)
                out += [float(written == one) for one in classes]
                continue
            if value is None or value == "":
                out.append(float("nan"))
                continue
            if isinstance(value, str) and layout.numerals.get(name):
                raise ExportError(f"column '{name}': {value!r} would be read as '{layout.numerals[name]}', which needs "
                                  "Flambeau; give a float")  # fmt: skip
            try:
                out.append(float(value))
            except (TypeError, ValueError):
                out.append(float("inf"))
            if np.isinf(out[-1]):
                raise ExportError(f"column '{name}', row {number}: {value!r} is not a number; give a finite one, or "
                                  "leave it empty if it is not known")  # fmt: skip
        return np.asarray(out)
