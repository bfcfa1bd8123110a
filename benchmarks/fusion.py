"""Several inputs together against each alone: a picture, its description and a number to one of eight categories.

    python benchmarks/fusion.py
    python benchmarks/fusion.py --folds 1

The data is Tux Paint's stamps with their English descriptions and the share of the picture that is not transparent.
Pictures are 32 px a side; the rest is what `fb.Learner(data)` does when nothing is set, on the same folds, from fresh
weights.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

from _data import cache
from _timing import table, verdict

INPUTS = {"all three": ["picture", "text", "ink"], "picture": ["picture"], "text": ["text"], "ink": ["ink"]}


def run(inputs: list[str], held_out: Any, settings: dict[str, Any], folder: Path) -> tuple[float, dict[str, Any]]:
    import flambeau as fb

    fields = {"picture": fb.fields.Image(size=32)} if "picture" in inputs else None
    file = cache() / "stamps-table" / "stamps.csv"
    data = fb.Dataset.from_table(file, target="label", inputs=inputs, split="none", fields=fields)
    data.split[held_out] = 2
    learner = fb.Learner(data, run=folder, quiet=True, baseline=False, **settings)
    metrics = learner.fit(check=False)
    return metrics["accuracy"], learner.run.evaluation.get("shuffled", {})


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--folds", type=int, default=3, help="of three, how many are tried")
    arguments.add_argument("--only", default=",".join(INPUTS), help="with commas between")
    arguments.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, to try it")
    arguments.add_argument("--json", action="store_true", help="a line of JSON in place of the table")
    options = arguments.parse_args()
    import polars as pl
    from realdata.tables import write_stamps_table
    from sklearn.model_selection import StratifiedKFold

    from flambeau.core.settings import parse_setting

    if not (cache() / "stamps-table" / "stamps.csv").exists():
        write_stamps_table(cache() / "stamps-table")
    labels = pl.read_csv(cache() / "stamps-table" / "stamps.csv")["label"].to_list()
    folds = [test for _, test in StratifiedKFold(3, shuffle=True, random_state=0).split(labels, labels)]
    settings = dict(parse_setting(s) for s in options.set)
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for fold, held_out in enumerate(folds[: options.folds]):
            for name in options.only.split(","):
                began = time.perf_counter()
                accuracy, shuffled = run(INPUTS[name], held_out, settings, Path(temporary) / f"{name}-{fold}")
                found.setdefault(name, []).append(accuracy)
                print(f"{name}: {accuracy:.3f} in {time.perf_counter() - began:.0f} s; shuffled "
                      f"{shuffled.get('without', {})}", file=sys.stderr, flush=True)  # fmt: skip
    means = {name: mean(values) for name, values in found.items()}
    if options.json:
        print(json.dumps(found))
    else:
        print(table([["", "accuracy"], *([name, f"{value:.3f}"] for name, value in means.items())]))
    holds = means.get("all three", 0) > max((v for n, v in means.items() if n != "all three"), default=0)
    print(verdict(holds, "all three together above each alone"))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
