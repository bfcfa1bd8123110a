"""Tokens a second of fine-tuning an encoder: ours, HF Trainer with random batches, HF Trainer with its grouping.

    .venv-peers/bin/python benchmarks/text_throughput.py

The same MiniLM-L6 (22.7 M parameters), texts, tokens, batch size, optimiser and rate, one epoch. The texts are
sentences of reviews and paragraphs of the BBC's news, so their lengths differ as real ones do. Padding does
not count as tokens. Each figure is a process of its own; the clock runs from the first step to the last.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import _data  # noqa: F401
from _timing import compare, interleave, parser, run_child, speaker, summary, table, verdict

RANDOM, GROUPED = 1.5, 1.0  # promised: ours over HF Trainer's
BATCH, RATE, LONGEST = 32, 5e-5, 256
SIDES = ("flambeau", "hf random", "hf grouped")


def texts(count: int) -> tuple[list[str], list[int]]:
    """As many sentences as paragraphs, shuffled, and a label for each."""
    from realdata.texts import bbc_news, uci_sentences

    paragraphs = []
    for file in sorted(bbc_news().glob("*/*.txt")):
        paragraphs += [p for p in file.read_text(encoding="latin-1").splitlines() if len(p) > 100]
    draw = random.Random(0)
    sentences = uci_sentences()
    rows = list(zip(sentences.texts, (label == "positive" for label in sentences.labels), strict=True))
    chosen = draw.sample(rows, count // 2)
    chosen += [(p, draw.random() < 0.5) for p in draw.sample(paragraphs, count - count // 2)]
    draw.shuffle(chosen)
    return [text for text, _ in chosen], [int(label) for _, label in chosen]


def ours(count: int) -> dict[str, float]:
    """A Learner without validation rows, report or checkpoints, as the peer has none."""
    from realdata.texts import minilm

    import flambeau as fb
    from flambeau.techniques import Technique

    class Clock(Technique):
        name = "clock"

        def on_fit_start(self, objective: Any) -> None:
            self.began = time.perf_counter()

        def on_fit_end(self, objective: Any) -> None:
            self.seconds = time.perf_counter() - self.began

    clock = Clock()
    x, y = texts(count)
    name = f"hf:{minilm()}"
    field = fb.fields.Text(name, max_length=LONGEST)
    data = fb.Dataset({"text": x, "label": y}, target="label", fields={"text": field}, split="none")
    learner = fb.Learner(
        data, model=name, techniques=[clock], run=False, epochs=1, batch_size=BATCH, learning_rate=RATE,
        backbone_lr_scale=1.0, precision="float32",
    )  # fmt: skip
    learner.fit(check=False)
    tokens = int(learner.feed.store.columns["text"].lengths.sum())  # type: ignore[attr-defined]
    return {"rate": tokens / clock.seconds, "tokens": tokens}


def peer(count: int, strategy: str) -> dict[str, float]:
    """HF Trainer."""
    from flambeau.core import compat

    compat.mend_torchvision()
    from realdata.texts import minilm
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    class Clock(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            self.seconds = time.perf_counter() - self.began

    folder = str(minilm())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    x, y = texts(count)
    encoded = [tokenizer(text, truncation=True, max_length=LONGEST) for text in x]
    rows = [{**e, "labels": label, "length": len(e["input_ids"])} for e, label in zip(encoded, y, strict=True)]
    settings = TrainingArguments(
        output_dir="trainer", per_device_train_batch_size=BATCH, num_train_epochs=1, learning_rate=RATE,
        weight_decay=0.05, max_grad_norm=0.0, optim="adamw_torch_fused", save_strategy="no", use_cpu=True,
        report_to=[], train_sampling_strategy=strategy, length_column_name="length", dataloader_num_workers=0,
        remove_unused_columns=False,
    )  # fmt: skip
    clock = Clock()
    pad = DataCollatorWithPadding(tokenizer)

    def collate(batch: list[dict[str, Any]]) -> Any:
        return pad([{k: v for k, v in row.items() if k != "length"} for row in batch])

    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    Trainer(model=model, args=settings, train_dataset=rows, data_collator=collate, callbacks=[clock]).train()
    tokens = sum(row["length"] for row in rows)
    return {"rate": tokens / clock.seconds, "tokens": tokens}


def run(side: str, count: int, out: Path) -> int:
    strategies = {"hf random": "random", "hf grouped": "group_by_length"}
    result = ours(count) if side == "flambeau" else peer(count, strategies[side])
    out.write_text(json.dumps(result))
    return 0


def arguments() -> argparse.ArgumentParser:
    made = parser(__doc__, rounds=3)
    made.add_argument("--texts", type=int, default=1000, help="texts of the epoch (default 1,000)")
    made.add_argument("--threads", type=int, default=2, help="of PyTorch (default 2)")
    made.add_argument("--child", choices=SIDES, help="run one side, and write its figures to --out")
    made.add_argument("--out", type=Path)
    return made


def main() -> int:
    options = arguments().parse_args()
    if options.child:
        return run(options.child, options.texts, options.out)

    def child(side: str) -> float:
        command = [str(Path(__file__).resolve()), "--child", side, "--texts", str(options.texts)]
        return float(run_child(command, threads=options.threads)["rate"])

    figures = interleave({s: lambda s=s: child(s) for s in SIDES}, options.rounds, speaker(options.quiet))
    shuffled, grouped = (compare(figures["flambeau"], figures[side]) for side in SIDES[1:])
    if options.json:
        ratios = {"random": shuffled.of_medians, "grouped": grouped.of_medians}
        print(json.dumps({"ratios": ratios, **{s: summary(f) for s, f in figures.items()}}))
    else:
        print(table([["", "tokens/s"], *([s, f"{summary(f)['median']:,.0f}"] for s, f in figures.items())]))
        print(f"\nours / random: {shuffled}\nours / grouped: {grouped}\n")
        print(verdict(shuffled.of_medians >= RANDOM, f"at least {RANDOM} of HF Trainer with random batches"))
        print(verdict(grouped.of_medians >= GROUPED, f"at least {GROUPED} of HF Trainer with its grouping by length"))
    return 0 if shuffled.of_medians >= RANDOM and grouped.of_medians >= GROUPED else 1


if __name__ == "__main__":
    sys.exit(main())
