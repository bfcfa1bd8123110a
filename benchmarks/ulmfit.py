"""From a language model to a classifier: accuracy with few labels, beside the same network from scratch.

    python benchmarks/ulmfit.py                                     # UCI sentences and BBC, five seeds
    python benchmarks/ulmfit.py --only uci --labels 100 500 --seeds 3
    python benchmarks/ulmfit.py --only uci --labels 100 500 --seeds 1 --model gru-lm --general 0.05   # ten minutes

One language model for each data set: a small GPT over pieces of words, trained once on Jane Austen's novels, the Brown
corpus and the texts, without labels, of the rows that may train. A third of the rows is kept for the test and is seen
by nothing else. With each number of labels the road `--pretrained` is gone as it is, with fresh weights in the same
network as it is, and with `ngrams`, the model that is taken if none is named; intervals are of Student's t over seeds.
Each accuracy is printed as it is there.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from _data import cache, cached_novels
from _timing import half_interval

SIDES = ("ulmfit", "from scratch", "ngrams")
LABELS = ("100", "500", "all")
CONTEXT, VOCABULARY = 128, 4096


def texts_of(name: str) -> tuple[list[str], list[str]]:
    """Texts and labels of a data set."""
    from realdata import texts

    if name == "uci":
        rows = texts.uci_sentences()
        return list(rows.texts), list(map(str, rows.labels))
    files = sorted(texts.bbc_news().rglob("*.txt"))
    return [file.read_text("utf-8", "replace") for file in files], [file.parent.name for file in files]


def parted(labels: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Rows that may train, and a third that tests."""
    from sklearn.model_selection import train_test_split

    pool, test = train_test_split(np.arange(len(labels)), test_size=1 / 3, stratify=labels, random_state=0)
    return pool, test


def general(share: float) -> list[str]:
    """Of the novels and the Brown corpus, which no data set here has a text of, the first share."""
    from realdata.texts import write_brown

    novels = [file.read_text("utf-8") for file in sorted(cached_novels().glob("*.txt"))]
    brown = cache() / "brown.txt"
    if not brown.exists():
        write_brown(brown)
    plain = [" ".join(word.rpartition("/")[0] for word in line.split())
             for line in brown.read_text("utf-8").splitlines()]  # fmt: skip
    documents = [" ".join(plain[i : i + 100]) for i in range(0, len(plain), 100)]
    return [text[: int(share * len(text))] for text in novels if share] + documents[: int(share * len(documents))]


def language_model(name: str, texts: list[str], options: argparse.Namespace) -> Path:
    """The run of the language model of a data set, trained where there is none yet."""
    import flambeau as fb

    folder = cache() / f"ulmfit-{name}-{options.model}-{options.epochs}-{options.general:g}"
    if (folder / "report.html").exists() or (folder / "evaluation.json").exists():
        return folder
    corpus = general(options.general)
    every = [*corpus, *texts]
    held = ["valid" if i % 50 == 0 else "train" for i in range(len(every))]
    data = fb.Dataset({"text": every}, inputs=["text"], split=held,
                      fields={"text": fb.fields.Corpus("bpe", CONTEXT, VOCABULARY)})  # fmt: skip
    more = {"options": {"size": "nano", "dropout": 0.1}} if options.model == "gpt" else {}
    recipe = fb.Recipe.from_dict({"model": {"name": options.model, **more}, "objective": {"name": "language-model"},
                                  "baseline": False})  # fmt: skip
    began = time.perf_counter()
    learner = fb.Learner(data, recipe=recipe, run=folder, epochs=options.epochs, batch_size=32)  # says each epoch
    metrics = learner.fit(resume=True, check=False)
    print(f"{name}: a language model of {sum(map(len, every)):,} characters in {time.perf_counter() - began:.0f} s: "
          f"{metrics['bits_per_character']:.3f} bits a character", flush=True)  # fmt: skip
    return folder


