"""MASE of each series is by its own naive error, and none counts for more than another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import flambeau as fb
from flambeau.evaluation import evaluate_run


def test_each_series_has_its_own_mase_and_the_mean_is_of_series(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    days = pl.date_range(pl.date(2022, 1, 1), pl.date(2024, 6, 30), eager=True)
    n = len(days)
    courses = {
        "small": random.normal(size=n),
        "large": 500 * random.normal(size=n),
        "walk": random.normal(size=n).cumsum(),
    }
    frames = [pl.DataFrame({"day": days, "shop": name, "sold": values}) for name, values in courses.items()]
    pl.concat(frames).write_csv(tmp_path / "sales.csv")
    data = fb.Dataset.from_series(tmp_path / "sales.csv", time="day", target="sold", id="shop", horizon=2, length=8,
                                  season=1)  # fmt: skip
    run = tmp_path / "run"
    fb.Learner(data, "dlinear", run=run, quiet=True, epochs=1, cache=tmp_path / "cache").fit(check=False)
    result = evaluate_run(run)
    found = result["detail"]["series"]
    assert found["count"] == 3 and found["own"]
    of = {one["series"]: one for one in found["listed"]}
    assert found["mean_mase"] == pytest.approx(np.mean([one["mase"] for one in of.values()]))
    steps = sum(one["steps"] for one in of.values())
    assert result["metrics"]["mae"] == pytest.approx(sum(o["mae"] * o["steps"] for o in of.values()) / steps)
    target, train = data.columns["sold"], data.rows("train")
    known = np.where(target.take(train).covered(), target.flat, np.nan)
    for code, name in enumerate(target.names):
        own = known[target.segments == code]
        naive = np.nanmean(np.abs(np.diff(own)))
        assert of[name]["mase"] == pytest.approx(of[name]["mae"] / naive, rel=1e-6)
    (by,) = result["detail"]["slices"]["by"]
    assert by["name"] == "series" and {one["value"] for one in by["parts"]} == {*courses}
    assert [one["value"] for one in result["detail"]["slices"]["worst"]] == ["large"]
