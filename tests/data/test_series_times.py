"""The times of series: read in any form, by the calendar, and written ahead as the table has them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import flambeau as fb
from flambeau.core.errors import DataError, FlambeauError
from flambeau.data.sources.series import from_series


def made(times: Sequence[Any], values: Sequence[float] | None = None, **options: Any) -> fb.Dataset:
    load = 10 + np.sin(np.arange(len(times)) / 6 * np.pi) if values is None else values
    frame = pl.DataFrame({"t": times, "v": np.asarray(load, float)}, strict=False)
    return from_series(frame, **{"time": "t", "target": "v", "horizon": 3, "length": 6, **options})


def ahead(times: Sequence[Any], count: int = 3, **options: Any) -> list[str]:
    """The times of the steps after a series, as a forecast of it has them."""
    data = made(times, **options)
    field = data.fields["history"]
    line = field.lines({"t": times, "v": np.arange(float(len(times)))})
    return [field.plan.written(t) for t in line.times[-3:]][:count]


def month_ends(first: dt.date, count: int, months: int = 1) -> list[dt.date]:
    starts = [(first.year * 12 + first.month - 1 + (i + 1) * months) for i in range(-1, count - 1)]
    return [dt.date((m + 1) // 12, (m + 1) % 12 + 1, 1) - dt.timedelta(days=1) for m in starts]


DAYS = [dt.date(2023, 12, 31) - dt.timedelta(days=i) for i in reversed(range(100))]
HOURS = [dt.datetime(2023, 12, 31, 23) - dt.timedelta(hours=i) for i in reversed(range(100))]


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (month_ends(dt.date(2020, 2, 1), 48), ["2024-02-29", "2024-03-31", "2024-04-30"]),
        (month_ends(dt.date(2012, 3, 1), 40, 3), ["2022-03-31", "2022-06-30", "2022-09-30"]),
        ([np.busday_offset(np.datetime64(d), 0, roll="backward").item() for d in month_ends(dt.date(2020, 1, 1), 50)],
         ["2024-03-29", "2024-04-30", "2024-05-31"]),
        ([dt.date(2020 + m // 12, m % 12 + 1, 28 if m % 12 == 1 else 30) for m in range(2, 49)],
         None),
        ([dt.date(1970 + y, 12, 31) for y in range(50)], ["2020-12-31", "2021-12-31", "2022-12-31"]),
        ([dt.date(2023, 1, 6) + dt.timedelta(weeks=i) for i in range(52)], ["2024-01-05", "2024-01-12", "2024-01-19"]),
        ([d.strftime("%Y%m%d") for d in DAYS], ["20240101", "20240102", "20240103"]),
        ([int(d.strftime("%Y%m%d")) for d in DAYS], ["20240101", "20240102", "20240103"]),
        ([f"{2000 + m // 12}-{m % 12 + 1:02}" for m in range(48)], ["2004-01", "2004-02", "2004-03"]),
        ([200001 + m % 12 + m // 12 * 100 for m in range(48)], ["200401", "200402", "200403"]),
        ([f"{2000 + q // 4}Q{q % 4 + 1}" for q in range(40)], ["2010Q1", "2010Q2", "2010Q3"]),
        ([f"{h.isoformat()}+01:00" for h in HOURS], ["2024-01-01T00:00:00+01:00", "2024-01-01T01:00:00+01:00"]),
        ([h.strftime("%m/%d/%Y %I:%M %p") for h in HOURS], ["01/01/2024 12:00 AM", "01/01/2024 01:00 AM"]),
        ([int(h.replace(tzinfo=dt.UTC).timestamp()) for h in HOURS], ["1704067200", "1704070800"]),
        ([h.replace(tzinfo=dt.timezone(dt.timedelta(hours=2))) for h in HOURS], ["2024-01-01 00:00:00+02:00"]),
        ([1990 + y for y in range(30)], ["2020", "2021", "2022"]),
        ([f"{1900 + 2 * y}-12-31" for y in range(30)], ["1960-12-31", "1962-12-31", "1964-12-31"]),
        ([np.busday_offset(np.datetime64("2020-01") + np.timedelta64(m, "M"), 0, "forward").item() for m in range(50)],
         ["2024-03-01", "2024-04-01", "2024-05-01"]),
        ([d.strftime("%y%m%d") for d in DAYS], ["240101", "240102", "240103"]),
        ([45_191 + d for d in range(100)], ["45291", "45292", "45293"]),
        ([f"{h} CET" for h in HOURS], ["2024-01-01 00:00:00 CET", "2024-01-01 01:00:00 CET"]),
    ],
)  # fmt: skip
def test_steps_ahead_follow_the_calendar_in_the_form_of_the_table(times: list[Any], expected: list[str] | None) -> None:
    if expected is None:  # on the 30th, or the last day of a February
        times = [dt.date(m // 12, m % 12 + 1, min(30, (dt.date((m + 1) // 12, (m + 1) % 12 + 1, 1)
                 - dt.timedelta(days=1)).day)) for m in range(2020 * 12, 2024 * 12 + 1)]  # fmt: skip
        expected = ["2024-02-29", "2024-03-30", "2024-04-30"]
    if isinstance(times[0], dt.datetime) and times[0].tzinfo:
        times = [t.isoformat(" ") for t in times]
    assert ahead(times, len(expected)) == expected


def test_the_index_of_pandas_holds_the_times() -> None:
    pd = pytest.importorskip("pandas")
    hours = pd.date_range("2024-01-01", periods=200, freq="h")
    values = np.arange(200.0)
    for index in (hours.rename("t"), hours, hours.tz_localize("UTC"), hours.tz_localize("Etc/GMT-1")):
        for data in (pd.DataFrame({"v": values}, index=index), pd.Series(values, index=index)):
            plan = from_series(data, time="t", target="v").fields["history"].plan
            assert plan.unit == "us" and plan.clock[:1] == ["day sin 1"]
            assert plan.zone == {"UTC": "+00:00", "Etc/GMT-1": "+01:00"}.get(str(index.tz))
    quarters = pd.period_range("1990Q1", periods=80, freq="Q")
    data = from_series(pd.Series(values[:80], index=quarters), time="t", target="v", horizon=2, length=8)
    assert data.fields["history"].plan.form.format == "%YQ%q" and data.fields["history"].plan.unit == "month"
    weeks = pd.period_range("2020-01-06", periods=80, freq="W")
    data = from_series(pd.DataFrame({"t": weeks, "v": values[:80]}), time="t", target="v", horizon=2, length=8)
    assert data.fields["history"].plan.step == 7 * 86_400_000_000
    with pytest.raises(DataError, match="there is no column 'when'"):
        from_series(pd.DataFrame({"v": values}), time="when", target="v")


def test_a_run_forecasts_what_pandas_has_in_its_index(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    index = pd.date_range("2024-01-01", periods=100, freq="D", name="t")
    series = pd.Series(np.arange(100.0), index=index, name="v")
    data = from_series(series, time="t", target="v", horizon=2, length=5)
    learner = fb.Learner(data, model="dlinear", epochs=1, run=tmp_path / "run", quiet=True)
    learner.fit(check=False)
    assert learner.predict(series).times == ["2024-04-10", "2024-04-11"]
    assert fb.load(tmp_path / "run").predict(series.to_frame()).times == ["2024-04-10", "2024-04-11"]


def test_days_of_a_place_with_summer_time_are_days() -> None:
    utc = pl.datetime_range(
        dt.datetime(2024, 1, 1), dt.datetime(2024, 12, 1), "1d", time_zone="Europe/Paris", eager=True
    )
    for frequency, expected in ((1, "2024-12-02"), (7, "2024-12-02")):
        days = utc.gather_every(frequency)
        data = from_series(pl.DataFrame({"t": days, "v": np.arange(float(len(days)))}), time="t", target="v")
        field = data.fields["history"]
        assert field.plan.step == frequency * 86_400_000_000 and not [f for f in data.findings if f.check != "no-cycle"]
        assert str(field.lines([{"t": d, "v": 1.0} for d in days]).times[-1])[:10] == expected


def test_zeros_before_numbers_may_be_lost_in_what_is_asked() -> None:
    days = [dt.date(1999, 12, 1) + dt.timedelta(days=i) for i in range(60)]
    field = made([d.strftime("%y%m%d") for d in days]).fields["history"]
    line = field.lines({"t": [int(d.strftime("%y%m%d")) for d in days], "v": np.arange(60.0)})
    assert field.plan.written(line.times[-1]) == "000201"


def test_a_format_that_is_given_is_kept_to() -> None:
    days = [d.strftime("%m/%d/%Y") for d in DAYS]
    with pytest.raises(DataError, match=r"row 1, and 99 more: '\d\d/\d\d/2023' is not a time; expected such as 2024"):
        made(days, time_format="%Y.%m.%d")
    with pytest.raises(DataError, match=r"row 8.*is not a time"):
        made([*days[:7], "2023?", *days[8:]], time_format="%m/%d/%Y")
    numbers = [int(d.strftime("%Y%m%d")) for d in DAYS]
    assert made(numbers, read={"t": "number"}).fields["history"].plan.date_format is None
    assert made(days, read={"t": "date"}).fields["history"].plan.date_format == "%m/%d/%Y"
    with pytest.raises(FlambeauError, match="'t' holds the times; expected date"):
        made(days, read={"t": "text"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"horizon": -1}, "horizon -1 does not fit"),
        ({"length": 2.5}, "length 2.5 does not fit"),
        ({"season": 0}, "season 0 does not fit"),
        ({"times": ["2024-01-01"] * 50}, "rows of a series have the same time"),
        ({"times": [None, *range(1801, 1850)]}, r"column 't', row 1: the time is missing"),
        ({"values": [np.nan] * 50}, "the target has no values"),
    ],
)
def test_what_does_not_fit_is_said(change: dict[str, Any], said: str) -> None:
    with pytest.raises(FlambeauError, match=said):
        made(**{"times": DAYS[:50], **change})


def test_frames_and_what_are_none() -> None:
    frame = pl.DataFrame({"0": DAYS, "1": np.arange(100.0)})
    assert len(from_series(frame.lazy(), time=0, target=1)) == len(from_series(frame, time="0", target="1"))  # type: ignore[arg-type]
    for other in ([1, 2], {"t": [1]}, np.zeros((3, 2)), None):
        with pytest.raises(DataError, match=r"is not a data frame; expected one of polars or pandas"):
            from_series(other, time="t", target="v")


def test_an_hour_that_comes_twice_in_autumn_is_said() -> None:
    utc = [dt.datetime(2023, 10, 20, tzinfo=dt.UTC) + dt.timedelta(hours=i) for i in range(24 * 20)]
    change = dt.datetime(2023, 10, 29, 1, tzinfo=dt.UTC)
    local = [(t + dt.timedelta(hours=2 if t < change else 1)).strftime("%Y-%m-%d %H:%M") for t in utc]
    data = made(local)
    (said,) = [f for f in data.findings if f.check == "clock-put-back"]
    assert "1 time comes twice" in said.message and "2023-10-29 02:00" in said.message
    assert data.fields["history"].plan.step == 3_600_000_000
    offsets = [t.astimezone(dt.timezone(dt.timedelta(hours=2 if t < change else 1))).isoformat() for t in utc]
    data = made(offsets)
    assert [f.check for f in data.findings] == ["offsets"] and data.fields["history"].plan.zone == "+00:00"
    with pytest.raises(DataError, match=r"same time, 2023-10-25 02:00, and 2 more do"):
        made(sorted([*local, "2023-10-25 02:00", "2023-10-26 02:00"]))


def test_what_leaves_it_open_is_said_and_can_be_said_otherwise(tmp_path: Path) -> None:
    days = [f"{d:02}/{m:02}/2023" for m, d in ((1, 2), (2, 1), (3, 3), (3, 9), (4, 6), (5, 8), (6, 7), (8, 9))]
    days = [*days, "09/10/2023", "10/11/2023", "11/12/2023", "12/12/2023"]
    data = made(days, length=3, horizon=1)
    doubts = [f for f in data.findings if f.check == "day-or-month"]
    told = made(days, length=3, horizon=1, time_format="%m/%d/%Y")
    assert told.fields["history"].plan.date_format == "%m/%d/%Y"
    assert not doubts or "--time-format" in doubts[0].fix
    pl.DataFrame({"t": [f"12h30 on {d}" for d in DAYS], "v": range(100)}).write_csv(tmp_path / "odd.csv")
    with pytest.raises(FlambeauError, match=r"column 't', row 1, and 99 more: .* is not a time.*--time-format"):
        from_series(tmp_path / "odd.csv", time="t", target="v")
    data = from_series(tmp_path / "odd.csv", time="t", target="v", time_format="%Hh%M on %Y-%m-%d")
    assert data.source["time_format"] == "%Hh%M on %Y-%m-%d" and data.fields["history"].plan.step == 86_400_000_000


def test_what_is_asked_may_be_written_otherwise_but_must_be_of_the_same_kind() -> None:
    hours = pl.Series(HOURS)
    field = made(HOURS).fields["history"]
    for other in (hours.dt.strftime("%d.%m.%Y %H:%M"), hours.dt.epoch("s"), hours.dt.epoch("ms"), hours.cast(str)):
        line = field.lines({"t": other.to_list(), "v": np.arange(100.0)})
        assert [field.plan.written(t) for t in line.times[-3:-1]] == ["2024-01-01 00:00:00", "2024-01-01 01:00:00"]
    with pytest.raises(DataError, match="column 't', row 1, and 99 more: 0 is not a time"):
        field.lines({"t": range(100), "v": np.arange(100.0)})
    numbered = made(range(100)).fields["history"]
    for times in (HOURS, [str(h) for h in HOURS], np.asarray(HOURS, "datetime64[us]")):
        with pytest.raises(DataError, match="is not a time; expected a number, as in training"):
            numbered.lines({"t": times, "v": np.arange(100.0)})


def test_what_is_no_history_and_other_steps_are_said(tmp_path: Path) -> None:
    fb.Learner(made(HOURS), model="dlinear", epochs=1, run=tmp_path / "run", quiet=True).fit(check=False)
    run = fb.load(tmp_path / "run")
    for wrong in ([], 5, "s.csv", [1.0, 2.0], {"t": "2024-01-01", "v": 1.0}, pl.DataFrame({"t": [], "v": []})):
        with pytest.raises(DataError, match="is no history; expected rows of observations"):
            run.predict(wrong)
    days = pl.DataFrame({"t": [HOURS[0] + dt.timedelta(days=i) for i in range(100)], "v": np.arange(100.0)})
    with pytest.warns(UserWarning, match="do not keep the common step"):
        run.predict(days)


def test_missing_targets_are_rows_of_the_table_and_not_windows(tmp_path: Path) -> None:
    load = [*map(str, range(97)), "", "n/a", ""]
    pl.DataFrame({"t": [str(d) for d in DAYS], "v": load}).write_csv(tmp_path / "s.csv")
    data = from_series(tmp_path / "s.csv", time="t", target="v", horizon=2, length=5)
    (said,) = [f for f in data.findings if f.check == "read-as-missing"]
    assert said.places[0] == "row 98" and not said.rows
    fb.Learner(data, model="dlinear", epochs=1, run=tmp_path / "run", quiet=True).fit()


def test_forecasts_of_what_was_trained_on_are_said() -> None:
    plan = made(DAYS[:80]).fields["history"].plan
    assert plan.held_out_from == str(DAYS[64])
    (said,) = made(DAYS, layout=plan, split="none").findings
    assert said.check == "trained-on" and f"58 of 92 forecasts begin before {DAYS[64]}" in said.message
    assert not made(DAYS[64:], layout=plan, split="none").findings
    numbered = made(range(80)).fields["history"].plan
    assert [f.check for f in made(range(50, 100), layout=numbered, split="none").findings] == ["trained-on"]


def test_rows_of_no_series_are_named() -> None:
    for none in (None, ""):
        frame = pl.DataFrame({"t": DAYS, "v": np.arange(100.0), "id": ["a"] * 50 + [none] * 50})
        with pytest.raises(DataError, match="row 51: the column 'id' is empty"):
            from_series(frame, time="t", target="v", id="id")


def test_rows_out_of_order_and_a_horizon_of_one_are_said() -> None:
    times = [str(d) for d in DAYS]
    times[10], times[20] = times[20], times[10]
    data = made(times, np.random.default_rng(0).normal(size=100), horizon=None)
    checks = {f.check: f for f in data.findings}
    assert "row 11" in checks["unsorted"].message or "row 21" in checks["unsorted"].message
    assert "one step ahead" in checks["no-cycle"].message and "--horizon" in checks["no-cycle"].fix
    assert "forecast of 1 step)" in data.describe()


def test_numbers_are_read_as_in_tables_and_so_again(tmp_path: Path) -> None:
    days = [str(d) for d in DAYS]
    load = [f"{1.234 + i / 1000:.3f}".replace(".", ",") for i in range(100)]
    wind = [f"{10 + i % 7 / 10:.1f}".replace(".", ",") for i in range(100)]
    text = "\n".join(
        f"{d};{v};{w};{i % 3:03};{i % 5}" for i, (d, v, w) in enumerate(zip(days, load, wind, strict=True))
    )
    (tmp_path / "s.csv").write_text(f"t;v;wind;code;plan\n{text}\n")
    options: dict[str, Any] = {"time": "t", "target": "v", "horizon": 2, "length": 5}
    data = from_series(tmp_path / "s.csv", **options)
    assert data.columns["v"].flat[:2] == pytest.approx([1.234, 1.235])
    field = data.fields["history"]
    assert field.plan.classes == {"code": ["000", "001", "002"]}, "codes stay codes"
    rows = [{"t": d, "v": v, "wind": w, "code": "001", "plan": "1"} for d, v, w in zip(days, load, wind, strict=True)]
    assert field.window(rows)[0][:5, 0] == pytest.approx([1.329, 1.330, 1.331, 1.332, 1.333])
    again = fb.fields.Field.from_dict(field.to_dict())
    assert again.window(rows)[0].tolist() == field.window(rows)[0].tolist()  # type: ignore[attr-defined]
    new = from_series(tmp_path / "s.csv", layout=field.plan, split="none", **options)
    assert new.columns["v"].flat.tolist() == data.columns["v"].flat.tolist()
    asked = from_series(
        tmp_path / "s.csv", read={"plan": "category", "v": "number:en", "t": "date:%Y-%m-%d"}, **options
    )
    assert asked.fields["history"].plan.classes["plan"] == ["0", "1", "2", "3", "4"]
    assert asked.columns["v"].flat[:2] == pytest.approx([1234, 1235]) and asked.source["read"]["plan"] == "category"
    with pytest.raises(FlambeauError, match=r"column 'wind' cannot be read so.*number"):
        from_series(tmp_path / "s.csv", read={"wind": "date:%Y"}, **options)
