"""The defaults, with no flags, beside the simple models of the catalogue on the same rows: who wins, and by how much.
A tournament (`auto`: what `flambeau train` does) and the network alone that takes part in it.

    python benchmarks/defaults.py --quick
    python benchmarks/defaults.py --only wine,titanic,bbc
    python benchmarks/defaults.py --autogluon      the tables, beside AutoGluon

Each set is split as `fb.Dataset` splits it or as its makers did, and nothing is set. The rivals are the simple models
that take part, alone (`--model NAME`); the one that is told is that which its validation rows prefer, so that no test
row chooses. What is told are the test rows' figures (the validation rows' where a set has no test rows), and ours less
the rival's with its 95 % interval, above 0 where ours is better: paired, as `flambeau compare` has it. A tie is a
difference whose interval holds 0.

`--autogluon` fits AutoGluon (medium_quality, with LightGBM, CatBoost and XGBoost) on the rows that train and validate,
in an environment of its own that is made beside the cache, in the time that ours took, half a minute at least.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _data
from _timing import table, verdict

SPLIT = {"valid": 0.2, "test": 0.25}


def of_sklearn(name: str) -> Callable[[Path], Any]:
    def load(folder: Path) -> Any:
        import sklearn.datasets

        import flambeau as fb

        frame = getattr(sklearn.datasets, f"load_{name}")(as_frame=True).frame
        columns = {column: frame[column].tolist() for column in frame.columns}
        kind = "random" if name == "diabetes" else "stratified"
        if kind == "stratified":
            columns["target"] = [f"class {value}" for value in columns["target"]]
        return fb.Dataset(columns, target="target", split=fb.Split(kind, **SPLIT))

    return load


def of_r(name: str, target: str, kind: str) -> Callable[[Path], Any]:
    def load(folder: Path) -> Any:
        from realdata.tables import r_frame

        import flambeau as fb

        frame = r_frame(name).drop("rownames")
        frame.write_csv(folder / f"{name}.csv")
        return fb.Dataset.from_table(folder / f"{name}.csv", target=target, split=fb.Split(kind, **SPLIT))

    return load


def digits(folder: Path) -> Any:
    from sklearn.datasets import load_digits

    import flambeau as fb

    found = load_digits()
    return fb.Dataset.from_arrays(found.images / 16, found.target, split=fb.Split("stratified", **SPLIT))


def mnist5k(folder: Path) -> Any:
    from realdata.pictures import mnist5k as arrays

    import flambeau as fb

    x, y = arrays()
    return fb.Dataset.from_arrays(x, y, split=fb.Split("stratified", **SPLIT))


def sentences(folder: Path) -> Any:
    from realdata.texts import write_sentences

    import flambeau as fb

    path = write_sentences(folder / "sentences.csv")
    return fb.Dataset.from_table(path, inputs=["text"], split=fb.Split("stratified", **SPLIT))


def reviews(folder: Path) -> Any:
    from realdata.texts import chinese_reviews

    import flambeau as fb

    found = chinese_reviews()
    every = max(1, len(found.texts) // 3000)
    columns = {"text": [*found.texts[::every]], "label": [f"class {label}" for label in found.labels[::every]]}
    return fb.Dataset(columns, target="label", split=fb.Split("stratified", **SPLIT))


def fashion(folder: Path) -> Any:
    import flambeau as fb

    return fb.Dataset.from_folder(_data.cached_fashion_mnist(3000, 2000))


def diamonds(folder: Path) -> Any:
    from realdata.tables import r_frame

    import flambeau as fb

    r_frame("diamonds").drop("rownames", strict=False).gather_every(11).write_csv(folder / "diamonds.csv")
    return fb.Dataset.from_table(folder / "diamonds.csv", target="price", split=fb.Split("random", **SPLIT))


def bbc(folder: Path) -> Any:
    from realdata.texts import bbc_news

    import flambeau as fb

    return fb.Dataset.from_folder(bbc_news(), split=fb.Split("stratified", **SPLIT))


def spoken(folder: Path) -> Any:
    from realdata.sounds import write_spoken_digits

    import flambeau as fb

    where = write_spoken_digits(folder / "spoken")
    return fb.Dataset.from_folder(where, pattern="{class}-{language}", split=fb.Split("stratified", **SPLIT))


def samples(folder: Path) -> Any:
    from realdata.sounds import write_sonic_pi

    import flambeau as fb

    return fb.Dataset.from_folder(write_sonic_pi(folder / "samples"), split=fb.Split("stratified", **SPLIT))


def outlines(name: str) -> Callable[[Path], Any]:
    def load(folder: Path) -> Any:
        from realdata import extract

        from flambeau.data.sources.opening import from_path

        extract("aeon", [f"aeon/datasets/data/{name}/{name}_*.ts"], folder / name)
        return from_path(next((folder / name).rglob(f"{name}_TRAIN.ts")))

    return load


def passengers(folder: Path) -> Any:
    from realdata.tables import r_frame

    import flambeau as fb

    frame = r_frame("airpassengers")
    return fb.Dataset.from_series(frame, time=frame.columns[-2], target=frame.columns[-1], length=24, horizon=6)


SETS: dict[str, Callable[[Path], Any]] = {
    "wine": of_sklearn("wine"),
    "cancer": of_sklearn("breast_cancer"),
    "diabetes": of_sklearn("diabetes"),
    "boston": of_r("boston", "medv", "random"),
    "titanic": of_r("titanic", "survived", "stratified"),
    "diamonds": diamonds,
    "sentences": sentences,
    "bbc": bbc,
    "reviews": reviews,
    "spoken": spoken,
    "samples": samples,
    "digits": digits,
    "mnist5k": mnist5k,
    "fashion": fashion,
    "gunpoint": outlines("GunPoint"),
    "italypower": outlines("ItalyPowerDemand"),
    "arrowhead": outlines("ArrowHead"),
    "passengers": passengers,
}
TABLES = ("wine", "cancer", "diabetes", "boston", "titanic", "diamonds")
AUTOGLUON = "autogluon.tabular[lightgbm,catboost,xgboost]==1.4.0"
LEAST_SECONDS = 30.0
QUICK = ("wine", "diabetes", "titanic", "sentences", "digits", "passengers")


def run(name: str, peer: bool) -> dict[str, Any]:
    import flambeau as fb
    from flambeau.objectives.names import higher_is_better

    with tempfile.TemporaryDirectory(prefix="flambeau-defaults-") as at:
        folder = Path(at)
        data = SETS[name](folder)
        began = time.perf_counter()
        learner = fb.Learner(data, run=folder / "auto", quiet=True, cache=folder / "cache")
        auto = fb.tournament(learner, check=False)
        spent = time.perf_counter() - began
        held = auto.evaluation["tournament"]
        metric, sign = held["metric"], 1 if higher_is_better(held["metric"]) else -1
        *simple, network = [one for one in held["candidates"] if "value" in one]
        rival = max(simple, key=lambda one: sign * one["value"])
        found: dict[str, Any] = {"metric": metric, "winner": held["winner"], "seconds": spent,
                                 "rival": rival["name"], "network": network["name"],
                                 "of_network": network["seconds"]}  # fmt: skip
        for ours, place in (("auto", auto.path), ("network", auto.path / "candidates" / network["folder"])):
            facts = fb.compare([place, auto.path / "candidates" / rival["folder"]], data, metric=metric).facts
            mine, theirs = facts["entries"]
            (difference,) = facts["differences"]
            turned = 1 if difference["first"] == mine["name"] else -1
            ends = [math.nan if difference[end] is None else turned * difference[end] for end in ("low", "high")]
            low, high = sorted(ends)
            found |= {"rows": facts["samples"], "split": facts["split"], "theirs": theirs["metrics"][metric]}
            found[ours + "_beside"] = {
                "figure": mine["metrics"][metric], "difference": turned * difference["value"], "low": low, "high": high,
                "wins": ours if low > 0 else "rival" if high < 0 else "tie",
            }  # fmt: skip
        if peer:
            found["autogluon"] = beside_autogluon(data, metric, spent, folder)
        return found


def autogluon() -> Path:
    """The Python of an environment with AutoGluon."""
    folder: Path = _data.cache() / "autogluon"
    python = folder / "bin" / "python"
    if not (folder / "installed").exists():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "-q", AUTOGLUON, "typing-extensions"], check=True)
        (folder / "installed").touch()
    return python


def beside_autogluon(data: Any, metric: str, seconds: float, folder: Path) -> dict[str, Any]:
    """{figure, best}: AutoGluon's on the test rows."""
    import numpy as np
    import polars as pl

    columns = {name: data.columns[name] for name in (*data.inputs, data.target)}
    frame = pl.DataFrame({name: pl.Series(name, list(values), strict=False) for name, values in columns.items()})
    held_out = np.zeros(len(data), bool)
    held_out[data.rows(data.evaluation_split)] = True
    for name, rows in (("train", ~held_out), ("test", held_out)):
        frame.filter(pl.Series(rows)).write_csv(folder / f"{name}.csv")
    command = [autogluon(), Path(__file__).with_name("_autogluon_peer.py"), folder / "train.csv", folder / "test.csv",
               data.target, metric, str(max(seconds, LEAST_SECONDS))]  # fmt: skip
    done = subprocess.run([*map(str, command)], check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    answers, truth = found["answers"], found["truth"]
    right = np.mean([str(a) == str(t) for a, t in zip(answers, truth, strict=True)])
    error = None if metric == "accuracy" else float(np.sqrt(np.mean((np.array(answers) - np.array(truth)) ** 2)))
    return {"figure": float(right) if error is None else error, "best": found["best"]}


def told(one: dict[str, Any]) -> str:
    return f"{one['difference']:+.4f} ({one['low']:+.4f} to {one['high']:+.4f})"


def ranked(metric: str, ours: float, theirs: float) -> float:
    """Our rank of two: 1, 2, or 1.5 where both are alike."""
    from flambeau.objectives.names import higher_is_better

    if math.isclose(ours, theirs, rel_tol=1e-6):
        return 1.5
    return 1.0 if (ours > theirs) == higher_is_better(metric) else 2.0


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--only", default="", help="sets with commas between: " + ", ".join(SETS))
    arguments.add_argument("--quick", action="store_true", help=f"small ones: {', '.join(QUICK)}")
    arguments.add_argument("--autogluon", action="store_true", help="the tables, with AutoGluon beside them")
    arguments.add_argument("--json", action="store_true", help="a line of JSON in place of the table")
    options = arguments.parse_args()
    sets = TABLES if options.autogluon else QUICK if options.quick else SETS
    names = options.only.split(",") if options.only else [*sets]
    found = {}
    for name in names:
        found[name] = one = run(name, options.autogluon)
        auto, network = one["auto_beside"], one["network_beside"]
        print(f"{name}: auto ({one['winner']}) {auto['figure']:.4f}, {one['network']} {network['figure']:.4f}, "
              f"{one['rival']} {one['theirs']:.4f} ({one['metric']}): {auto['wins']}; {network['wins']}",
              file=sys.stderr, flush=True)  # fmt: skip
        if peer := one.get("autogluon"):
            print(f"{name}: autogluon ({peer['best']}) {peer['figure']:.4f}", file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps(found))
    else:
        rows = [["", "metric", "rows", "auto", "is", "rival", "", "auto is better by", "wins", "network", "", "by",
                 "wins", "s"]]  # fmt: skip
        for name, f in found.items():
            auto, network = f["auto_beside"], f["network_beside"]
            rows.append([
                name, f["metric"], f"{f['rows']:,} {f['split']}", f"{auto['figure']:.4f}", f["winner"], f["rival"],
                f"{f['theirs']:.4f}", told(auto), auto["wins"], f["network"], f"{network['figure']:.4f}",
                told(network), network["wins"], f"{f['seconds']:.0f}",
            ])  # fmt: skip
        print(table(rows))
    if options.autogluon:
        ranks = {name: ranked(one["metric"], one["auto_beside"]["figure"], one["autogluon"]["figure"])
                 for name, one in found.items()}  # fmt: skip
        mean = sum(ranks.values()) / len(ranks)
        print(verdict(mean <= 1.5, f"mean rank not above AutoGluon's: {mean:.2f} against {3 - mean:.2f}"))
    lost = [name for name, one in found.items() if one["auto_beside"]["wins"] == "rival"]
    print(verdict(not lost, f"never below its rival by more than the interval{': ' + ', '.join(lost) if lost else ''}"))
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
