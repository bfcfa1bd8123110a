"""What a training loop costs a step beyond its arithmetic: ours, two written by hand, the known trainers.

    .venv-peers/bin/python benchmarks/loop.py
    .venv-peers/bin/python benchmarks/loop.py --only gather,dataloader,flambeau --rounds 9

The model is small on purpose (an MLP 32-64-10, batches of 32, one processor thread), so that the
loop is most of the time. Every trainer gets the same model, data, AdamW and rate, and has its
progress and logging on as they come; the peers' checkpoints are off, and so are Flambeau's rivals
(gradient-boosted trees that it fits beside a model of a table, which no peer does). Each figure is a process of
its own: it trains 200 steps that are not counted, then times a training of 200 steps and one of 200
+ N, each set up before. What is reported is their difference over N, in which beginning and ending
a training cancel out. With --epochs E the N steps are E more epochs, each with its end (for
Flambeau that is a validation and a checkpoint, synced to disk).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from _timing import compare, interleave, parser, run_child, speaker, summary, table, verdict

BATCH, FEATURES, HIDDEN, CLASSES = 32, 32, 64, 10
WARM_UP = 200
LEARNING_RATE = 1e-3
PROMISED = 30.0  # µs a step over the hand-written loop that gathers its batches from tensors

Train = Callable[[], object]
"""Trains what a variant has set up."""


def make_data(steps: int) -> tuple[Any, Any]:
    """X float32 (N, 32) and y int64 (N,) that a model can learn, N = steps · 32."""
    import torch

    generator = torch.Generator().manual_seed(0)
    X = torch.randn(steps * BATCH, FEATURES, generator=generator)
    teacher = torch.randn(FEATURES, CLASSES, generator=generator)
    return X, (X @ teacher).argmax(dim=1)


def make_model() -> Any:
    from torch import nn

    return nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))


def make_loader(steps: int) -> Any:
    from torch.utils.data import DataLoader, TensorDataset

    return DataLoader(TensorDataset(*make_data(steps)), batch_size=BATCH, shuffle=True)


def make_optimiser(model: Any, fused: bool) -> Any:
    import torch

    return torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=fused)


def gather(fused: bool, epochs: int, steps: int) -> Train:
    """By hand, for somebody who has the data in two tensors."""
    import torch
    from torch import nn

    X, y = make_data(steps)
    model, loss_function = make_model(), nn.CrossEntropyLoss()
    optimiser = make_optimiser(model, fused)

    def train() -> None:
        model.train()
        for _ in range(epochs):
            order = torch.randperm(len(X))
            for start in range(0, len(X), BATCH):
                chosen = order[start : start + BATCH]
                loss = loss_function(model(X[chosen]), y[chosen])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()

    return train


def dataloader(fused: bool, epochs: int, steps: int) -> Train:
    """By hand, the way that tutorials teach."""
    from torch import nn

    loader = make_loader(steps)
    model, loss_function = make_model(), nn.CrossEntropyLoss()
    optimiser = make_optimiser(model, fused)

    def train() -> None:
        model.train()
        for _ in range(epochs):
            for x, y in loader:
                loss = loss_function(model(x), y)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()

    return train


def flambeau(fused: bool, epochs: int, steps: int) -> Train:
    """Ours, as a person with arrays and a model of their own calls it."""
    from torch import nn

    import flambeau as fb

    X, y = make_data(steps)
    # One batch to validate on, as for fastai: `fit` ends with an evaluation, of all rows if it has no others.
    data = fb.Dataset.from_arrays(X, y, valid=(X[:BATCH], y[:BATCH]))
    learner = fb.Learner(
        data,
        model=make_model(),
        loss=nn.CrossEntropyLoss(),
        epochs=epochs,
        batch_size=BATCH,
        learning_rate=LEARNING_RATE,
        optimizer_options={} if fused else {"fused": False},
        baseline=False,
    )
    learner.build()
    return lambda: learner.fit(check=False)


def fabric(fused: bool, epochs: int, steps: int) -> Train:
    from lightning.fabric import Fabric
    from torch import nn

    fabric = Fabric(accelerator="cpu", devices=1)
    model, loss_function = make_model(), nn.CrossEntropyLoss()
    model, optimiser = fabric.setup(model, make_optimiser(model, fused))
    loader = fabric.setup_dataloaders(make_loader(steps))

    def train() -> None:
        model.train()
        for _ in range(epochs):
            for x, y in loader:
                loss = loss_function(model(x), y)
                optimiser.zero_grad()
                fabric.backward(loss)
                optimiser.step()

    return train


def lightning(fused: bool, epochs: int, steps: int) -> Train:
    import lightning as L
    from torch import nn

    class Classifier(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.loss_function = make_model(), nn.CrossEntropyLoss()

        def training_step(self, batch: Any, index: int) -> Any:
            x, y = batch
            loss = self.loss_function(self.model(x), y)
            self.log("train_loss", loss, prog_bar=True)
            return loss

        def configure_optimizers(self) -> Any:
            return make_optimiser(self.model, fused)

    trainer = L.Trainer(max_epochs=epochs, accelerator="cpu", devices=1, enable_checkpointing=False)
    classifier, loader = Classifier(), make_loader(steps)
    return lambda: trainer.fit(classifier, loader)


def fastai(fused: bool, epochs: int, steps: int) -> Train:
    from functools import partial

    import torch
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import OptimWrapper
    from torch import nn

    # torch's own loader and AdamW, which fastai takes: both are quicker than fastai's own here.
    optimiser = partial(OptimWrapper, opt=torch.optim.AdamW, fused=fused)
    # It validates after each epoch; one batch, since there is no way to have none.
    dls = DataLoaders(make_loader(steps), make_loader(1))
    learner = Learner(dls, make_model(), loss_func=nn.CrossEntropyLoss(), opt_func=optimiser, lr=LEARNING_RATE)
    return lambda: learner.fit(epochs)


def hf_trainer(fused: bool, epochs: int, steps: int) -> Train:
    import torch
    from torch import nn
    from transformers import Trainer, TrainingArguments

    class Rows(torch.utils.data.Dataset):
        def __init__(self, X: Any, y: Any) -> None:
            self.X, self.y = X, y

        def __len__(self) -> int:
            return len(self.X)

        def __getitem__(self, index: int) -> dict[str, Any]:
            return {"x": self.X[index], "labels": self.y[index]}

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.loss_function = make_model(), nn.CrossEntropyLoss()

        def forward(self, x: Any, labels: Any) -> dict[str, Any]:
            logits = self.model(x)
            return {"loss": self.loss_function(logits, labels), "logits": logits}

    settings = TrainingArguments(
        output_dir="trainer",
        per_device_train_batch_size=BATCH,
        num_train_epochs=epochs,
        learning_rate=LEARNING_RATE,
        weight_decay=0.01,
        max_grad_norm=0.0,  # it clips unless told not to; nobody else here does
        optim="adamw_torch_fused" if fused else "adamw_torch",
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=False,
    )
    return Trainer(model=Classifier(), args=settings, train_dataset=Rows(*make_data(steps))).train


def accelerate(fused: bool, epochs: int, steps: int) -> Train:
    from accelerate import Accelerator
    from torch import nn

    accelerator = Accelerator(cpu=True)
    model, loss_function = make_model(), nn.CrossEntropyLoss()
    model, optimiser, loader = accelerator.prepare(model, make_optimiser(model, fused), make_loader(steps))

    def train() -> None:
        model.train()
        for _ in range(epochs):
            for x, y in loader:
                loss = loss_function(model(x), y)
                optimiser.zero_grad()
                accelerator.backward(loss)
                optimiser.step()

    return train


def skorch(fused: bool, epochs: int, steps: int) -> Train:
    import torch
    from skorch import NeuralNetClassifier
    from torch import nn

    X, y = make_data(steps)
    net = NeuralNetClassifier(
        make_model(),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW,
        optimizer__fused=fused,
        lr=LEARNING_RATE,
        batch_size=BATCH,
        max_epochs=epochs,
        iterator_train__shuffle=True,
        train_split=None,
    )
    return lambda: net.fit(X, y)


VARIANTS: dict[str, Callable[[bool, int, int], Train]] = {
    "gather": gather,
    "dataloader": dataloader,
    "flambeau": flambeau,
    "fabric": fabric,
    "skorch": skorch,
    "accelerate": accelerate,
    "hf-trainer": hf_trainer,
    "fastai": fastai,
    "lightning": lightning,
}
BY_HAND = ("gather", "dataloader")


def measure(name: str, fused: bool, epochs: int, steps: int, cpu_time: bool) -> float:
    """Seconds a step, in this process."""
    import torch

    torch.set_num_threads(1)
    from flambeau.core.compat import mend_torchvision

    mend_torchvision()
    torch.manual_seed(0)
    VARIANTS[name](fused, 1, WARM_UP)()
    # One epoch of 200 and one of 200 + N steps; or, in epochs of N / E steps, one and 1 + E of them.
    runs = [(1, WARM_UP), (1, WARM_UP + steps)]
    if epochs > 1:
        runs = [(1, steps // epochs), (1 + epochs, steps // epochs)]
    clock = time.process_time if cpu_time else time.perf_counter
    times = []
    for run in runs:
        train = VARIANTS[name](fused, *run)
        started = clock()
        train()
        times.append(clock() - started)
    return (times[1] - times[0]) / steps


def main() -> int:
    arguments = parser(__doc__, rounds=5)
    arguments.add_argument("--steps", type=int, default=2000)
    arguments.add_argument("--epochs", type=int, default=1, help="epochs that the steps are split into")
    arguments.add_argument("--cpu-time", action="store_true", help="processor time, not wall time: for a busy machine")
    arguments.add_argument("--only", help="variants with commas between: " + ", ".join(VARIANTS))
    arguments.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    arguments.add_argument("--plain-adamw", action="store_true", help="AdamW as it comes for all, not the fused one")
    arguments.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.variant:
        fused = not options.plain_adamw
        seconds = measure(options.variant, fused, options.epochs, options.steps, options.cpu_time)
        options.out.write_text(json.dumps({"microseconds": seconds * 1e6}))
        return 0
    return report(options)


def report(options: argparse.Namespace) -> int:
    chosen = options.only.split(",") if options.only else list(VARIANTS)
    unknown = [name for name in chosen if name not in VARIANTS]
    if unknown:
        print(f"no variant is called {unknown[0]!r}; known: {', '.join(VARIANTS)}", file=sys.stderr)
        return 2

    def competitor(name: str, plain: bool) -> Callable[[], float]:
        command = [str(Path(__file__).resolve()), "--variant", name, f"--steps={options.steps}"]
        command += [f"--epochs={options.epochs}"] + ["--plain-adamw"] * plain
        command += ["--cpu-time"] * options.cpu_time
        return lambda: float(run_child(command, threads=1, timeout=600)["microseconds"])

    plain = options.plain_adamw
    competitors = {name: competitor(name, plain) for name in chosen}
    if not plain:  # the usual AdamW too: nobody shall think that the fused one is all that there is to it
        competitors |= {f"{n} (AdamW as it comes)": competitor(n, True) for n in BY_HAND if n in chosen}
    figures = interleave(competitors, options.rounds, speaker(options.quiet))

    middle = {name: median(values) for name, values in figures.items()}
    if options.json:
        print(json.dumps({"unit": "µs a step", **{name: summary(values) for name, values in figures.items()}}))
    else:
        heads = ["", "µs a step", "min", "max"] + [f"over {n}" for n in BY_HAND if n in chosen]
        rows = [heads]
        for name, values in figures.items():
            over = [f"{middle[name] - middle[n]:+.0f}" for n in BY_HAND if n in chosen]
            rows.append([name, f"{middle[name]:.0f}", f"{min(values):.0f}", f"{max(values):.0f}", *over])
        print(table(rows))
    if "flambeau" not in chosen or not set(BY_HAND) <= set(chosen):
        return 0
    added = median([a - b for a, b in zip(figures["flambeau"], figures["gather"], strict=True)])
    holds = added <= PROMISED and middle["flambeau"] < middle["dataloader"]
    if not options.json:
        print(f"\nflambeau / gather: {compare(figures['flambeau'], figures['gather'])}")
        print(f"flambeau / dataloader: {compare(figures['flambeau'], figures['dataloader'])}")
        print(verdict(added <= PROMISED, f"{added:+.0f} µs a step over gather; promised at most {PROMISED:.0f}"))
        print(verdict(middle["flambeau"] < middle["dataloader"], "faster than the loop with a DataLoader"))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
