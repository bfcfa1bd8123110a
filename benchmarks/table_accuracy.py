"""How good the default network for tables is, beside scikit-learn's gradient-boosted trees on the same rows.

    python benchmarks/table_accuracy.py
    python benchmarks/table_accuracy.py --only boston,titanic

Both get the same training rows and the same held-out fold, which neither sees before the end: no epoch is chosen by it.
`diamonds` is 53,940 stones to the logarithm of their price, a fifth held out; `boston` is 506 districts to the price of
a house and `titanic` 1,309 passengers to who survived, each in five folds. Ours is what `fb.Learner(data)` does when
nothing is set; theirs is HistGradientBoosting with its defaults and its own handling of categories.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from statistics import mean
from typing import Any

import _data  # noqa: F401
from _timing import table, verdict

FOLDS = 5


def diamonds() -> Any:
    import numpy as np
    from realdata.tables import r_frame

    frame = r_frame("diamonds").drop("rownames").to_pandas()
    frame["log_price"] = np.log(frame.pop("price").to_numpy(float))
    return frame


def boston() -> Any:
    from realdata.tables import r_frame

    return r_frame("boston").drop("rownames").to_pandas()


def titanic() -> Any:
    from realdata.tables import r_frame

    return r_frame("titanic").drop("rownames").to_pandas()


# the frame, its target, how many folds are tried, whether more is better
SETS = {
    "diamonds": (diamonds, "log_price", 1, False),
    "boston": (boston, "medv", FOLDS, False),
    "titanic": (titanic, "survived", FOLDS, True),
}


def folds(y: Any, classes: bool) -> list[Any]:
    """The rows held out of each fold."""
    from sklearn.model_selection import KFold, StratifiedKFold

    split = (StratifiedKFold if classes else KFold)(FOLDS, shuffle=True, random_state=0)
    return [held_out for _, held_out in split.split(y, y)]


def ours(frame: Any, target: str, held_out: Any, settings: dict[str, Any]) -> float:
    import polars as pl

    import flambeau as fb

    sides = ["train"] * len(frame)
    for row in held_out:
        sides[row] = "test"
    kind = fb.fields.Number() if frame[target].dtype.kind == "f" else fb.fields.Category()
    data = fb.Dataset.from_frame(pl.from_pandas(frame), target=target, split=sides, fields={target: kind})
    metrics = fb.Learner(data, run=False, quiet=True, **settings).fit(check=False)
    return metrics.get("accuracy", metrics.get("rmse", 0.0))


def theirs(frame: Any, target: str, held_out: Any) -> float:
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    X, y = frame.drop(columns=target), frame[target].to_numpy()
    for name in X.columns:
        if X[name].dtype == object or str(X[name].dtype) in ("str", "string"):
            X[name] = X[name].astype("category")
    train = np.setdiff1d(np.arange(len(frame)), held_out)
    classes = frame[target].dtype.kind != "f"
    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    trees = kind(categorical_features="from_dtype", random_state=0).fit(X.iloc[train], y[train])
    guess = trees.predict(X.iloc[held_out])
    if classes:
        return float((guess == y[held_out]).mean())
    return float(np.sqrt(np.mean((guess - y[held_out]) ** 2)))


def run(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    load, target, tries, more = SETS[name]
    frame = load()
    mine, trees, seconds = [], [], []
    for held_out in folds(frame[target].to_numpy(), more)[:tries]:
        trees.append(theirs(frame, target, held_out))
        began = time.perf_counter()
        mine.append(ours(frame, target, held_out, settings))
        seconds.append(time.perf_counter() - began)
        print(f"{name}: ours {mine[-1]:.4f}, trees {trees[-1]:.4f}, {seconds[-1]:.0f} s", file=sys.stderr, flush=True)
    return {"ours": mean(mine), "trees": mean(trees), "seconds": mean(seconds), "folds": [mine, trees]}


def holds(name: str, found: dict[str, Any]) -> tuple[bool, str]:
    if name == "diamonds":
        return found["ours"] <= 1.03 * found["trees"], "RMSE at most 3 % above the trees'"
    if name == "boston":
        return found["ours"] <= 3.3, "RMSE at most 3.3"
    return found["ours"] >= found["trees"] - 0.01, "accuracy at most 1 point below the trees'"


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--only", default=",".join(SETS), help="sets with commas between")
    arguments.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, to try it")
    arguments.add_argument("--json", action="store_true", help="a line of JSON in place of the table")
    options = arguments.parse_args()
    from flambeau.core.settings import parse_setting

    settings = dict(parse_setting(s) for s in options.set)
    found = {name: run(name, settings) for name in options.only.split(",")}
    if options.json:
        print(json.dumps(found))
    else:
        rows = [["", "ours", "trees", "s a training"]]
        rows += [[n, f"{f['ours']:.4f}", f"{f['trees']:.4f}", f"{f['seconds']:.0f}"] for n, f in found.items()]
        print(table(rows))
        for name, figures in found.items():
            print(verdict(*holds(name, figures)))
    return 0 if all(holds(n, f)[0] for n, f in found.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