def accuracy(side: str, run: Path, texts: list[str], labels: list[str], rows: np.ndarray, test: np.ndarray,
             seed: int) -> float:  # fmt: skip
    """On the test rows, trained on some rows, of which a part chooses the epoch."""
    import flambeau as fb
    from flambeau.data.split import Split

    chosen = np.concatenate([rows, test])
    inner = Split("stratified", 0.15, 0.0, seed=seed).assign(range(len(rows)), [labels[i] for i in rows], None)
    split = [("train", "valid")[part] for part in inner] + ["test"] * len(test)
    data = fb.Dataset({"text": [texts[i] for i in chosen], "label": [labels[i] for i in chosen]}, target="label",
                      fields={"text": fb.fields.Text(), "label": fb.fields.Category()}, split=split)  # fmt: skip
    settings: dict[str, Any] = {"seed": seed, "run": False, "quiet": True, "recipe": fb.Recipe(baseline=False)}
    if side == "ulmfit":
        learner = fb.Learner(data, pretrained=str(run), **settings)
    elif side == "from scratch":
        theirs = fb.Run.open(run)
        options = {"of": theirs.recipe.model.name, "context": CONTEXT, "options": theirs.recipe.model.options}
        settings["recipe"] = fb.Recipe.from_dict({"model": {"name": "ulmfit", "options": options}, "baseline": False})
        learner = fb.Learner(data, **settings)
    else:
        learner = fb.Learner(data, "ngrams", **settings)
    return float(learner.fit(check=False)["accuracy"])


def interval(values: list[float]) -> str:
    """Mean in percent, and half of its interval."""
    half = half_interval(values)
    return f"{100 * np.mean(values):.1f}" + (f" ± {100 * half:.1f}" if half is not None else "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=("uci", "bbc"), default=["uci", "bbc"])
    parser.add_argument("--labels", nargs="+", default=list(LABELS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--model", default="gpt", help="of the language model")
    parser.add_argument("--epochs", type=int, default=3, help="of the language model")
    parser.add_argument("--general", type=float, default=1.0, help="share of the novels and the Brown corpus")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    options, missed = parser.parse_args(), []
    for name in options.only:
        texts, labels = texts_of(name)
        pool, test = parted(labels)
        run = language_model(name, [texts[i] for i in pool], options)
        for count in options.labels:
            found: dict[str, list[float]] = {side: [] for side in options.sides}
            began = time.perf_counter()
            for seed in range(options.seeds):
                rows = drawn(pool, labels, count, seed)
                for side in options.sides:
                    started = time.perf_counter()
                    found[side].append(accuracy(side, run, texts, labels, rows, test, seed))
                    print(f"{name}, {count} labels, seed {seed}: {side} {100 * found[side][-1]:.1f} % "
                          f"({time.perf_counter() - started:.0f} s)", flush=True)  # fmt: skip
            told = ", ".join(f"{side} {interval(values)}" for side, values in found.items())
            print(f"{name}, {count} labels, {options.seeds} seeds: {told} % right of {len(test):,} "
                  f"({time.perf_counter() - began:.0f} s)", flush=True)  # fmt: skip
            promised = {"ulmfit", "from scratch"} <= found.keys() and count in ("100", "500")
            if promised and np.mean(found["ulmfit"]) <= np.mean(found["from scratch"]):
                missed.append(f"{name} with {count} labels is not above from scratch")
    print("\n".join(missed) or "as promised: above from scratch at 100 and 500 labels")
    return bool(missed)


def drawn(pool: np.ndarray, labels: list[str], count: str, seed: int) -> np.ndarray:
    """So many rows of the pool, classes as they are."""
    from sklearn.model_selection import train_test_split

    if count == "all":
        return pool
    chosen, _ = train_test_split(pool, train_size=int(count), stratify=[labels[i] for i in pool], random_state=seed)
    return chosen


if __name__ == "__main__":
    sys.exit(main())
