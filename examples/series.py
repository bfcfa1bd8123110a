"""Forecasts: the electricity that Victoria needs in each half hour of the next day, beside naive forecasts.

    python examples/series.py

The series (17,520 half-hours of 2014) is downloaded once. Half a minute on a processor.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
from realdata.tables import write_r_frame

import flambeau as fb

folder = Path("runs/examples")
folder.mkdir(parents=True, exist_ok=True)
table = write_r_frame("elecdemand", folder / "elecdemand.csv")
data = fb.Dataset.from_series(table, time="Time", target="Demand", horizon=48, known=["WorkDay"])
print(data.describe())

learner = fb.Learner(data, epochs=4, run=fb.Run.free("elecdemand", folder).path)
metrics = learner.fit()
assert learner.run is not None
rivals = {rival["name"]: rival["metrics"]["mase"] for rival in learner.run.evaluation["baselines"]}
print(metrics, rivals)
assert metrics["mase"] < min(rivals.values()), "the network must be worth its while"

# what follows the table's last half hour; whether these are work days must be known
frame = pl.read_csv(table)
ahead = pl.DataFrame(
    {"Time": [f"2015-01-01 {h:02}:{m:02}:00" for h in range(24) for m in (0, 30)], "WorkDay": [0] * 48}
)
forecast = fb.load(learner.run.path).predict(pl.concat([frame, ahead], how="diagonal"))
print(forecast.times[0], forecast.label[:4], forecast.quantiles["0.9"][:4])
assert len(forecast.label) == 48 and forecast.times[0].startswith("2015-01-01")
