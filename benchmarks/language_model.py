"""A language model of Jane Austen's novels from scratch: bits a character of the one held out, and tokens a second.

    .venv-peers/bin/python benchmarks/language_model.py                     # both, about half an hour on two processors
    .venv-peers/bin/python benchmarks/language_model.py --only speed
    .venv-peers/bin/python benchmarks/language_model.py --only bits --tokens bpe --size nano --epochs 1

Five novels are trained on and Emma is held out; whatever was chosen was chosen on the ends of the five. Kneser-Ney
n-grams of the same tokens stand beside. Speed: the same net, windows, optimiser and precision in Flambeau, in the loop
of nanoGPT (written anew here: random windows, autocast, fused AdamW, clipping) and, with the same layers from
transformers, in HF Trainer, in tokens a second of processor time. Ours and nanoGPT's make their steps in turns in one
process, so that what neighbours do to caches and clocks meets both; timed are the steps with what watches them, not the
texts that are written once an epoch. `--optimizer muon` has both train by Muon, which tells its cost from the loop's.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _data import cached_novels
from _timing import compare, interleave, parser, run_child, speaker, summary, table, verdict

MOST_BITS, MINUTES, MOST_PARAMETERS = 1.95, 15, 3_000_000  # promised of characters
OVER_NANOGPT, OVER_TRAINER = 1.0, 1.5  # promised: ours over theirs
HELD_OUT = "emma"
CONTEXT, BATCH, RATE = 256, 16, 3e-3  # of the measured speed; the context of both
SIDES = ("nanogpt", "hf trainer", "hf trainer float32")
WARM_UP = 5  # steps that are not timed


def novels() -> tuple[list[str], str]:
    """Five novels, and the one held out."""
    texts = {file.stem: file.read_text(encoding="utf-8") for file in sorted(cached_novels().glob("*.txt"))}
    return [text for name, text in texts.items() if name != HELD_OUT], texts[HELD_OUT]


def learner_of(texts: list[str], split: list[str], options: argparse.Namespace, **more: Any) -> Any:
    """A Learner of a GPT, of texts that are each in a part of the split."""
    import flambeau as fb

    field = fb.fields.Corpus(options.tokens, CONTEXT)
    data = fb.Dataset({"text": texts}, inputs=["text"], fields={"text": field}, split=split)
    shape = {"size": options.size, **({"width": options.width} if options.width else {})}
    chosen = {"model": {"name": "gpt", "options": shape}, "objective": {"name": "language-model"}}
    settings = {"run": False, "quiet": True, **more}
    return fb.Learner(data, recipe=fb.Recipe.from_dict(chosen), **settings)


def clock(beside: Callable[[int], None] = lambda step: None) -> Any:
    """A technique that measures a training, in seconds of the clock and of processors; and its steps after the first
    few, in those of processors, and another loop's that takes turns with it: `steps` and `others`."""
    from flambeau.techniques import Technique

    class Clock(Technique):
        name = "clock"

        def on_fit_start(self, objective: Any) -> None:
            self.began = time.perf_counter(), time.process_time()

        def on_epoch_start(self, objective: Any, epoch: int) -> None:
            self.steps = self.others = 0.0
            self.mark = time.process_time()

        def on_step_end(self, objective: Any, step: int) -> None:
            ended = time.process_time()
            beside(step)
            if step >= WARM_UP:
                self.steps, self.others = self.steps + ended - self.mark, self.others + time.process_time() - ended
            self.mark = time.process_time()

        def on_fit_end(self, objective: Any) -> None:
            self.seconds, self.busy = time.perf_counter() - self.began[0], time.process_time() - self.began[1]

    return Clock()


# -- how well -----------------------------------------------------------------------------------------------------


def bits(options: argparse.Namespace) -> dict[str, Any]:
    """Trains on the five, and measures on the sixth."""
    texts, held_out = novels()
    timed = clock()
    chosen = {"learning_rate": options.rate, "optimizer": options.optimizer, "batch_size": options.batch}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    learner = learner_of(
        [*texts, held_out],
        ["train"] * len(texts) + ["test"],
        options,
        epochs=options.epochs,
        techniques=[timed],
        **chosen,
    )
    learner.fit(check=False)
    metrics = learner.evaluate("test")["metrics"]
    field, model = learner.objective.field, learner.objective.model
    decided = learner.recipe.training
    result = {
        "cut": options.tokens, "size": options.size, "optimizer": decided.optimizer,
        "rate": decided.learning_rate, "batch": decided.batch_size, "epochs": options.epochs,
        "parameters": sum(p.numel() for p in model.parameters()), "minutes": timed.seconds / 60,
        "busy": timed.busy / 60, **{name: metrics[name] for name in ("bits_per_character", "bits_per_byte")},
    }  # fmt: skip
    result["kneser_ney"] = kneser_ney(field, texts, held_out)
    return result


