"""Long series: whole series whose steps are rows of a table, each with its time and the name of its series."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flambeau.core.errors import DataError
from flambeau.fields.base import FIELDS, Field
from flambeau.fields.series import Series
from flambeau.fields.time.layout import Layout
from flambeau.fields.time.timeline import Timeline, timeline
from flambeau_onnx.steps import Unfit, by_series, times_after


@FIELDS.register("long-series")
class LongSeries(Series):
    """Series (C, T) as rows of observations, a row for each step, in whatever order; the times say which is which. A
    raw value is an array (C, T), in natural units, or the rows of one series.

    Args:
        layout: what the columns are, see `Layout`; given by `from_long`.
        of: the column of the class or number that each series has, where there is one.
        scale: as for `Series`.
    """

    asked_as = "rows"
    input_kind = "series"
    settings = ("layout", "of", "scale")

    def __init__(self, layout: Mapping[str, Any], of: str | None = None, scale: str = "column"):
        super().__init__(scale)
        self.layout, self.of = dict(layout), of

    @property
    def plan(self) -> Layout:
        """The layout, as `timeline` takes it."""
        return Layout(**self.layout)

    @property
    def channels(self) -> list[str]:
        """What each step has, C names: columns, and of one of categories a name for each of these."""
        plan = self.plan
        return plan.channels[: len(plan.channels) - len(plan.clock)]

    @property
    def source_options(self) -> dict[str, Any]:
        plan = self.plan
        return {"time": plan.time, "id": plan.id, "target": self.of, "layout": plan}

    @property
    def apart_by(self) -> str | None:
        return self.plan.id

    @property
    def reading_words(self) -> str:
        return self.plan.words

    def columns_of(self, name: str) -> dict[str, Field]:
        return dict.fromkeys(self.plan.columns, self)

    def asks(self, column: str) -> list[dict[str, Any]]:
        return [{"name": name, "kind": self.asked_as, "choices": []} for name in self.plan.columns]

    def apart(self, values: Any) -> tuple[list[Any], bool]:
        parted = isinstance(values, (list, tuple)) and values and not isinstance(values[0], Mapping)
        if not parted and not isinstance(values, np.ndarray):
            try:
                return [*by_series(values, self.apart_by)], True
            except Unfit as error:
                raise DataError(error.found, expected=error.expected) from None
        return super().apart(values)

    def steps_of(self, value: Any) -> np.ndarray | None:
        if not (isinstance(value, (list, tuple)) and value and isinstance(value[0], Mapping)):
            return super().steps_of(value)
        names = list(dict.fromkeys(name for row in value for name in row))
        line = timeline({name: [row.get(name) for row in value] for name in names}, self.plan)
        if len(line.names) != 1:
            raise DataError(f"the rows are of {len(line.names)} series", expected="one at a time")
        return self.courses(line)[0]

    def courses(self, line: Timeline) -> list[np.ndarray]:
        """The series of a timeline, each float64 (C, T)."""
        borders = np.flatnonzero(np.diff(line.segments)) + 1
        return [np.ascontiguousarray(part.T) for part in np.split(line.values[:, : len(self.channels)], borders)]

    def example(self) -> list[dict[str, Any]]:
        return self.table_rows(np.repeat(np.asarray(self.mean)[:, None], self.shape[1], 1), "a")

    def portable(self, value: Any) -> Any:
        return self.table_rows(value, "a") if isinstance(value, np.ndarray) else list(value)

    def table_rows(self, value: Any, name: str) -> list[dict[str, Any]]:
        """A row for each step, in the columns that were trained on; times go on from 2024 or 0, for none is made."""
        plan, steps = self.plan, np.atleast_2d(value)
        start = np.datetime64("2024-01-01T00:00:00") if plan.unit != "number" and plan.step else 0.0
        times = [start, *times_after(np.asarray([start]), steps.shape[1] - 1, plan)]
        rows = []
        for time, values in zip(times, steps.T.tolist(), strict=True):
            row: dict[str, Any] = {plan.time: plan.written(time) if isinstance(start, np.datetime64) else float(time)}
            row |= {plan.id: name} if plan.id else {}
            rest = iter(values)
            for column in (plan.target, *plan.past, *plan.known):
                if classes := plan.classes.get(column):
                    row[column] = classes[int(np.argmax([next(rest) for _ in classes]))]
                else:
                    number = next(rest)
                    row[column] = float(f"{number:.6g}") if number == number else None
            rows.append(row)
        return rows

    def write(self, value: Any, stem: Path) -> Path:
        """A row for each step, a column for each channel, under their names."""
        path = stem.with_suffix(".csv")
        header = ",".join(f'"{name}"' if "," in name else name for name in self.channels)
        np.savetxt(path, np.atleast_2d(value).T, delimiter=",", fmt="%.8g", header=header, comments="")
        return path
