"""`train --budget`: what a training takes of the time that it was given.

    python benchmarks/budget.py [--budget 1m] [--only digits table text] [--quick]

Pictures of digits enlarged to 64 pixels, a table of numbers, and texts of 1 to 60 words, each trained by the command as
a person types it, check, rivals and report included: the seconds from start to end of the process over those asked for.
A training that does three times the usual epochs ends early, and is said to; it is not held to the share.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from flambeau.studies.budget import seconds_of

WITHIN = 0.15


def digits(folder: Path, rows: int) -> list[str]:
    """Pictures of 64 pixels a side, in a folder for each class."""
    from PIL import Image
    from sklearn.datasets import load_digits

    data = load_digits()
    for i in range(rows):
        row = i % len(data.target)
        place = folder / "digits" / str(data.target[row])
        place.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(i).integers(0, 40, (64, 64))
        pixels = np.kron(data.images[row] * 13, np.ones((8, 8))) + noise
        Image.fromarray(pixels.astype(np.uint8)).save(place / f"{i}.png")
    return [str(folder / "digits")]


def table(folder: Path, rows: int) -> list[str]:
    """Twelve numbers, of which three tell the class, with noise."""
    x = np.random.default_rng(0).normal(size=(rows * 5, 12))
    label = np.where(x[:, 0] * x[:, 1] + x[:, 2] + np.random.default_rng(1).normal(size=len(x)) > 0, "yes", "no")
    frame = pl.DataFrame({f"x{i}": column for i, column in enumerate(x.T)}).with_columns(pl.Series("label", label))
    frame.write_csv(folder / "table.csv")
    return [str(folder / "table.csv"), "--target", "label"]


def text(folder: Path, rows: int) -> list[str]:
    """Texts of words, a fifth of which are of the class."""
    random, lines = np.random.default_rng(0), []
    for i in range(rows):
        length = int(random.integers(1, 61))
        own = random.random(length) < 0.2
        numbers = random.integers(0, 300, length)
        words = [f"{'ab'[i % 2] if mine else 'c'}{n}" for mine, n in zip(own, numbers, strict=True)]
        lines.append((" ".join(words), "ab"[i % 2]))
    pl.DataFrame(lines, ["text", "label"], orient="row").write_csv(folder / "text.csv")
    return [str(folder / "text.csv"), "--target", "label"]


KINDS = {"digits": digits, "table": table, "text": text}


def used(kind: str, rows: int, budget: str) -> dict[str, Any]:
    """What one training took: {seconds, share, epochs, early}."""
    with tempfile.TemporaryDirectory(prefix="flambeau-budget-") as name:
        data = KINDS[kind](Path(name), rows)
        command = [
            sys.executable,
            "-m",
            "flambeau",
            "train",
            *data,
            "--budget",
            budget,
            "--run",
            f"{name}/run",
            "--json",
        ]
        began = time.perf_counter()
        done = subprocess.run(command, cwd=name, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - began
        if done.returncode:
            raise SystemExit(f"{kind}: {done.stderr[-2000:]}")
        reasons = (Path(name) / "run" / "recipe.yaml").read_text()
        epochs = json.loads(done.stdout)["epochs"]
        return {"seconds": seconds, "share": seconds / seconds_of(budget), "epochs": epochs,
                "early": "times the usual" in reasons}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default="1m")
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--only", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--quick", action="store_true", help="the table alone, in 20 s")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    kinds, budget = (["table"], "20s") if asked.quick else (asked.only, asked.budget)
    found = {kind: used(kind, asked.rows, budget) for kind in kinds}
    if asked.json:
        print(json.dumps(found))
    else:
        for kind, one in found.items():
            early = "; it did three times the usual epochs" if one["early"] else ""
            print(f"{kind:<8}{one['seconds']:6.1f} s of {budget}: {one['share']:.2f}, {one['epochs']} epochs{early}")
        print(f"promised: within {WITHIN:.0%} of the time")
    kept = all(one["share"] <= 1 + WITHIN and (one["early"] or one["share"] >= 1 - WITHIN) for one in found.values())
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