def kneser_ney(field: Any, texts: list[str], held_out: str) -> float:
    """Bits a character of the novel held out by n-grams of the same tokens."""
    from flambeau.baselines.kneser_ney import KneserNey

    order = 8 if field.cut == "characters" else 4
    read = [np.asarray(field.encode(text)).astype(np.int64) for text in (*texts, held_out)]
    lengths = np.array([len(ids) for ids in read[:-1]])
    rival = KneserNey(np.concatenate(read[:-1]), lengths, field.input_shape[0], order)
    nats = -rival.log_probabilities(read[-1], np.array([len(read[-1])]))[1:].sum()
    return float(nats / math.log(2) / len(held_out))


# -- how fast -----------------------------------------------------------------------------------------------------


def in_turns(options: argparse.Namespace) -> dict[str, Any]:
    """Tokens a second of a Learner without validation, report or checkpoints, and of nanoGPT's loop; an epoch of some
    of the text."""
    text, timed = novels()[0][0][: options.steps * BATCH * CONTEXT], clock(nanogpt(options))
    learner = learner_of(
        [text], ["train"], options, epochs=1, batch_size=BATCH, techniques=[timed, "clip"],
        optimizer=options.optimizer or "adamw", learning_rate=RATE, precision="bf16",
    )  # fmt: skip
    learner.fit(check=False)
    read = (learner.trainer.state.step - WARM_UP) * BATCH * CONTEXT
    return {"rate": read / timed.steps, "nanogpt": read / timed.others}


def net_and_tokens(options: argparse.Namespace) -> tuple[Any, Any]:
    """The same net, fresh, and the same tokens, int64 (N)."""
    import torch

    from flambeau.fields import Corpus
    from flambeau.models import InputSpec, build

    text = novels()[0][0][: options.steps * BATCH * CONTEXT]
    field = Corpus(options.tokens, CONTEXT)
    field.fit([text])
    model = build("gpt", InputSpec.of([field]), field.input_shape[0], size=options.size, width=options.width).model
    return model.train(), torch.from_numpy(np.asarray(field.encode(text)).astype(np.int64))


def nanogpt(options: argparse.Namespace) -> Callable[[int], None]:
    """A step of nanoGPT's loop."""
    import torch
    import torch.nn.functional as F

    from flambeau.training import optimizers

    model, tokens = net_and_tokens(options)
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer: torch.optim.Optimizer = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.95), fused=True)
    if (options.optimizer or "adamw").lower() == "muon":
        optimizer = optimizers.build("muon", list(model.parameters()), RATE, 0.1, outer=[model.embedding.weight])

    def batch() -> tuple[Any, Any]:
        starts = torch.randint(len(tokens) - CONTEXT, (BATCH,)).tolist()
        x = torch.stack([tokens[i : i + CONTEXT] for i in starts])
        return x, torch.stack([tokens[i + 1 : i + 1 + CONTEXT] for i in starts])

    x, y = batch()

    def step_of(step: int) -> None:
        nonlocal x, y
        for group in optimizer.param_groups:
            group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / options.steps))
        with torch.amp.autocast("cpu", dtype=torch.bfloat16):
            scores = model(x)
            loss = F.cross_entropy(scores.view(-1, scores.size(-1)), y.view(-1))
        x, y = batch()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 10 == 0:
            loss.item()

    return step_of


