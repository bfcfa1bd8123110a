"""What more training texts bring where there are few: 300 of UCI's 3,000 labelled sentences (240 train, 60 choose the
epoch), measured on all others, which nothing is made of.

    python benchmarks/augment_text.py [--seeds 5] [--only none,eda,back-translation,language-model] [--epochs 4]
    python benchmarks/augment_text.py --seeds 2 --epochs 1    # ten minutes

eda               a tenth of the words changed in each step (`--set augment=strong`)
back-translation  English to German and back, by two runs of seq2seq-lstm on 5,467 interface messages
language-model    what a GRU that learned the 240 texts makes of their beginnings, as many as there are, kept where a
                  classifier of the 240 agrees

Another seed draws other rows. Accuracy is the mean over the seeds with its 95 % interval by Student's t, and the gain
is that over the same rows without. No gain is promised. Each accuracy is printed as it is there.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

import _data  # noqa: F401  lets realdata be imported
import numpy as np
import polars as pl
from _timing import half_interval

import flambeau as fb
from flambeau.data.made import with_made
from flambeau.run import Run
from flambeau.studies import augmented

ROWS, VALID = 300, 60
WAYS = ("none", "eda", "back-translation", "language-model")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default=",".join(WAYS))
    parser.add_argument("--epochs", type=int, default=4, help="of each translation")
    asked = parser.parse_args()
    ways = [way for way in WAYS if way in asked.only.split(",") or way == "none"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "back-translation" in ways:
            translations(folder, asked.epochs)
        accuracies: dict[str, list[float]] = {way: [] for way in ways}
        made: dict[str, list[int]] = {way: [] for way in ways}
        for seed in range(asked.seeds):
            place = folder / str(seed)
            table = drawn(place, seed)
            for way in ways:
                began = time.perf_counter()
                accuracy, count = measured(way, table, place, folder, seed)
                accuracies[way].append(accuracy)
                made[way].append(count)
                print(
                    f"seed {seed}  {way:18} {accuracy:.4f}  {count} new  {time.perf_counter() - began:.0f} s",
                    flush=True,
                )
    for way in ways:
        gains = [one - plain for one, plain in zip(accuracies[way], accuracies["none"], strict=True)]
        print(f"{way:18} accuracy {interval(accuracies[way])}  gain {interval(gains)}  {mean(made[way]):.0f} new texts")


def interval(values: list[float]) -> str:
    """Percent, with half of the interval."""
    half = half_interval(values)
    return f"{100 * mean(values):6.2f}" + (f" ± {100 * half:.2f}" if half is not None else "")


def drawn(place: Path, seed: int) -> Path:
    """The sentences as a table whose split has so many rows, all others for the test."""
    from realdata.texts import uci_sentences

    place.mkdir()
    found = uci_sentences()
    first = {" ".join(text.lower().split()): row for row, text in reversed([*enumerate(found.texts)])}
    order = np.random.default_rng(seed).permutation([*first.values()])  # a copy would be learned and held out
    split = ["valid"] * VALID + ["train"] * (ROWS - VALID) + ["test"] * (len(order) - ROWS)
    columns = {"text": [found.texts[row] for row in order], "label": [found.labels[row] for row in order]}
    frame = pl.DataFrame({**columns, "split": split})
    frame.write_csv(place / "sentences.csv")
    return place / "sentences.csv"


def translations(folder: Path, epochs: int) -> None:
    """Two runs, there and back."""
    from realdata.texts import write_interface_messages

    path = write_interface_messages(folder / "messages.csv")
    for source, target in (("en", "de"), ("de", "en")):
        began = time.perf_counter()
        data = fb.Dataset.from_table(path, inputs=[source], target=target)
        run = folder / f"{source}-{target}"
        fit(data, run, model="seq2seq-lstm", objective="translation", epochs=epochs, quiet=False)
        chrf = Run.open(run).evaluation["metrics"]["chrf"]
        print(f"{run.name}  chrF {chrf:.1f}  {time.perf_counter() - began:.0f} s", flush=True)


def measured(way: str, table: Path, place: Path, folder: Path, seed: int) -> tuple[float, int]:
    """The accuracy on the test rows of a training with what one way makes, and how many texts that are."""
    data = fb.Dataset.from_table(table, inputs=["text"])
    found: list[augmented.New] = []
    if way == "back-translation":
        found = augmented.back_translated(data, folder / "en-de", folder / "de-en")
    elif way == "language-model":
        texts = pl.read_csv(table).filter(pl.col("split") == "train").select("text")
        texts.write_csv(place / "texts.csv")
        corpus = fb.Dataset({"text": texts["text"].to_list()}, fields={"text": fb.fields.Corpus()}, split="random")
        fit(corpus, place / "writer", model="gru-lm", objective="language-model", epochs=20)
        found = augmented.generated(data, place / "writer", place / "none", (ROWS - VALID) // 2)
    if found:
        augmented.write(found, data, place / f"{way}.csv")
        data = with_made(data, place / f"{way}.csv")
    return fit(data, place / way, augment="strong" if way == "eda" else None, seed=seed), len(found)


def fit(data: fb.Dataset, run: Path, **settings: Any) -> float:
    """A training without its rivals; its accuracy on the test rows, where it has one."""
    chosen = {name: value for name, value in settings.items() if value is not None}
    metrics = fb.Learner(data, run=run, **{"quiet": True, "baseline": False, **chosen}).fit(check=False)
    return float(metrics.get("accuracy", 0.0))


if __name__ == "__main__":
    main()
