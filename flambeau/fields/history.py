"""History: what was up to now, and what is known ahead, as the input of a forecast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from flambeau.core.errors import DataError, UsageError, shown
from flambeau.core.findings import Finding
from flambeau.core.shapes import Float
from flambeau.fields.base import FIELDS, Encoding, Field
from flambeau.fields.columns import Views
from flambeau.fields.heat import Heat, Site, blocks, listed
from flambeau.fields.series import Series, drawn_heat
from flambeau.fields.time.layout import Layout
from flambeau.fields.time.timeline import Timeline, timeline
from flambeau.robustness import Corruption
from flambeau.robustness.numbers import STEPS, spread_of
from flambeau_onnx.steps import Unfit, by_series, last_known, standardised, times_after

SHOWN_SERIES, SHOWN_STEPS = 3, 600


class PastFuture(NamedTuple):
    """A prepared batch of histories: past float32 (B, C, L), of which the first channel is what is forecast; and future
    float32 (B, K, H), the last K of these channels in the steps that are forecast."""

    past: Tensor
    future: Tensor


@FIELDS.register("history")
class History(Field):
    """The last L steps of a series and what is known of the next H. A raw value is a window float64 (L + H, C) of a
    timeline, in natural units; or a table of observations as columns or rows, whose end is the window.

    Encoded as float32 (L + H, C), each channel standardised by the training rows; a missing value is the last one
    known, or the mean where there is none. Prepared as `PastFuture`: of the next H steps only the channels that are
    known ahead get so far, so that a model cannot see what it is to forecast.

    Args:
        layout: what the channels are, see `Layout`; given by `from_series`.
        length: L.
        horizon: H.
    """

    asked_as = "rows"
    input_only = True
    settings = ("layout", "length", "horizon")
    fitted = ("mean", "std", "low", "high")

    def __init__(self, layout: Mapping[str, Any], length: int, horizon: int):
        if length < 1 or horizon < 1:
            raise UsageError(f"length {length} and horizon {horizon} do not fit", expected="1 step or more of each")
        self.layout, self.length, self.horizon = dict(layout), int(length), int(horizon)
        self.mean: list[float] = [0.0] * self.channels
        self.std: list[float] = [1.0] * self.channels
        self.low: list[float] = []
        """The least and, in `high`, the largest of each channel among the steps that training rows forecast; empty for
        runs that know of none. What is beyond in another channel than the target is brought back to it: a network says
        anything of what it has not seen."""
        self.high: list[float] = []

    @property
    def plan(self) -> Layout:
        """The layout, as `timeline` takes it."""
        return Layout(**self.layout)

    @property
    def channels(self) -> int:
        """C."""
        return len(self.plan.channels)

    def columns_of(self, name: str) -> dict[str, Field]:
        return dict.fromkeys(self.plan.columns, self)

    @property
    def source_options(self) -> dict[str, Any]:
        plan = self.plan
        of_plan = {"time": plan.time, "target": plan.target, "id": plan.id, "layout": plan}
        return {**of_plan, "length": self.length, "horizon": self.horizon}

    @property
    def apart_by(self) -> str | None:
        return self.plan.id

    def apart(self, values: Any) -> tuple[list[Any], bool]:
        parted = isinstance(values, (list, tuple)) and values and isinstance(values[0], (list, tuple, np.ndarray))
        if not parted and not isinstance(values, np.ndarray):
            try:
                values = by_series(values, self.apart_by)
            except Unfit as error:
                raise DataError(f"{shown(values)} is no history", expected=error.expected) from None
            values = values if self.apart_by else values[0]
        return super().apart(values)

    @property
    def past_steps(self) -> int:
        return self.length

    def ahead(self, value: Any) -> tuple[str | None, list[str], list[Finding]] | None:
        if value is None or isinstance(value, np.ndarray):
            return None
        line, plan = self.lines(value), self.plan
        return line.names[0] or None, [plan.written(time) for time in line.times[-self.horizon :]], line.findings

    @property
    def reading_words(self) -> str:
        return f"{self.length} steps of {self.plan.words}"

    def fit(self, values: Sequence[Any]) -> None:
        # of the steps that training rows forecast: the target's field is fitted to the same
        if isinstance(values, Views):
            array = values.flat[values.covered(self.length)]
        else:
            windows = [np.asarray(v)[self.length :] for v in values if np.shape(v) == self.encoding.shape]
            array = np.concatenate([np.zeros((0, self.channels)), *windows])
        known = np.where(np.isfinite(array), array, np.nan)
        count = (~np.isnan(known)).sum(0)
        mean = np.where(count > 0, np.nansum(known, 0) / np.maximum(count, 1), 0.0)
        std = np.sqrt(np.nansum((known - mean) ** 2, 0) / np.maximum(count, 1))
        self.mean, self.std = mean.tolist(), np.where(std > 0, std, 1.0).tolist()
        there = np.where(count > 0, known, 0.0)
        self.low, self.high = (f(there, 0).tolist() if len(there) else [] for f in (np.nanmin, np.nanmax))

    def corruptions(self, values: Sequence[Any]) -> dict[str, Corruption]:
        spread = spread_of(np.concatenate([value[: self.length] for value in values]))[:, None]

        def opened(raw: Any) -> np.ndarray:  # what is past alone: the steps ahead are known, or forecast
            return np.asarray(raw[: self.length].T / spread)

        found = STEPS.within(opened, lambda raw, x: np.concatenate([(x * spread).T, raw[self.length :]]))
        return {name: one for name, one in found.items() if name != "gain"}  # of which the truth would have its share

    @property
    def encoding(self) -> Encoding:
        return Encoding(np.dtype(np.float32), (self.length + self.horizon, self.channels))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(C, L, K, H)."""
        return (self.channels, self.length, self.plan.num_known, self.horizon)

    def encode_flat(self, values: Views) -> np.ndarray:
        return self._standard(last_known(values.flat, values.segments))

    def encode(self, value: Any) -> np.ndarray:
        if not isinstance(value, np.ndarray):
            return self.encode(self.window(value)[0])
        if value.shape != self.encoding.shape or value.dtype.kind not in "fiu":
            raise DataError(f"the window has the shape {value.shape}", expected=f"numbers {self.encoding.shape}")
        if np.isinf(value).any():
            raise DataError("a value of the window is infinite", expected="finite numbers")
        return self._standard(last_known(value.astype(np.float64)))

    def _standard(self, array: np.ndarray) -> np.ndarray:
        return standardised(array, self.mean, self.std, self.low, self.high)

    def window(self, value: Any) -> tuple[np.ndarray, Timeline]:
        """The window at the end of a table with one series, float64 (L + H, C), and the timeline that it is of.

        Raises:
            DataError: there are several series, or fewer than L steps.
        """
        line = self.lines(value)
        if len(line.names) != 1:
            raise DataError(f"the rows are of {len(line.names)} series", expected="one at a time")
        return self.ends(line)[0], line

    def lines(self, value: Any) -> Timeline:
        """A table, as columns or rows, as a timeline that goes on H steps after the last target of each series."""
        if isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(r, Mapping) for r in value):
            names = list(dict.fromkeys(name for row in value for name in row))
            value = {name: [row.get(name) for row in value] for name in names}
        if not isinstance(value, Mapping) or not value:
            raise DataError(f"a {type(value).__name__} is not a history", expected="rows of observations in time")
        return timeline(value, self.plan, self.horizon)

    def ends(self, line: Timeline) -> list[np.ndarray]:
        """The last window of each series of a timeline."""
        out = []
        borders = np.flatnonzero(np.diff(line.segments)) + 1
        for name, values in zip(line.names, np.split(line.values, borders), strict=True):
            if len(values) < self.length + self.horizon:
                called = f" of {name}" if name else ""
                raise DataError(
                    f"the history{called} has {len(values) - self.horizon} steps, of {self.length} that are looked at",
                    expected="as many or more",
                )
            out.append(values[-self.length - self.horizon :])
        return out

    def asks(self, column: str) -> list[dict[str, Any]]:
        return [{"name": name, "kind": self.asked_as, "choices": []} for name in self.plan.columns]

    def portable(self, value: Any) -> Any:
        return self.example(value) if isinstance(value, np.ndarray) else list(value)

    def example(self, window: np.ndarray | None = None) -> list[dict[str, Any]]:
        """Rows that could be asked about, as plain JSON: those of a window, or the mean of the training rows at every
        step; the first of each column's names."""
        plan = self.plan
        steps = [self.mean] * (self.length + self.horizon) if window is None else last_known(window).tolist()
        start = np.datetime64("2024-01-01T00:00:00") if plan.unit != "number" and plan.step else 0.0
        times = [start, *times_after(np.asarray([start]), self.length + self.horizon - 1, plan)]
        rows = []
        for i, time in enumerate(times[: self.length + self.horizon * bool(plan.known)]):
            row: dict[str, Any] = {plan.time: plan.written(time)} if plan.unit != "number" else {plan.time: float(time)}
            row |= {plan.id: "a"} if plan.id else {}
            middle = dict(zip(plan.channels, steps[i], strict=True))
            row[plan.target] = float(f"{middle[plan.target]:.6g}") if i < self.length else None
            for name in (*plan.past, *plan.known):
                row[name] = plan.classes[name][0] if name in plan.classes else float(f"{middle[name]:.6g}")
            rows.append(row)
        return rows

    def prepare(
        self, gathered: Float[Tensor, "B T C"], training: bool = False, generator: torch.Generator | None = None
    ) -> PastFuture:
        known = self.channels - self.plan.num_known
        past, future = gathered[:, : self.length], gathered[:, self.length :, known:]
        return PastFuture(past.transpose(1, 2), future.transpose(1, 2))

    def describe(self, values: Sequence[Any]) -> dict[str, Any]:
        """The target's whole course, of the first few series."""
        if not isinstance(values, Views):
            return {}
        courses = []
        for segment in np.unique(values.segments)[:SHOWN_SERIES]:
            course = values.flat[values.segments == segment, 0].astype(np.float64)
            step = -(-len(course) // SHOWN_STEPS)
            means = (course[i : i + step].mean() for i in range(0, len(course), step))
            courses.append([[i * step, None if v != v else float(v)] for i, v in enumerate(means)])
        return {"courses": courses, "series": len(np.unique(values.segments))}

    def sites(self, prepared: PastFuture) -> list[Site]:
        return [Site(part, 0.0, blocks(part)) for part in prepared if part.numel()]

    def heat(self, value: Any, weights: Sequence[np.ndarray]) -> Heat:
        """The course of each channel up to now, each step on the colour of its weight; parts are whole channels, those
        known ahead with what is known of them."""
        window = value if isinstance(value, np.ndarray) else self.window(value)[0]
        sums = weights[0][0].sum(1)
        for future in weights[1:]:
            sums[-future.shape[1] :] += future[0].sum(1)
        drawn = drawn_heat(window[: self.length].T, weights[0][0])
        parts = listed([(name, "", float(w)) for name, w in zip(self.plan.channels, sums, strict=True)])
        return replace(drawn, html=f"{drawn.html} {parts.html}", parts=parts.parts)

    def render(self, value: Any) -> str:
        """The target's course as a small curve."""
        return Series().render(value[: self.length, 0]) if isinstance(value, np.ndarray) else super().render(value)