def trainer(options: argparse.Namespace, bf16: bool) -> float:
    """Tokens a second of HF Trainer, with transformers' layers of the same sizes."""
    from flambeau.core import compat

    compat.mend_torchvision()
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

    net, tokens = net_and_tokens(options)
    layers, heads, width = net.shape
    config = LlamaConfig(
        vocab_size=net.vocabulary, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=heads, intermediate_size=net.blocks[0].feed_forward.up.out_features,
        max_position_embeddings=CONTEXT, tie_word_embeddings=True, use_cache=False, bos_token_id=None,
        eos_token_id=None,
    )  # fmt: skip

    class Clock(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.process_time()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            self.busy = time.process_time() - self.began

    windows = tokens[: len(tokens) // CONTEXT * CONTEXT].view(-1, CONTEXT)
    rows = [{"input_ids": window, "labels": window} for window in windows]
    settings = TrainingArguments(
        output_dir="trainer", per_device_train_batch_size=BATCH, num_train_epochs=1, learning_rate=RATE,
        weight_decay=0.1, max_grad_norm=1.0, optim="adamw_torch_fused", save_strategy="no", use_cpu=True, bf16=bf16,
        report_to=[], dataloader_num_workers=0, disable_tqdm=True, logging_steps=10,
    )  # fmt: skip
    torch.manual_seed(0)
    timed = Clock()
    Trainer(model=LlamaForCausalLM(config), args=settings, train_dataset=rows, callbacks=[timed]).train()
    return windows.numel() / timed.busy


def arguments() -> argparse.ArgumentParser:
    made = parser(__doc__, rounds=3)
    made.add_argument("--only", choices=("bits", "speed"))
    made.add_argument("--tokens", choices=("characters", "bpe", "bytes"), default="characters")
    made.add_argument("--size", default="tiny", help="of the GPT (default tiny, 2.7 M parameters)")
    made.add_argument("--epochs", type=int, default=4, help="of the training (default 4)")
    made.add_argument("--optimizer", help="in place of the one that a GPT has by default, such as AdamW")
    made.add_argument("--rate", type=float, help="likewise")
    made.add_argument("--batch", type=int, help="likewise, of the training whose bits are measured")
    made.add_argument("--width", type=int, help="likewise, of the size")
    made.add_argument("--steps", type=int, default=80, help="of the measured training (default 80)")
    made.add_argument("--threads", type=int, default=2, help="of PyTorch (default 2)")
    made.add_argument("--child", choices=("bits", *SIDES), help="run one side, and write its figures to --out")
    made.add_argument("--out", type=Path)
    return made


def figures_of(child: str, options: argparse.Namespace) -> dict[str, Any]:
    """What a process of its own measures."""
    if child == "bits":
        return bits(options)
    if child == "nanogpt":
        return in_turns(options)
    return {"rate": trainer(options, bf16=child == "hf trainer")}


def main() -> int:
    options = arguments().parse_args()
    if options.child:
        options.out.write_text(json.dumps(figures_of(options.child, options)))
        return 0

    def child(side: str) -> dict[str, Any]:
        passed = ["--tokens", options.tokens, "--size", options.size, "--steps", str(options.steps)]
        passed += ["--epochs", str(options.epochs)]
        passed += ["--optimizer", options.optimizer] if options.optimizer else []
        for name in ("rate", "batch", "width"):
            passed += [f"--{name}", str(getattr(options, name))] if getattr(options, name) else []
        return run_child([str(Path(__file__).resolve()), "--child", side, *passed], threads=options.threads)

    holds, told = [], {}
    if options.only != "speed":
        result = told["bits"] = child("bits")
        if not options.json:
            rows = [
                [name, f"{value:.3f}" if isinstance(value, float) else str(value)] for name, value in result.items()
            ]
            print(table([["of Emma, unseen", ""], *rows]))
        if options.tokens == "characters":
            holds.append(result["bits_per_character"] <= MOST_BITS and result["parameters"] <= MOST_PARAMETERS)
            if not options.json:
                print(verdict(holds[-1], f"at most {MOST_BITS} bits a character, of {MOST_PARAMETERS:,} parameters"))
                print(verdict(result["minutes"] <= MINUTES, f"in at most {MINUTES} minutes"))
    if options.only != "bits":
        ours: list[float] = []

        def rate(side: str) -> float:
            measured = child(side)
            if side == "nanogpt":
                ours.append(measured["rate"])
            return float(measured.get("nanogpt", measured["rate"]))

        figures = interleave({s: lambda s=s: rate(s) for s in SIDES}, options.rounds, speaker(options.quiet))
        ratios = {side: compare(ours, figures[side]) for side in SIDES}
        figures = {"flambeau": ours, **figures}
        told["speed"] = {side: ratio.of_medians for side, ratio in ratios.items()}
        holds += [ratios["nanogpt"].of_medians >= OVER_NANOGPT, ratios["hf trainer"].of_medians >= OVER_TRAINER]
        if not options.json:
            print(table([["", "tokens/s"], *([s, f"{summary(f)['median']:,.0f}"] for s, f in figures.items())]))
            for side, ratio in ratios.items():
                print(f"ours / {side}: {ratio}")
            print(verdict(holds[-2], f"at least {OVER_NANOGPT} of nanoGPT's loop"))
            print(verdict(holds[-1], f"at least {OVER_TRAINER} of HF Trainer"))
    if options.json:
        print(json.dumps(told))
    return 0 if all(holds) else 1


if __name__ == "__main__":
    sys.exit(main())
