"""Series: windows that are views, time that only runs forward, and tables with gaps, twins and wrong values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import flambeau as fb
from flambeau.baselines import baselines
from flambeau.core.errors import DataError, UsageError
from flambeau.data.sources.series import from_series
from flambeau.data.sources.whole_series import from_ts
from flambeau.data.store.encode import encode
from flambeau.fields import Views
from flambeau.fields.time.timeline import plan, timeline

DAY = 24


def hourly(days: int = 40, noise: float = 0.1, seed: int = 0, **columns: Any) -> pl.DataFrame:
    """A course of the day with a little noise, by the hour."""
    hours = np.arange(days * DAY)
    random = np.random.default_rng(seed)
    times = np.datetime64("2024-03-01T00:00:00") + hours.astype("timedelta64[h]")
    load = 10 + 3 * np.sin(2 * np.pi * hours / DAY) + noise * random.normal(size=len(hours))
    return pl.DataFrame({"time": times.astype("datetime64[us]"), "load": load, **columns})


def made(frame: pl.DataFrame, **options: Any) -> fb.Dataset:
    return from_series(frame, **{"time": "time", "target": "load", **options})


def test_windows_are_views_and_gathered_as_slices() -> None:
    data = made(hourly(), horizon=6, length=12)
    views = data.columns["history"]
    assert isinstance(views, Views)
    assert np.shares_memory(views[0], views.flat) and np.shares_memory(views[5], views[6])
    data.fit()
    store = encode(data)
    rows = torch.tensor([3, 0, len(data) - 1])
    gathered = store.gather(rows)
    for row, window, target in zip(rows.tolist(), gathered["history"], gathered["load"], strict=True):
        assert np.array_equal(window, data.fields["history"].encode(views[row]))
        assert np.array_equal(target, data.fields["load"].encode(data.columns["load"][row]))
    one_copy = views.flat.size * 4
    assert store.columns["history"].nbytes < 1.2 * one_copy + 8 * len(data)


def test_nothing_of_what_is_held_out_is_in_any_statistic_or_choice() -> None:
    """A leak is planted: all that is held out is a thousand times as large, and has another rhythm."""
    frame = hourly(60, wind=np.random.default_rng(1).normal(size=60 * DAY))
    honest = made(frame, split=fb.Split("time", valid=0.2, test=0.2, by="time"))
    first = int(honest.columns["load"].starts[honest.rows("valid")[0]])
    later = pl.int_range(pl.len()) >= first
    planted = frame.with_columns(
        pl.when(later).then(1000 * (pl.int_range(pl.len()) % 7)).otherwise(pl.col("load")).alias("load"),
        pl.when(later).then(pl.col("wind") * 1e6).otherwise(pl.col("wind")).alias("wind"),
    )
    leaky = made(planted, split=fb.Split("time", valid=0.2, test=0.2, by="time"))
    for data in (honest, leaky):
        data.fit()
    assert honest.source["season"] == leaky.source["season"] == [24]
    for name in honest.fields:
        assert honest.fields[name].to_dict() == leaky.fields[name].to_dict()
    rows = torch.from_numpy(honest.rows("train"))
    ours, theirs = (encode(data).gather(rows) for data in (honest, leaky))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_model_cannot_see_what_it_is_to_forecast() -> None:
    frame = hourly(wind=np.random.default_rng(1).normal(size=40 * DAY), holiday=np.arange(40 * DAY) % 48 < 24)
    data = made(frame, horizon=6, length=12, known=["holiday"])
    data.fit()
    field = data.fields["history"]
    assert field.plan.channels[:3] == ["load", "wind", "holiday"]
    gathered = torch.from_numpy(np.stack([field.encode(data.columns["history"][row]) for row in range(4)]))
    changed = gathered.clone()
    changed[:, 12:, :2] = 99.0
    ours, theirs = field.prepare(gathered), field.prepare(changed)
    assert torch.equal(ours.past, theirs.past) and torch.equal(ours.future, theirs.future)
    changed[:, 12:, 2] = 99.0
    assert not torch.equal(ours.future, field.prepare(changed).future), "what is known ahead does get through"


def test_training_ends_before_what_is_measured_begins() -> None:
    frame = pl.concat([hourly(30).with_columns(shop=pl.lit("a")), hourly(20, seed=1).with_columns(shop=pl.lit("b"))])
    data = made(frame, id="shop", horizon=5, length=10, split=fb.Split("time", valid=0.2, test=0.1, by="time"))
    times = frame["time"].to_numpy()
    line = timeline({n: frame[n].to_numpy() for n in ("time", "load")} | {"shop": frame["shop"].to_list()},
                    data.fields["history"].plan)  # fmt: skip
    ends = {}
    for side in ("train", "valid", "test"):
        views = data.columns["load"].take(data.rows(side))
        covered = views.covered()
        ends[side] = (line.times[covered].min(), line.times[covered].max())
    assert ends["train"][1] < ends["valid"][0] <= ends["valid"][1] < ends["test"][0] <= times.max()
    segments = line.segments
    starts = data.columns["history"].starts
    assert (segments[starts] == segments[starts + 14]).all(), "no window lies in two series"


def test_gaps_are_filled_said_and_not_learned() -> None:
    frame = hourly().filter(~pl.int_range(pl.len()).is_in([100, 101, 102, 400]))
    data = made(frame, horizon=6, length=12)
    (gaps,) = [f for f in data.findings if f.check == "gaps"]
    assert "4 steps are missing" in gaps.message and "2024-03-05 03:00:00" in gaps.message
    flat = data.columns["load"].flat
    assert len(flat) == 40 * DAY and np.flatnonzero(np.isnan(flat)).tolist() == [100, 101, 102, 400]
    learner = fb.Learner(data, model="dlinear", epochs=1, run=False, quiet=True)
    assert np.isfinite(learner.fit(check=False)["mase"])
    window = data.fields["history"].encode(data.columns["history"][95])
    assert np.isfinite(window).all() and window[5, 0] == window[4, 0], "a gap goes on with the last value"


def test_irregular_steps_are_said_and_kept_in_order() -> None:
    random = np.random.default_rng(0)
    times = np.datetime64("2024-01-01T00:00:00") + np.cumsum(random.integers(60, 9000, 500)).astype("timedelta64[s]")
    data = made(
        pl.DataFrame({"time": times[::-1].astype("datetime64[us]"), "load": np.arange(500.0)[::-1]}),
        horizon=2,
        length=4,
    )
    assert "irregular" in {f.check for f in data.findings}
    assert (np.diff(data.columns["load"].flat) > 0).all()


def test_a_series_that_does_not_keep_the_common_step_is_named() -> None:
    regular = [hourly(10).with_columns(name=pl.lit(name)) for name in ("a", "b")]
    minutes = np.cumsum(np.random.default_rng(0).integers(7, 90, 100)).astype("timedelta64[m]")
    times = (np.datetime64("2024-03-01T00:00:00") + minutes).astype("datetime64[us]")
    odd = pl.DataFrame({"time": times, "load": np.arange(100.0), "name": ["odd"] * 100})
    data = made(pl.concat([*regular, odd]), id="name", horizon=2, length=4)
    (finding,) = [f for f in data.findings if f.check == "irregular"]
    assert finding.places == ["odd"] and "1 series of 3" in finding.message
    assert data.columns["load"].flat[-100:].tolist() == list(range(100)), "in order, and nothing filled in"
    assert not [f for f in data.findings if f.check == "gaps"]


def test_working_days_have_no_gaps_and_go_on_after_the_weekend() -> None:
    days = np.arange(np.datetime64("2024-01-01"), np.datetime64("2024-06-01"))
    days = days[np.is_busday(days)]
    frame = pl.DataFrame({"time": [str(d) for d in days], "load": np.arange(float(len(days)))})
    data = made(frame, horizon=3, length=10)
    assert not data.findings
    field = data.fields["history"]
    assert field.plan.weekdays
    _, line = field.window(frame.to_dicts())
    assert [field.plan.written(t) for t in line.times[-3:]] == ["2024-06-03", "2024-06-04", "2024-06-05"]


def test_months_and_years_as_numbers_have_their_season() -> None:
    months = [f"{1990 + m // 12}-{m % 12 + 1:02}-01" for m in range(120)]
    load = [100 + m + 20 * np.sin(m * np.pi / 6) for m in range(120)]
    by_date = made(pl.DataFrame({"time": months, "load": load}))
    by_number = made(pl.DataFrame({"time": [round(1990 + m / 12, 6) for m in range(120)], "load": load}))
    for data in (by_date, by_number):
        assert data.source["season"] == [12] and data.source["horizon"] == 12
    _, line = by_date.fields["history"].window({"time": months, "load": load})
    assert by_date.fields["history"].plan.written(line.times[-1]) == "2000-12-01"


def test_a_random_walk_has_no_season() -> None:
    walk = np.cumsum(np.random.default_rng(0).normal(size=2000))
    data = made(hourly(2000 // DAY + 1).head(2000).with_columns(load=pl.Series(walk)))
    assert data.source["season"] == [] and data.source["horizon"] == 1


@pytest.mark.parametrize(
    ("change", "options", "told"),
    [
        (lambda f: pl.concat([f, f[3:4]]), {}, r"rows 4 and 961: two rows of one series have the same time"),
        (lambda f: f.with_columns(load=pl.when(pl.int_range(pl.len()) == 5).then(np.inf).otherwise(pl.col("load"))),
         {}, r"column 'load', row 6: inf is not a number"),
        (lambda f: f.with_columns(time=pl.when(pl.int_range(pl.len()) == 7).then(pl.lit("soon")).otherwise(
            pl.col("time").cast(pl.String))), {}, r"column 'time', row 8: 'soon' is not a time"),
        (lambda f: f.head(20), {"length": 30, "horizon": 6}, r"no series is as long as one window: 30 steps and 6"),
        (lambda f: f, {"target": "lod"}, r"there is no column 'lod'.*load"),
        (lambda f: f, {"known": ["holidays"]}, r"there is no column 'holidays'"),
        (lambda f: f, {"target": "time"}, r"must be different"),
        (lambda f: f, {"split": "random"}, r"split by time, and not 'random'"),
        (lambda f: f.with_columns(load=pl.lit(None, pl.Float64)), {}, r"no (value|window|series)"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(change: Any, options: dict[str, Any], told: str) -> None:
    with pytest.raises((DataError, UsageError), match=told):
        made(change(hourly()), **options)


def test_what_must_be_known_ahead_is_asked_for() -> None:
    frame = hourly(holiday=np.arange(40 * DAY) % 48 < 24)
    data = made(frame, horizon=6, length=12, known=["holiday"])
    data.fit()
    with pytest.raises(DataError, match=r"holiday must be known for the 6 steps.*add rows for them"):
        data.fields["history"].encode(frame.to_dicts())
    empty = hourly(41, holiday=None).tail(DAY).with_columns(load=pl.lit(None, pl.Float64))
    with pytest.raises(DataError, match=r"holiday must be known for the 6 steps that are forecast; 6 are not"):
        data.fields["history"].encode([*frame.to_dicts(), *empty.to_dicts()])
    more = hourly(41, holiday=np.arange(41 * DAY) % 48 < 24).tail(DAY).with_columns(load=pl.lit(None, pl.Float64))
    assert data.fields["history"].encode(pl.concat([frame, more]).to_dicts()).shape == (
        18,
        data.fields["history"].channels,
    )


def test_what_never_changes_in_a_series_is_known_ahead_and_one_value_is_left_out() -> None:
    shops = [hourly(20, seed=i).with_columns(shop=pl.lit(n), town=pl.lit(t), one=pl.lit(1.0))
             for i, (n, t) in enumerate((("a", "Lyon"), ("b", "Graz"), ("c", "Lyon")))]  # fmt: skip
    frame = pl.concat(shops)
    layout, _ = plan({n: frame[n].to_list() for n in frame.columns}, time="time", target="load", id="shop")
    assert layout.known == ["town"] and layout.past == [] and layout.classes == {"town": ["Graz", "Lyon"]}
    data = made(frame, id="shop", horizon=4, length=8)
    data.fit()
    lines = data.fields["history"].lines(frame.to_dicts())
    assert lines.names == ["a", "b", "c"] and len(data.fields["history"].ends(lines)) == 3


def test_naive_rivals_by_hand() -> None:
    data = made(hourly(20, noise=0.0), horizon=DAY, length=2 * DAY)
    data.fit()
    store = encode(data)
    found = {b.name: b.metrics for b in baselines(data, store, data.rows("train"), data.rows("valid"))}
    assert found["seasonal naive: 24 steps ago"]["mae"] == pytest.approx(0, abs=1e-5)
    flat = data.columns["load"].flat
    errors = [
        np.abs(w[2 * DAY :, 0] - w[2 * DAY - 1, 0]).mean() for w in data.columns["history"].take(data.rows("valid"))
    ]
    assert found["naive: the last value"]["mae"] == pytest.approx(np.mean(errors), rel=1e-4)
    assert "drift" in found and len(flat) == 20 * DAY


def test_series_with_classes_are_read_with_their_given_sides(tmp_path: Path) -> None:
    head = "#a comment\n@problemName two\n@timeStamps false\n@classLabel true up down\n@data\n"
    (tmp_path / "two_TRAIN.ts").write_text(head + "1,2,3:up\n3,2,1:down\n1,?,4:up\n", encoding="utf-8")
    (tmp_path / "two_TEST.ts").write_text(head + "2,1,0:down\n", encoding="utf-8")
    for path in (tmp_path, tmp_path / "two_TRAIN.ts"):
        data = from_ts(path)
        assert [f.check for f in data.findings] == ["read-beside"] * (path != tmp_path)
        assert data.split.tolist() == [0, 0, 0, 2] and data.columns["label"] == ["up", "down", "up", "down"]
    assert np.isnan(data.columns["series"][2][0, 1]) and data.place(3) == "two_TEST.ts, series 1"
    for path, rows in ((tmp_path / "two_TRAIN.ts", 3), (tmp_path / "two_TEST.ts", 1)):
        assert len(from_ts(path, split="none")) == rows, "what is named, and nothing beside it"
    (tmp_path / "two_TEST.ts").write_text(head + "2,one,0:down\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"two_TEST.ts, line 6: the line cannot be read"):
        from_ts(tmp_path)


def calendar(hours: int, **columns: Any) -> pl.DataFrame:
    frame = hourly(hours // DAY + 1).head(hours)
    time = pl.col("time").dt
    return frame.with_columns(
        month=time.month(), hour=time.hour(), weekend=time.weekday() > 5, year=time.year(), row=pl.int_range(pl.len()),
        quarter=time.quarter(), name=time.strftime("%A"), **columns,
    )  # fmt: skip


def test_columns_that_say_only_the_time_or_nothing_are_left_out_and_said() -> None:
    hours = 100 * DAY
    random = np.random.default_rng(0)
    frame = calendar(
        hours, one=pl.lit(1), wind=pl.Series(random.normal(size=hours)),
        holiday=pl.Series(np.repeat(random.random(100) < 0.1, DAY)),
        fee=pl.col("time").dt.month() * 10.5,  # a fee for each month of less than a year may be another next year
    )  # fmt: skip
    data = made(frame, horizon=6, length=12)
    assert data.fields["history"].plan.past == ["wind", "holiday", "fee"]
    said = {f.check: f.message for f in data.findings}
    assert said["constant-column"].endswith("one, year") or said["constant-column"].endswith("year, one")
    for name in ("month", "hour", "weekend", "row", "quarter", "name"):
        assert name in said["calendar-column"]
    asked = made(frame, horizon=6, length=12, inputs=["hour", "wind"], known=["month"])
    assert asked.fields["history"].plan.past == ["hour", "wind"] and asked.fields["history"].plan.known == ["month"]


def test_values_that_were_never_seen_are_taken_for_the_nearest_and_said() -> None:
    price = np.exp(np.arange(40 * DAY) / 300) + np.random.default_rng(0).normal(size=40 * DAY) * 0.01
    data = made(hourly(price=price), horizon=6, length=12)
    (said,) = [f for f in data.findings if f.check == "beyond-training"]
    assert "price (" in said.message
    data.fit()
    encoded = data.fields["history"].encode(data.columns["history"][len(data) - 1])
    train = np.stack([data.fields["history"].encode(data.columns["history"][r]) for r in data.rows("train")])
    assert encoded[:, 1].max() <= train[:, 12:, 1].max() + 1e-6
    assert encoded[:, 0].max() > 0, "the target itself is not held back"
