"""The defaults, with no flags, beside the simple models of the catalogue on the same rows: who wins, and by how much.

    python benchmarks/defaults.py --quick
    python benchmarks/defaults.py --only wine,titanic,bbc

Each set is split as `fb.Dataset` splits it or as its makers did, and nothing is set. The rivals are models too
(`--model NAME`), fitted at once; the one that stands beside the default is that which its validation rows prefer, so
that no test row chooses. What is told are the test rows' figures (the validation rows' where a set has no test rows),
and the default's less the rival's with its 95 % interval, above 0 where the default is better: paired, as `flambeau
compare` has it. A tie is a difference whose interval holds 0.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _data  # noqa: F401
from _timing import table, verdict

TABLES, TEXTS, SOUNDS, PICTURES = (
    ["boosted-trees", "ridge", "nearest"],
    ["tfidf-linear"],
    ["mel-linear"],
    ["hog-linear"],
)
SERIES, FORECASTS = ["rocket", "nearest"], ["ridge-lags", "seasonal-naive"]
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
        from realdata.tables import write_r_frame

        import flambeau as fb

        return fb.Dataset.from_table(
            write_r_frame(name, folder / f"{name}.csv"), target=target, split=fb.Split(kind, **SPLIT)
        )

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


SETS: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "wine": (of_sklearn("wine"), TABLES),
    "cancer": (of_sklearn("breast_cancer"), TABLES),
    "diabetes": (of_sklearn("diabetes"), TABLES),
    "boston": (of_r("boston", "medv", "random"), TABLES),
    "titanic": (of_r("titanic", "survived", "stratified"), TABLES),
    "sentences": (sentences, TEXTS),
    "bbc": (bbc, TEXTS),
    "spoken": (spoken, SOUNDS),
    "samples": (samples, SOUNDS),
    "digits": (digits, PICTURES),
    "mnist5k": (mnist5k, PICTURES),
    "gunpoint": (outlines("GunPoint"), SERIES),
    "italypower": (outlines("ItalyPowerDemand"), SERIES),
    "arrowhead": (outlines("ArrowHead"), SERIES),
    "passengers": (passengers, FORECASTS),
}
QUICK = ("wine", "diabetes", "titanic", "sentences", "digits", "passengers")


def run(name: str) -> dict[str, Any]:
    import flambeau as fb

    load, rivals = SETS[name]
    with tempfile.TemporaryDirectory(prefix="flambeau-defaults-") as at:
        folder, preferred = Path(at), dict[str, float]()
        data = load(folder)
        spent, better = {}, 1
        for model in (None, *rivals):
            began = time.perf_counter()
            learner = fb.Learner(data, model=model, run=folder / (model or "default"), quiet=True, baseline=False,
                                 cache=folder / "cache")  # fmt: skip
            learner.fit(check=False)
            spent[model or "default"] = time.perf_counter() - began
            better = 1 if learner.objective.higher_is_better else -1
            if model is not None:
                preferred[model] = better * learner.evaluate("valid")["metrics"][learner.objective.monitor]
        rival = max(preferred, key=lambda model: preferred[model])
        facts = fb.compare([folder / "default", folder / rival], data).facts
        mine, theirs = facts["entries"]
        if mine["name"] != "default":
            mine, theirs = theirs, mine
        (difference,) = facts["differences"]
        sign = 1 if difference["first"] == "default" else -1
        low, high = sorted((sign * difference["low"], sign * difference["high"]))
        metric = facts["metric"]
        return {
            "metric": metric, "rows": facts["samples"], "split": facts["split"], "default": mine["metrics"][metric],
            "rival": rival, "of_rival": theirs["metrics"][metric], "difference": sign * difference["value"],
            "low": low, "high": high, "seconds": [round(spent["default"], 1), round(spent[rival], 1)],
            "wins": "default" if low > 0 else "rival" if high < 0 else "tie",
        }  # fmt: skip


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--only", default="", help="sets with commas between: " + ", ".join(SETS))
    arguments.add_argument("--quick", action="store_true", help=f"small ones: {', '.join(QUICK)}")
    arguments.add_argument("--json", action="store_true", help="a line of JSON in place of the table")
    options = arguments.parse_args()
    names = options.only.split(",") if options.only else [*(QUICK if options.quick else SETS)]
    found = {}
    for name in names:
        found[name] = one = run(name)
        print(f"{name}: default {one['default']:.4f}, {one['rival']} {one['of_rival']:.4f} ({one['metric']}): "
              f"{one['wins']}", file=sys.stderr, flush=True)  # fmt: skip
    if options.json:
        print(json.dumps(found))
    else:
        rows = [["", "metric", "rows", "default", "rival", "", "default is better by", "wins", "s"]]
        rows += [
            [name, f["metric"], f"{f['rows']:,} {f['split']}", f"{f['default']:.4f}", f["rival"],
             f"{f['of_rival']:.4f}", f"{f['difference']:+.4f} ({f['low']:+.4f} to {f['high']:+.4f})", f["wins"],
             f"{f['seconds'][0]:.0f} / {f['seconds'][1]:.0f}"]
            for name, f in found.items()
        ]  # fmt: skip
        print(table(rows))
    lost = [name for name, one in found.items() if one["wins"] == "rival"]
    print(verdict(not lost, f"never below its rival by more than the interval{': ' + ', '.join(lost) if lost else ''}"))
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
