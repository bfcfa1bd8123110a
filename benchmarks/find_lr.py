"""Whether the learning rate that `find_lr` suggests is near the best one, on five small tasks of five kinds.

    python benchmarks/find_lr.py
    python benchmarks/find_lr.py --only digits,titanic --seeds 3

digits     600 of scikit-learn's digits, lenet
sentences  UCI's 3,000 labelled sentences, the default model
titanic    1,309 passengers, the default model
demand     2,000 half-hours of electricity demand, the default model, a day ahead
spoken     ten spoken digits in 21 languages, log-mel pictures, the default model

Each is trained with 12 rates from 1e-5 to 3, by equal shares, with default settings and each seed; a rate is as good as
the lowest validation loss that it reaches, the mean over the seeds. `ratio` is the suggestion over the best of them, or
under it; `reached` the loss with the suggested rate, `best` that with the best of the grid. Rates whose losses differ
from the best one's by no more than twice the standard error over the seeds are as good; the nearest of them counts.
Ends with status 1 where a ratio is above 3.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import _data  # noqa: F401
from _timing import table, verdict

import flambeau as fb
from flambeau.core.errors import TrainingError

POINTS, LOWEST, HIGHEST = 12, 1e-5, 3.0
MOST_RATIO = 3.0


def digits(folder: Path) -> tuple[fb.Dataset, dict[str, Any]]:
    import sklearn.datasets

    bunch = sklearn.datasets.load_digits()
    return fb.Dataset.from_arrays(bunch.images[:600] / 16, bunch.target[:600]), {"model": "lenet"}


def sentences(folder: Path) -> tuple[fb.Dataset, dict[str, Any]]:
    from realdata.texts import write_sentences

    return fb.Dataset.from_table(write_sentences(folder / "sentences.csv"), inputs=["text"], target="label"), {}


def titanic(folder: Path) -> tuple[fb.Dataset, dict[str, Any]]:
    from realdata.tables import r_frame

    return fb.Dataset.from_frame(r_frame("titanic").drop("rownames"), target="survived"), {}


def demand(folder: Path) -> tuple[fb.Dataset, dict[str, Any]]:
    import polars as pl
    from realdata.tables import write_r_frame

    frame = pl.read_csv(write_r_frame("elecdemand", folder / "demand.csv"))
    return fb.Dataset.from_series(frame.head(2000), time="Time", target="Demand", horizon=48), {}


def spoken(folder: Path) -> tuple[fb.Dataset, dict[str, Any]]:
    from realdata.sounds import write_spoken_digits

    return fb.Dataset.from_folder(write_spoken_digits(folder / "spoken"), pattern="{class}-{language}"), {}


TASKS: dict[str, Callable[[Path], tuple[fb.Dataset, dict[str, Any]]]] = {
    "digits": digits, "sentences": sentences, "titanic": titanic, "demand": demand, "spoken": spoken,
}  # fmt: skip


def reached(data: fb.Dataset, cache: Path, **settings: Any) -> float:
    """The lowest validation loss of a training; infinite where it diverges."""
    learner = fb.Learner(data, run=False, quiet=True, baseline=False, cache=cache, **settings)
    with contextlib.suppress(TrainingError):
        learner.fit(check=False)
    epochs = learner.trainer.history if learner.trainer else []
    losses = [line["valid"]["loss"] for line in epochs if math.isfinite(line.get("valid", {}).get("loss", math.nan))]
    return min(losses, default=math.inf)


def as_good(losses: list[float], best: list[float]) -> bool:
    """Whether losses, by seed, differ from the best ones by no more than twice the standard error of the difference."""
    differences = [a - b for a, b in zip(losses, best, strict=True)]
    return mean(differences) <= (2 * stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else 0.0)


def run(name: str, seeds: int) -> dict[str, Any]:
    grid = [LOWEST * (HIGHEST / LOWEST) ** (i / (POINTS - 1)) for i in range(POINTS)]
    with tempfile.TemporaryDirectory() as folder:
        data, settings = TASKS[name](Path(folder))
        settings["cache"] = Path(folder) / "cache"
        began = time.perf_counter()
        learner = fb.Learner(data, run=False, quiet=True, **settings)
        curve = learner.find_lr()
        seconds = time.perf_counter() - began
        by_seed = {}
        for rate in [*grid, curve.suggestion]:
            by_seed[rate] = [reached(data, learning_rate=rate, seed=seed, **settings) for seed in range(seeds)]
            print(f"{name}: {rate:.2e} reaches {mean(by_seed[rate]):.4f}", file=sys.stderr, flush=True)
    losses = {rate: mean(several) for rate, several in by_seed.items()}
    best = min(grid, key=losses.__getitem__)
    good = [rate for rate in grid if as_good(by_seed[rate], by_seed[best])]
    ratio = min(max(curve.suggestion / rate, rate / curve.suggestion) for rate in good)
    return {"suggested": curve.suggestion, "steepest": curve.steepest, "best": best, "ratio": ratio,
            "reached": losses[curve.suggestion], "lowest": losses[best], "seconds": seconds,
            "grid": [(rate, losses[rate]) for rate in grid], "curve": curve.to_dict()}  # fmt: skip


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--only", default=",".join(TASKS), help="tasks with commas between")
    arguments.add_argument("--seeds", type=int, default=2, help="trainings with each rate")
    arguments.add_argument("--json", action="store_true", help="a line of JSON in place of the table")
    options = arguments.parse_args()
    figures = {name: run(name, options.seeds) for name in options.only.split(",")}
    if options.json:
        print(json.dumps(figures))
    else:
        rows = [["", "suggested", "best of the grid", "ratio", "reached", "best", "s"]]
        rows += [[name, f"{f['suggested']:.2g}", f"{f['best']:.2g}", f"{f['ratio']:.2f}", f"{f['reached']:.4f}",
                  f"{f['lowest']:.4f}", f"{f['seconds']:.1f}"] for name, f in figures.items()]  # fmt: skip
        print(table(rows))
        for name, f in figures.items():
            print(verdict(f["ratio"] <= MOST_RATIO, f"{name}: the suggestion within {MOST_RATIO:g}× of the best"))
    return 0 if all(f["ratio"] <= MOST_RATIO for f in figures.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
