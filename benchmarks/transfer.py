"""Ways to use a network that has seen ImageNet: seconds an epoch and accuracy on pictures that were held out.

    python benchmarks/transfer.py
    python benchmarks/transfer.py --folds 1 --only "probe;probe anew"

EfficientNet-Lite0 on Tux Paint's stamps, 703 pictures in eight classes, 224 px a side, in three folds. What is not in
the table of `WAYS` is as a training decides it where nothing is set. An epoch is the training's alone; the first one
computes what is computed once, and is not in the median.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, median
from typing import Any

from _data import cache
from _timing import table, verdict
from realdata.pictures import efficientnet_lite0, write_stamps
from sklearn.model_selection import StratifiedKFold

import flambeau as fb
from flambeau.techniques import Technique

FASTER = 5.0
PROBE: dict[str, Any] = {"techniques": ["freeze"], "augment": "none"}
UNFREEZING = ["gradual_unfreezing", "discriminative_rates"]
TTA, WITH_TTA = 8, ("fine-tuning", "unfreezing")
WAYS: dict[str, dict[str, Any]] = {
    "probe": PROBE,
    "probe anew": {**PROBE, "frozen_views": 0},
    "probe, 4 views": {**PROBE, "augment": "auto"},
    "fine-tuning": {},
    "unfreezing": {"techniques": UNFREEZING},
}
SAID = {
    "probe": "frozen but for its head, computed once",
    "probe anew": "frozen but for its head, computed in each epoch",
    "probe, 4 views": "the same, four augmented views computed once",
    "fine-tuning": "all layers from the first step",
    "unfreezing": "gradual unfreezing, a rate for each layer group",
}


class Clock(Technique):
    """When each epoch has ended."""

    name = "clock"

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_fit_start(self, objective: Any) -> None:
        self.ends.append(time.perf_counter())

    def on_epoch_end(self, epoch: int, metrics: dict[str, float]) -> None:
        self.ends.append(time.perf_counter())


def run(way: str, held_out: Any, folder: Path, epochs: int | None) -> dict[str, Any]:
    """{accuracy, tta, first, epoch}: accuracy, and that with test-time augmentation; seconds of the first epoch, and of
    each later one."""
    settings = dict(WAYS[way])
    clock = Clock()
    data = fb.Dataset.from_folder(cache() / "stamps", split="none")
    data.split[held_out] = 2
    learner = fb.Learner(
        data, model="timm:tf_efficientnet_lite0", pretrained=str(efficientnet_lite0()), run=False, quiet=True,
        techniques=[*settings.pop("techniques", []), clock], cache=folder / "store", baseline=False,
        **({} if epochs is None else {"epochs": epochs}), **settings,
    )  # fmt: skip
    metrics = learner.fit(check=False)
    seconds = [end - start for start, end in zip(clock.ends, clock.ends[1:], strict=False)]
    tta = learner.evaluate(tta=TTA)["tta"]["metrics"]["accuracy"] if way in WITH_TTA else None
    return {"accuracy": metrics["accuracy"], "tta": tta, "first": seconds[0], "epoch": seconds[1:]}


def interval(values: list[float]) -> str:
    """The mean, and the ends of its 95 % interval where there are several values."""
    if len(values) < 2:
        return "".join(f"{value:.3f}" for value in values)
    from scipy.stats import t

    spread = (sum((v - mean(values)) ** 2 for v in values) / (len(values) - 1) / len(values)) ** 0.5
    half = float(t.ppf(0.975, len(values) - 1)) * spread
    return f"{mean(values):.3f} ± {half:.3f}"


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--folds", type=int, default=3, help="of three, how many are tried")
    arguments.add_argument("--only", default=None, help="ways, with semicolons between")
    arguments.add_argument("--epochs", type=int, default=None, help="in place of what a training decides")
    arguments.add_argument("--json", action="store_true", help="a line of JSON in place of the table")
    options = arguments.parse_args()
    ways = options.only.split(";") if options.only else [*WAYS]
    write_stamps(cache() / "stamps")
    data = fb.Dataset.from_folder(cache() / "stamps", split="none")
    labels = [str(label) for label in data.columns[data.target or ""]]
    folds = [test for _, test in StratifiedKFold(3, shuffle=True, random_state=0).split(labels, labels)]
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as temporary:
        for held_out in folds[: options.folds]:
            for way in ways:
                found[way].append(run(way, held_out, Path(temporary), options.epochs))
                got = found[way][-1]
                print(
                    f"{way}: {got['accuracy']:.3f}, {median(got['epoch']):.2f} s an epoch", file=sys.stderr, flush=True
                )
    epoch = {way: median(s for result in results for s in result["epoch"]) for way, results in found.items()}
    if options.json:
        print(json.dumps(found))
    else:
        rows = [
            [SAID[way], f"{median(r['first'] for r in results):.1f}", f"{epoch[way]:.2f}",
             interval([r["accuracy"] for r in results]),
             interval([r["tta"] for r in results if r["tta"] is not None])]
            for way, results in found.items()
        ]  # fmt: skip
        print(table([["", "first epoch, s", "a later one, s", "accuracy", f"with {TTA} views"], *rows]))
    if not {"probe", "probe anew"} <= epoch.keys():
        return 0
    ratio = epoch["probe anew"] / epoch["probe"]
    holds = ratio >= FASTER
    print(
        verdict(
            holds, f"an epoch of what is computed once takes {ratio:.0f}× less time; at least {FASTER:.0f}× promised"
        )
    )
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
