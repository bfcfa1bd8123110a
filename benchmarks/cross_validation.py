"""What five folds cost beside one training on the same data: nothing is checked or encoded twice.

    python benchmarks/cross_validation.py

6,000 pictures of Fashion-MNIST in class folders, a small convolutional network, both from a cold store: the check, the
encoding, training, measuring and what is written. One training holds 15 % out to validate and 15 % to test; a fold
tests a fifth and validates on 15 % of the rest, so it trains on as many. Neither fits simple rivals, which a fold does
not. Ends with status 1 where five folds take over five times as long as the training.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from _data import cached_fashion_mnist

import flambeau as fb

FOLDS, MOST = 5, 5.0


def main() -> int:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--epochs", type=int, default=4)
    parse.add_argument("--rounds", type=int, default=3)
    parse.add_argument("--json", action="store_true")
    asked = parse.parse_args()
    folder = cached_fashion_mnist(6000, 0) / "train"
    ones, folds = [], []
    for _ in range(asked.rounds):
        with tempfile.TemporaryDirectory() as work:
            data = fb.Dataset.from_folder(folder)

            def learner(name: str, data: fb.Dataset = data, work: str = work) -> fb.Learner:
                return fb.Learner(data, "lenet", epochs=asked.epochs, quiet=True, baseline=False,
                                  run=Path(work) / name, cache=Path(work) / f"cache-{name}")  # fmt: skip

            started = time.perf_counter()
            learner("one").fit()
            ones.append(time.perf_counter() - started)
            started = time.perf_counter()
            found = fb.cross_validate(learner("folds"), FOLDS, study=Path(work) / "study")
            folds.append(time.perf_counter() - started)
    one, all_ = min(ones), min(folds)
    result = {"one training, s": round(one, 2), f"{FOLDS} folds, s": round(all_, 2), "ratio": round(all_ / one, 2),
              "accuracy": f"{found.mean['accuracy']:.4f} ± {found.deviation['accuracy']:.4f}"}  # fmt: skip
    print(json.dumps(result) if asked.json else "\n".join(f"{name:16} {value}" for name, value in result.items()))
    return int(all_ > MOST * one)


if __name__ == "__main__":
    sys.exit(main())
