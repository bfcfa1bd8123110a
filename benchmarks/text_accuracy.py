"""Accuracy on real texts with default settings, beside the baseline that a training fits on the same rows.

    python benchmarks/text_accuracy.py
    python benchmarks/text_accuracy.py --only sentences,bbc

minilm     3,000 sentences of reviews, a pretrained MiniLM-L6 fine-tuned (`--model hf:FOLDER`)
sentences  the same, from scratch
chinese    17,363 Chinese reviews, from scratch
bbc        2,225 articles of BBC News in five classes, from scratch
headlines  4,114 pairs of a headline and a paragraph of BBC News: whether they belong together, from scratch
brown      the parts of speech of the Brown corpus, a tenth of its sentences held out

Five folds (`brown`: one part). The fold is seen at the end only: the best epoch is chosen on an eighth of the other
rows. With `--validating` it is chosen on the fold itself, and all other rows train: what `flambeau train` shows when
there are no test rows. With `--last` they all train and the last epoch counts, so nothing is chosen on any row. Seconds
are of a whole training, its check and its baselines (TF-IDF and logistic regression) included. Ends with status 1 where
a promise does not hold.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import _data  # noqa: F401
import numpy as np
from _timing import verdict

import flambeau as fb

FOLDS = 5


class Promise(NamedTuple):
    """The least accuracy, and the most seconds of a fold."""

    accuracy: float
    seconds: float | None = None


PROMISES = {
    "minilm": Promise(0.905, 360),
    "sentences": Promise(0.80),
    "chinese": Promise(0.865),
    "bbc": Promise(0.965),
    "headlines": Promise(0.90),
    "brown": Promise(0.960, 900),
}


def texts(name: str) -> tuple[list[str], list[str]]:
    from realdata.texts import bbc_news, chinese_reviews, uci_sentences

    if name == "bbc":
        files = sorted(bbc_news().glob("*/*.txt"))
        return [file.read_text(encoding="latin-1") for file in files], [file.parent.name for file in files]
    found = chinese_reviews() if name == "chinese" else uci_sentences()
    return list(found.texts), list(found.labels)


def datasets(x: list[str], y: list[str], validating: bool) -> Iterator[fb.Dataset]:
    """Five times the data, another fold held out each time."""
    keys = [str(i) for i in range(len(x))]
    for fold in range(FOLDS):
        held_out = fb.Split("stratified", folds=FOLDS, fold=fold).assign(keys, y)
        sides = ["train" if side == 0 else "valid" if validating else "test" for side in held_out]
        if not validating:
            rest = [i for i, side in enumerate(sides) if side == "train"]
            inner = fb.Split("stratified", valid=0.125, test=0.0, seed=1).assign(
                [keys[i] for i in rest], [y[i] for i in rest]
            )
            for i, side in zip(rest, inner, strict=True):
                sides[i] = "valid" if side else "train"
        yield fb.Dataset({"text": x, "label": y}, target="label", split=sides)


def headlines(folder: Path, validating: bool) -> Iterator[fb.Dataset]:
    """Five times the pairs, other groups of articles held out each time."""
    from realdata.texts import write_headlines

    whole = fb.Dataset.from_table(
        write_headlines(folder / "headlines.csv"), target="match", inputs=["headline", "text"]
    )
    for data in whole.folds(FOLDS, by="group"):
        if not validating:
            inner = fb.Split("grouped", by="group", valid=0.125, test=0.0, seed=1)
            valid = inner.assign(range(len(data)), by=data.columns["group"])
            data.split = np.where(data.split > 0, 2, valid).astype(np.int8)
        yield data


def brown(folder: Path) -> fb.Dataset:
    from realdata.texts import write_brown

    return fb.Dataset.from_tagged(write_brown(folder / "brown.pos"), split=fb.Split("random", valid=0.1, test=0.1))


def fit(data: fb.Dataset, run: Path, **settings: Any) -> dict[str, float]:
    """A whole training, its check and its baselines included: accuracy, seconds, and the best baseline's accuracy."""
    began = time.perf_counter()
    learner = fb.Learner(data, run=run, quiet=True, cache=run.parent / "store", **settings)
    accuracy = learner.fit()["accuracy"]
    seconds = time.perf_counter() - began
    baselines = json.loads((run / "evaluation.json").read_text())["baselines"]
    best = max(baseline["metrics"]["accuracy"] for baseline in baselines)
    return {"ours": accuracy, "seconds": seconds, "baseline": best}


def measure(name: str, folder: Path, validating: bool, keep: str) -> dict[str, list[float]]:
    """What `fit` gives, of each fold."""
    from realdata.texts import minilm

    settings = {"keep": keep} | ({"model": f"hf:{minilm()}"} if name == "minilm" else {})
    if name == "brown":
        made = iter([brown(folder)])
    else:
        made = headlines(folder, validating) if name == "headlines" else datasets(*texts(name), validating)
    found: dict[str, list[float]] = {}
    for fold, data in enumerate(made):
        for key, value in fit(data, folder / f"{name}-{fold}", **settings).items():
            found.setdefault(key, []).append(value)
        told = ", ".join(f"{key} {values[-1]:.4g}" for key, values in found.items())
        print(f"  {name} {fold}: {told}", file=sys.stderr, flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PROMISES), help="rows to run, with commas between them")
    rule = parser.add_mutually_exclusive_group()
    rule.add_argument("--validating", action="store_true", help="choose the best epoch on the held-out fold itself")
    rule.add_argument("--last", action="store_true", help="choose no epoch: the last one counts, of all other rows")
    parser.add_argument("--json", action="store_true", help="a line of JSON in place of the table")
    arguments = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = {}
    kept, keep = True, "last" if arguments.last else "best"
    with tempfile.TemporaryDirectory() as temporary:
        for name in arguments.only.split(","):
            row = found[name] = measure(name, Path(temporary), arguments.validating or arguments.last, keep)
            promise, accuracy, longest = PROMISES[name], mean(row["ours"]), max(row["seconds"])
            holds = accuracy >= promise.accuracy and longest <= (promise.seconds or longest)
            kept &= holds
            if not arguments.json:
                told = f"at least {promise.accuracy}" + (f" in {promise.seconds} s" if promise.seconds else "")
                beside = f"baseline {mean(row['baseline']):.4f}  {longest:.0f} s the longest fold"
                print(f"{name:9} ours {accuracy:.4f}  {beside}")
                print(verdict(holds, told), flush=True)
    if arguments.json:
        print(json.dumps(found))
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
