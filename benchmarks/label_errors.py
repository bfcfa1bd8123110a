"""Suspected labels beside cleanlab's, on the same probabilities: 5 % of labels are flipped at random.

    python benchmarks/label_errors.py --cleanlab .venv-cleanlab/bin/python

6,000 pictures of Fashion-MNIST, and the 3,000 UCI sentences, cross-validated with 5 folds. Recall is the share of the
flipped labels that are suspected, precision the share of the suspected ones that were flipped (labels that were wrong
before count against both). cleanlab runs in an environment of its own (`pip install -c constraints.txt cleanlab`) on
the out-of-fold probabilities, with its default filter and with `confident_learning`. What is suspected was settled on
other pictures (the rows from 30,000 on, another seed) and on digits. Ends with status 1 where recall on Fashion-MNIST
is under 0.80, precision under 0.60, or F1 under cleanlab's better one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from _data import fashion_mnist_arrays

import flambeau as fb
from flambeau.studies.clean import suspects

SHARE, RECALL, PRECISION = 0.05, 0.80, 0.60
THEIRS = """
import sys, numpy as np
from cleanlab.filter import find_label_issues
kept = np.load(sys.argv[1])
for name in ("prune_by_noise_rate", "confident_learning"):
    found = find_label_issues(kept["labels"], kept["probabilities"], filter_by=name, n_jobs=1)
    print(name, *np.flatnonzero(found))
"""


def flipped(labels: list[str], seed: int) -> tuple[list[str], set[int]]:
    """Labels of which SHARE are another class, and which those are."""
    random, classes = np.random.default_rng(seed), sorted({*labels})
    rows = random.choice(len(labels), round(SHARE * len(labels)), replace=False).tolist()
    noisy = list(labels)
    for row in rows:
        noisy[row] = str(random.choice([name for name in classes if name != labels[row]]))
    return noisy, {*rows}


def scores(found: set[int], wrong: set[int]) -> tuple[float, float, float]:
    """Recall, precision and F1."""
    both = len(found & wrong)
    recall, precision = both / len(wrong), both / max(len(found), 1)
    return recall, precision, 2 * recall * precision / max(recall + precision, 1e-9)


def measured(values: Any, labels: list[str], cleanlab: str | None, seed: int, **settings: Any) -> dict[str, Any]:
    """{name: (recall, precision, F1)} of ours and theirs."""
    noisy, wrong = flipped(labels, seed)
    data = fb.Dataset.from_arrays(values, noisy)
    with tempfile.TemporaryDirectory() as work:
        found = fb.cross_validate(fb.Learner(data, quiet=True, cache=Path(work) / "cache", **settings), 5,
                                  check=False, study=Path(work) / "cv")  # fmt: skip
        scored = {"flambeau": scores({one.row for one in suspects(found.study.path)}, wrong)}
        if cleanlab:
            answers, classes = found.out_of_fold.sort("row"), sorted({*noisy})
            rows = answers["row"].to_numpy()
            numbers = np.asarray([classes.index(name) for name in answers["true"]])
            probabilities = np.asarray(answers["output"].to_list())
            np.savez(Path(work) / "kept.npz", labels=numbers, probabilities=probabilities)
            said = subprocess.run([cleanlab, "-c", THEIRS, Path(work) / "kept.npz"], check=True, text=True,
                                  stdout=subprocess.PIPE).stdout  # fmt: skip
            for line in said.splitlines():
                name, *places = line.split()
                scored[f"cleanlab {name}"] = scores({int(rows[int(place)]) for place in places}, wrong)
    return scored


def main() -> int:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--cleanlab", help="the Python of an environment with cleanlab")
    parse.add_argument("--only", default="pictures,sentences")
    parse.add_argument("--epochs", type=int, default=8)
    parse.add_argument("--seed", type=int, default=0)
    parse.add_argument("--json", action="store_true")
    asked, good = parse.parse_args(), True
    for name in asked.only.split(","):
        if name == "pictures":
            pictures, labels, _, _ = fashion_mnist_arrays()
            made = measured(pictures[:6000], labels[:6000], asked.cleanlab, asked.seed, model="lenet",
                            epochs=asked.epochs)  # fmt: skip
            recall, precision, f1 = made["flambeau"]
            good &= recall >= RECALL and precision >= PRECISION and f1 >= max(score[2] for score in made.values())
        else:
            from realdata.texts import uci_sentences

            texts = uci_sentences()
            made = measured(texts.texts, texts.labels, asked.cleanlab, asked.seed)
        for who, (recall, precision, f1) in made.items():
            line = {"data": name, "who": who, "recall": recall, "precision": precision, "f1": f1}
            told = f"{name:10} {who:32} recall {recall:.3f}  precision {precision:.3f}  F1 {f1:.3f}"
            print(json.dumps(line) if asked.json else told, flush=True)
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
