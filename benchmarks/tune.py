"""Whether TPE with pruning finds in 30 trials what random search finds in 60, on 600 of scikit-learn's digits.

    python benchmarks/tune.py
    python benchmarks/tune.py --seeds 1 --trials 10

Five settings: rate, weight decay, batch size, warm-up and mixup's alpha, of an mlp of 10 epochs. For each seed the
same rows are held out; what counts is the validation loss of the best trial, and the seconds of all of them. Printed,
not required: the space is small and the noise of validation large.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import _data  # noqa: F401
import sklearn.datasets

import flambeau as fb

SPACE = {
    "learning_rate": "1e-5..1e-1:log",
    "weight_decay": "1e-4..1:log",
    "batch_size": "16..128:16",
    "warmup": "0.05..0.6",
    "techniques.mixup.alpha": "0.05..1.0:log",
}


def searched(data: fb.Dataset, seed: int, folder: Path, **options: Any) -> tuple[float, float, int, float]:
    """The lowest validation loss of a search, its seconds, the trials that were pruned, and accuracy on test rows."""
    began = time.perf_counter()
    study = fb.tune(data, SPACE, folder=folder, model="mlp", epochs=10, seed=seed, check=False, quiet=True, **options)
    seconds, result = time.perf_counter() - began, study.result or {}
    losses = [fb.Run(t["run"]).evaluation["metrics"]["loss"] for t in result["trials"] if t["state"] == "complete"]
    return min(losses), seconds, sum(t["state"] == "pruned" for t in result["trials"]), result["test"]["accuracy"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=30)
    asked = parser.parse_args()
    digits = sklearn.datasets.load_digits()
    print(f"{'seed':>4}  {'search':32}  {'loss':>7}  {'test':>6}  {'pruned':>6}  {'seconds':>7}")
    for seed in range(asked.seeds):
        data = fb.Dataset.from_arrays(digits.images[:600] / 16, digits.target[:600], split=fb.Split(seed=seed))
        for name, options in (
            (f"TPE and pruning, {asked.trials} trials", {"method": "tpe", "trials": asked.trials}),
            (f"random, {2 * asked.trials} trials", {"method": "random", "trials": 2 * asked.trials, "prune": False}),
        ):
            with tempfile.TemporaryDirectory() as folder:
                loss, seconds, pruned, test = searched(data, seed, Path(folder), name="search", **options)
            print(f"{seed:>4}  {name:32}  {loss:7.4f}  {test:6.3f}  {pruned:>6}  {seconds:7.1f}", flush=True)


if __name__ == "__main__":
    main()
