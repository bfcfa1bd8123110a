"""What each technique brings and what it costs: trainings with it and without it, with the same seeds.

    python benchmarks/techniques.py
    python benchmarks/techniques.py --quick --seeds 1 --only mixup,ema

fashion    Fashion-MNIST, 6,000 rows to train on and 10,000 to test, from scratch
stamps     703 pictures in eight classes, EfficientNet-Lite0 with ImageNet's weights, a fifth of them held out
sentences  3,000 sentences of reviews, from scratch, a fifth of them held out

The last epoch counts, so nothing is chosen on any row; of `snapshots` the ensemble of them does, with the schedule that
it is for. The difference of test accuracy is in points, its mean over the
seeds with the 95 % interval of Student's t; a seed also draws what is held out, so the two of a seed are compared with
each other. The cost is the ratio of processor time of the two trainings, its median over the seeds. What is refused
for a kind of data is told with its line, once. Ends with status 1 where one that is on by default loses beyond its
interval.

`--quick` trains for few epochs, on 1,000 rows and on stamps of 64 px: to see that all of it runs, and no more.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from typing import Any

import _data
import numpy as np
from _timing import half_interval, table, verdict

import flambeau as fb
from flambeau.core.errors import UsageError
from flambeau.data.split import Split
from flambeau.ensembles import ensemble, snapshots_of
from flambeau.recipe import Recipe
from flambeau.techniques import TECHNIQUES, keyed, name_of

OPTIONS = {"early_stopping": ["early_stopping patience=2"], "snapshots": ["snapshots"]}
"""Where the defaults of a technique would do nothing here, or more than one setting is worth a row."""
BESIDE: dict[str, dict[str, Any]] = {"snapshots": {"schedule": "cosine_restarts"}, "nt_asgd": {"schedule": "constant"}}
"""What a technique is for; without it trainings are as a training decides."""


@dataclass(frozen=True)
class Task:
    """What is trained on.

    Attributes:
        data: of a seed; smaller where it is to be quick.
        settings, quick: of the Learner.
    """

    data: Callable[[int, bool], fb.Dataset]
    settings: dict[str, Any]
    quick: dict[str, Any]


def fashion(seed: int, quick: bool) -> fb.Dataset:
    x, y, test_x, test_y = _data.fashion_mnist_arrays()
    rows = np.random.default_rng(seed).permutation(len(x))[: 1_000 if quick else 6_000]
    tested = 2_000 if quick else len(test_x)
    return fb.Dataset.from_arrays(x[rows], [y[i] for i in rows], test=(test_x[:tested], test_y[:tested]))


def stamps(seed: int, quick: bool) -> fb.Dataset:
    from realdata.pictures import write_stamps

    return fb.Dataset.from_folder(
        write_stamps(_data.cache() / "stamps"), split=Split("stratified", 0.05, 0.2, seed=seed)
    )


def stamps_settings() -> dict[str, Any]:
    from realdata.pictures import efficientnet_lite0

    return {"model": "timm:tf_efficientnet_lite0", "pretrained": str(efficientnet_lite0())}


def sentences(seed: int, quick: bool) -> fb.Dataset:
    from realdata.texts import uci_sentences

    texts, labels = uci_sentences()
    columns = {"text": texts, "label": labels}
    split = Split("stratified", 0.05, 0.2, seed=seed)
    return fb.Dataset(columns, target="label", fields={"text": fb.fields.Text()}, split=split)


TASKS = {
    "fashion": Task(fashion, {"epochs": 15}, {"epochs": 3}),
    "stamps": Task(stamps, {"epochs": 10}, {"epochs": 2, "size": 64}),
    "sentences": Task(sentences, {"epochs": 8, "model": "textcnn"}, {"epochs": 2, "model": "textcnn"}),
}


def trained(task: str, technique: str | None, seed: int, quick: bool, folder: Path) -> tuple[float, float]:
    """Test accuracy, and seconds of processor time of the training; the data are encoded before.

    Raises:
        UsageError: the technique has no meaning for the task.
    """
    chosen = TASKS[task]
    name = (technique or "").split(" ")[0]
    settings = (chosen.quick if quick else chosen.settings) | (stamps_settings() if task == "stamps" else {})
    settings |= BESIDE.get(name, {})
    learner = fb.Learner(
        chosen.data(seed, quick), techniques=technique, run=folder / "run", cache=_data.cache() / "store",
        quiet=True, seed=seed, baseline=False, keep="last", loggers=[], **settings,
    )  # fmt: skip
    learner.build()
    began = time.process_time()
    metrics = learner.fit(check=False)
    if name == "snapshots":
        with snapshots_of(folder / "run") as members:
            metrics = ensemble(members, folder / "joint", data=learner.data).evaluation["metrics"]
    return metrics["accuracy"], time.process_time() - began


class Bench:
    """Trainings, each made once."""

    def __init__(self, seeds: int, quick: bool, say: Callable[[str], None]):
        self.seeds, self.quick, self.say = range(seeds), quick, say
        self._without: dict[tuple[str, int], tuple[float, float]] = {}

    def run(self, task: str, technique: str | None, seed: int) -> tuple[float, float]:
        with TemporaryDirectory(prefix="flambeau-benchmark-") as folder:
            figures = trained(task, technique, seed, self.quick, Path(folder))
        self.say(f"{task}, seed {seed}, {technique or 'without'}: {figures[0]:.4f}, {figures[1]:.1f} s")
        return figures

    def without(self, task: str, seed: int) -> tuple[float, float]:
        if (task, seed) not in self._without:
            if not any(of == task for of, _ in self._without):
                self.run(task, None, seed)  # encodes the data and imports what it needs; its time does not count
            self._without[task, seed] = self.run(task, None, seed)
        return self._without[task, seed]

    def effect(self, task: str, technique: str) -> dict[str, Any]:
        """The difference in points by seed and its interval, and the ratio of times; or the line that refuses it."""
        try:
            pairs = [(self.without(task, seed), self.run(task, technique, seed)) for seed in self.seeds]
        except UsageError as error:
            return {"refused": str(error)}
        differences = [100 * (on[0] - off[0]) for off, on in pairs]
        return {
            "differences": differences,
            "mean": mean(differences),
            "half": half_interval(differences),
            "cost": median(on[1] / off[1] for off, on in pairs),
        }


def cells(effect: dict[str, Any]) -> tuple[str, str]:
    """What it brings, and what it costs."""
    if "refused" in effect:
        return "refused", ""
    half = "" if effect["half"] is None else f" ± {effect['half']:.2f}"
    return f"{effect['mean']:+.2f}{half}", f"{effect['cost']:.2f}×"


def parsed() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seeds", type=int, default=3, help="how many (default 3)")
    arguments.add_argument("--quick", action="store_true", help="few epochs on little data")
    arguments.add_argument("--only", default="", help="techniques, with commas between; a name, then settings")
    arguments.add_argument("--tasks", default=",".join(TASKS), help="of fashion, stamps, sentences")
    arguments.add_argument("--minutes", type=float, help="begin no further technique after so many")
    arguments.add_argument("--json", action="store_true", help="print one line of JSON in place of the table")
    arguments.add_argument("--quiet", action="store_true", help="no line for each training on stderr")
    return arguments.parse_args()


def main() -> int:
    options, began = parsed(), time.perf_counter()
    say = (lambda text: None) if options.quiet else (lambda text: print(text, file=sys.stderr, flush=True))
    named = options.only.split(",") if options.only else sorted(TECHNIQUES)
    asked = [technique for name in named for technique in OPTIONS.get(name, [name])]
    bench, tasks = Bench(options.seeds, options.quick, say), options.tasks.split(",")
    effects: dict[str, dict[str, dict[str, Any]]] = {}
    with contextlib.suppress(KeyboardInterrupt):  # what is done by then is shown
        for technique in asked:
            if options.minutes and time.perf_counter() - began > 60 * options.minutes:
                say(f"time is up before {technique}")
                break
            effects[technique] = {task: bench.effect(task, technique) for task in tasks}
    if options.json:
        print(json.dumps(effects))
    else:
        rows = [("", *(text for task in tasks for text in (f"{task}, points", "time")))]
        rows += [(name, *(text for task in tasks for text in cells(of[task]))) for name, of in effects.items()]
        print(table(rows))
        refused = {f"{e['refused']}" for of in effects.values() for e in of.values() if "refused" in e}
        print("".join(f"\n{line}" for line in sorted(refused)))
    losing = [
        name for name, of in effects.items() if name_of(next(iter(keyed(name)))) in Recipe().techniques
        for e in of.values() if e.get("half") is not None and e["mean"] + e["half"] < 0
    ]  # fmt: skip
    if not options.json:
        print("\n" + verdict(not losing, "promised that none that is on by default loses beyond its interval"))
    return 1 if losing else 0


if __name__ == "__main__":
    sys.exit(main())
