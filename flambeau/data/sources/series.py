"""Series as sources: tables of observations in time, to be forecast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from flambeau.core.errors import DataError, UsageError
from flambeau.core.findings import Finding, Severity
from flambeau.data.dataset import Dataset
from flambeau.data.sources.base import SOURCES, Source, described
from flambeau.data.sources.long_series import from_observed, is_of_series
from flambeau.data.sources.observations import observed
from flambeau.data.split import LEAST_FOR_TEST, TEST, TRAIN, VALID, Split
from flambeau.fields import Field, Forecast, History, Views
from flambeau.fields.forecast import naive_error
from flambeau.fields.time.layout import Layout, seasons
from flambeau.fields.time.timeline import NUMBER, Timeline, plan, timeline
from flambeau.fields.time.times import read as read_times

HISTORY = "history"
CYCLES = 4  # of a long season that training rows must span for it to be looked for
SEASONAL = 0.9  # steps a season apart differ by less than this much of what steps beside it differ by
LEAST_LENGTH, MOST_LENGTH = 16, 1024
BEYOND = 0.05  # of the rows held out whose value of a column was never seen: more are told
UNUSED = -1  # side of a row that is neither trained nor measured on


def from_series(
    data: str | Path | Any,
    *,
    time: str,
    target: str,
    horizon: int | None = None,
    length: int | None = None,
    id: str | None = None,
    known: Sequence[str] = (),
    inputs: Sequence[str] | None = None,
    season: int | Sequence[int] | None = None,
    quantiles: Sequence[float] | None = None,
    fields: Mapping[str, Field] | None = None,
    split: Split | str = "auto",
    encoding: str | None = None,
    time_format: str | None = None,
    read: Mapping[str, str] | None = None,
    layout: Layout | None = None,
) -> Dataset:
    """Observations in time, one a row, to forecast what follows: each sample is a window of the past and the steps
    after it. Windows are views of one array. The latest times validate and test; statistics are those of the steps that
    training windows forecast, and a training window ends before the first step that is measured on.

    Args:
        data: a CSV, TSV, Parquet or JSON Lines file, or a polars or pandas frame.
        time: the column of times: dates, or numbers that rise; of a pandas frame or Series its index too.
        target: the column that is forecast. One that has one class or number for each series, with no more than `id`
            beside it, is none to be forecast: series are then told apart by it, see `from_long`.
        horizon: steps ahead; one cycle of the day, week or year that the steps have, else 1, if not given.
        length: steps of the past that a forecast is made from; enough for two cycles if not given.
        id: the column that tells several series apart.
        known: columns that are known for the steps ahead too, such as holidays or planned prices. What the time tells
            (hour, weekday, month), and what never changes in a series, is known anyway.
        inputs: columns used beside the target; all if not given.
        season: steps of a cycle, or of several; found from the times and the training values if not given.
        quantiles: of each step; 0.1, 0.5 and 0.9 if not given.
        fields: of the columns `history` and the target, set by hand.
        time_format: how times are written, as for `strptime` (`%d/%m/%Y %H:%M`; `%q` is a quarter), or `unix s`,
            `unix ms`; found from all values if not given, and said where they leave it open.
        read: how the texts of some columns are to be read, as for `from_frame`: `number:de`, `category`, `text`.
        layout: what the columns are, if it is known already; as a run's own data had them.
        split: only how much validates and tests matters: time decides.

    Raises:
        DataError: times cannot be read, two rows of a series have one time, or the series are too short.
    """
    for name, number in (("horizon", horizon), ("length", length)):
        if number is not None and (number < 1 or number != int(number)):
            raise UsageError(f"{name} {number} does not fit", expected="a whole number of steps, 1 or more")
    if season is not None and any(s < 1 or s != int(s) for s in np.atleast_1d(season)):
        raise UsageError(f"season {season} does not fit", expected="whole numbers of steps, or [] for none")
    time, target, id = str(time), str(target), id if id is None else str(id)
    known, inputs = [str(name) for name in known], None if inputs is None else [str(name) for name in inputs]
    file = Path(data) if isinstance(data, (str, Path)) else None
    seen = observed(
        data, time=time, names=(time, target, *([id] if id else []), *known, *(inputs or ())), id=id, target=target,
        encoding=encoding, time_format=time_format, read=read, layout=layout,
    )  # fmt: skip
    cells, findings, time_format = seen.cells, [*seen.findings], seen.time_format
    ahead = any(option is not None for option in (horizon, length, season, quantiles)) or known
    of_another = layout is not None and layout.target != target  # that of whole series
    if id is not None and (of_another or (layout is None and not ahead and is_of_series(cells.values, target, id))):
        return from_observed(seen, data, time=time, id=id, target=target, inputs=inputs, fields=fields, split=split,
                             encoding=encoding, read=read, layout=layout)  # fmt: skip
    told: list[Finding] | None = None
    if layout is None:
        numerals = {n: f.read_as or "" for n, f in cells.fields.items() if f.numerals is not None}
        layout, told = plan(
            cells.values, time=time, target=target, id=id, known=known, inputs=inputs, time_format=time_format,
            numerals=numerals,
        )  # fmt: skip
    elif time_format and time_format != NUMBER:
        layout = replace(layout, date_format=time_format)
    line = timeline(cells.values, layout)
    how = Split.of(split)
    if how.method not in ("auto", "time", "none") or how.folds:
        raise UsageError(f"series are split by time, and not '{how.method}'", fix="leave the choice to auto")
    until = _cuts(line, how, horizon or 1, length or 1)[0]
    if told is not None and _forget_later_classes(layout, cells.values, line, until):
        line = timeline(cells.values, layout)
    findings += [replace(f, rows=[]) for f in cells.findings]  # windows are not rows of the table
    findings += [*(told or ()), *line.findings, *_of_steps(line, layout)]
    findings += _beyond(line, layout, until)
    found = _seasons(line, until, seasons(layout)) if season is None else np.atleast_1d(season).astype(int).tolist()
    if not (horizon or found):
        findings.append(
            Finding("no-cycle", Severity.NOTE, "the training values follow no cycle of a day, a week or a year, so one "
                    "step ahead is forecast", fix="say how many steps with horizon= (--horizon)")
        )  # fmt: skip
    horizon = horizon or (found[0] if found else 1)
    length = length or _default_length(line, found, horizon)
    starts, left_out = _starts(line, length, horizon)
    findings += left_out
    starts, sides = _sides(line, layout, starts, length, horizon, how)
    if told is None:
        findings += _trained_on(line, layout, starts + length)
    else:
        layout.held_out_from = layout.written(_cuts(line, how, horizon, length)[0])
    past = HISTORY if target != HISTORY else f"{HISTORY}_"
    columns: dict[str, Any] = {
        past: Views(line.values, starts, length + horizon, line.segments),
        target: Views(line.values[:, 0], starts + length, horizon, line.segments, line.names),
    }
    steps = Forecast(quantiles or Forecast().quantiles, found)
    steps.horizon = horizon
    own = {past: History(asdict(layout), length, horizon), target: steps}
    source = described(
        "series" if file is not None else "memory", file, time=time, target=target, horizon=horizon, length=length,
        id=id, known=known or None, inputs=inputs, season=found, split=how, quantiles=quantiles, encoding=encoding,
        time_format=time_format, read=read,
    )  # fmt: skip

    def place(row: int) -> str:
        first = int(starts[row]) + length
        name = line.names[line.segments[first]]
        return (f"{name}, " if name else "") + f"from {layout.written(line.times[first])}"

    return Dataset(columns, target=target, inputs=[past], fields={**own, **(fields or {})}, split=sides.tolist(),
                   source=source, places=place, findings=findings)  # fmt: skip


def _of_steps(line: Timeline, layout: Layout) -> list[Finding]:
    if layout.unit != "order" or layout.weekdays:
        return []
    steps = np.diff(line.times.astype(np.float64))[np.diff(line.segments) == 0]
    shortest, longest = (_span(s, line.dated) for s in (steps.min(), steps.max()))
    return [
        Finding("irregular", Severity.WARNING,
                f"steps are of different length, from {shortest} to {longest}; rows are taken in order",
                fix="bring the series to one step if the time between rows matters")
    ]  # fmt: skip


def _trained_on(line: Timeline, layout: Layout, firsts: np.ndarray) -> list[Finding]:
    """Windows of other data, by the first steps that they forecast, from times that a run trained on."""
    if layout.held_out_from is None:
        return []
    until = read_times([layout.held_out_from], layout.form)[0][0] if line.dated else float(layout.held_out_from)
    seen = int((line.times[firsts] < until).sum())
    return [
        Finding("trained-on", Severity.WARNING,
                f"{seen} of {len(firsts)} forecasts begin before {layout.held_out_from}, up to where the run trained: "
                "if it trained on these series, their figures are too good", fix="measure on later steps")
    ] if seen else []  # fmt: skip


def _beyond(line: Timeline, layout: Layout, until: Any) -> list[Finding]:
    """Other columns that are, in what is held out, where they never were before."""
    before = line.times < until
    places = {name: i for i, name in enumerate(layout.channels) if name in (*layout.past, *layout.known)}
    shares = {}
    for name, i in places.items():
        seen, later = line.values[before, i], line.values[~before, i]
        seen, later = seen[np.isfinite(seen)], later[np.isfinite(later)]
        if len(seen) and len(later):
            shares[name] = float(((later < seen.min()) | (later > seen.max())).mean())
    far = [f"{name} ({share:.0%})" for name, share in shares.items() if share > BEYOND]
    return [
        Finding("beyond-training", Severity.WARNING,
                "beyond what training rows have in many rows held out, and taken for the nearest value that they "
                f"have: {', '.join(far)}", fix="give the change from step to step instead, or leave the column out")
    ] if far else []  # fmt: skip


def _span(step: float, dates: bool) -> str:
    if not dates:
        return f"{step:g}"
    for unit, size in (("days", 86_400e6), ("hours", 3_600e6), ("minutes", 60e6)):
        if step >= size:
            return f"{step / size:.4g} {unit}"
    return f"{step / 1e6:.4g} seconds"


def _cuts(line: Timeline, how: Split, horizon: int, length: int) -> tuple[Any, Any]:
    """The times from which on steps validate, and test: shares of the different times there are."""
    times = np.unique(line.times)
    count = len(times)

    def held_out(few: bool) -> tuple[int, int]:
        shares = how.decided(count, few)
        return round(count * (shares.valid or 0)), round(count * (shares.test or 0))

    n_valid, n_test = held_out(len(line.times) < LEAST_FOR_TEST)
    if how.test is None and (n_test < 2 * horizon or count - n_valid - n_test < length + horizon):
        n_valid, n_test = held_out(True)
    if how.method == "none":
        n_valid = n_test = 0
    end = times[-1] + (np.timedelta64(1, "us") if line.dated else 1.0)
    test_from = times[count - n_test] if n_test else end
    valid_from = times[count - n_test - n_valid] if n_valid else test_from
    return valid_from, test_from


def _forget_later_classes(layout: Layout, columns: Mapping[str, Sequence[Any]], line: Timeline, until: Any) -> bool:
    """Leaves out categories that come first in what is held out; says whether there were any."""
    rows = line.rows[(line.times < until) & (line.rows >= 0)].tolist()
    before = dict(layout.classes)
    for name, classes in before.items():
        seen = {str(columns[name][row]) for row in rows}
        layout.classes[name] = [c for c in classes if c in seen]
    return layout.classes != before


def _seasons(line: Timeline, until: Any, candidates: Sequence[int]) -> list[int]:
    """Those of some cycles that training values follow: steps a cycle apart are more alike than those beside it."""
    flat = np.where(line.times < until, line.values[:, 0], np.nan)
    found: list[int] = []
    for season in candidates:
        inner = found[0] if found else 1
        aside = max(season // inner // 2, 1) * inner
        if np.isfinite(flat).sum() < CYCLES * season or aside >= season:
            continue
        beside = [naive_error(flat, line.segments, season + s * aside) for s in (-1, 1)]
        if naive_error(flat, line.segments, season) < SEASONAL * np.mean(beside):
            found.append(season)
    return found


def _default_length(line: Timeline, found: Sequence[int], horizon: int) -> int:
    """Two of the shortest cycle, one of the longest, and twice the horizon; but no more than half of a usual series."""
    wanted = max(LEAST_LENGTH, 2 * horizon, 2 * found[0] if found else 0, max(found, default=0))
    usual = int(np.median(np.bincount(line.segments)))
    return max(1, min(wanted, MOST_LENGTH, (usual - horizon) // 2))


def _starts(line: Timeline, length: int, horizon: int) -> tuple[np.ndarray, list[Finding]]:
    """Where windows begin: all that lie in one series and whose steps ahead are not all missing."""
    whole, short = length + horizon, []
    parts = []
    begin = 0
    for number, count in enumerate(np.bincount(line.segments).tolist()):
        if count < whole:
            short.append(line.names[number] or "the series")
        else:
            parts.append(np.arange(begin, begin + count - whole + 1))
        begin += count
    if not parts:
        raise DataError(
            f"no series is as long as one window: {length} steps and {horizon} ahead; the longest has "
            f"{int(np.bincount(line.segments).max())}",
            fix="take a smaller horizon or length, or more rows",
        )
    starts = np.concatenate(parts)
    known = np.r_[0, np.cumsum(np.isfinite(line.values[:, 0]))]
    ahead = known[starts + whole] - known[starts + length]
    behind = known[starts + length] - known[starts]
    starts = starts[(ahead > 0) & (behind > 0)]
    if not len(starts):
        raise DataError("the target has no values, or too few between gaps, for a window",
                        expected=f"some in {length} steps, and some in the {horizon} after them")  # fmt: skip
    findings = []
    if short:
        findings.append(
            Finding("short-series", Severity.WARNING,
                    f"{len(short)} series are shorter than one window of {whole} steps and are left out", places=short,
                    fix="take a smaller length, or join them")
        )  # fmt: skip
    return starts, findings


def _sides(
    line: Timeline, layout: Layout, starts: np.ndarray, length: int, horizon: int, how: Split
) -> tuple[np.ndarray, np.ndarray]:
    """Windows and their sides: one that forecasts across a border is on neither."""
    valid_from, test_from = _cuts(line, how, horizon, length)
    first, last = line.times[starts + length], line.times[starts + length + horizon - 1]
    side = np.full(len(starts), UNUSED)
    side[last < valid_from] = TRAIN
    side[(first >= valid_from) & (last < test_from)] = VALID
    side[first >= test_from] = TEST
    if not (side == TRAIN).any():
        raise DataError(
            f"no window of {length} steps and {horizon} ahead ends before the rows that are held out begin, "
            f"at {layout.written(valid_from)}",
            fix="take a smaller horizon or length, or hold less out with valid= and test=",
        )
    used = side != UNUSED
    return starts[used], side[used]


@SOURCES.register("series")
class SeriesSource(Source):
    """Tables of observations in time: whatever it is, where a column of times is named."""

    of, sign = "series", "the column that holds the time: time= (--time)"
    read = staticmethod(from_series)

    @staticmethod
    def claims(path: Path, options: Mapping[str, Any]) -> float:
        return 1.0 * ("time" in options and options.get("labels") is not False)
