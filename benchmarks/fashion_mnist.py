"""A whole `flambeau train` with no tuning flags on Fashion-MNIST: its accuracy and its time.

    .venv-peers/bin/python benchmarks/fashion_mnist.py
    .venv-peers/bin/python benchmarks/fashion_mnist.py --epochs-limit 2

60,000 + 10,000 pictures as folders of PNGs. Ours is the command as a user types it, from start to
end: import, check, encoding, training with validation, report. The peers get what our run wrote
into its recipe: the same model, batch size, rates, epochs, share of validation and augmentation.
They are plain PyTorch with torchvision's ImageFolder and DataLoader, and fastai, each in float32
with two worker processes; their time ends when the model is saved. The test accuracy of all three
is measured afterwards and is not in the time.

With --epochs-limit N each is stopped after N epochs, and the time of the whole is taken to be that of
those and the median epoch for each one that is missing; nobody's closing steps are in it then, and no
accuracy is claimed.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from _data import cached_fashion_mnist
from _timing import parser, table, verdict

ACCURACY, SHARE = 0.930, 0.7
PEERS = {"pytorch": "PyTorch + DataLoader", "fastai": "fastai"}


def flambeau_command(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("flambeau")), *arguments]


def epochs_in(metrics: Path) -> int:
    """How many epochs a run has finished, by its metrics.jsonl."""
    if not metrics.exists():
        return 0
    return sum('"train_loss"' in line for line in metrics.read_text().splitlines())


def train_ours(data: Path, work: Path, limit: int | None, flags: list[str]) -> dict[str, Any]:
    """Runs `flambeau train`: {seconds, ends (of each epoch, from the start)}. Stops after `limit` epochs."""
    metrics = work / "run" / "metrics.jsonl"
    ends: list[float] = []
    with (work / "ours.log").open("w") as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            flambeau_command("train", str(data), "--run", "run", *flags), cwd=work, stdout=log, stderr=log
        )
        try:
            while process.poll() is None:
                ends += [time.perf_counter() - started] * (epochs_in(metrics) - len(ends))
                if limit is not None and len(ends) >= limit:
                    process.send_signal(signal.SIGINT)
                    process.wait(timeout=120)
                    break
                time.sleep(0.02)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    elapsed = time.perf_counter() - started
    if process.returncode != 0 and (limit is None or len(ends) < limit):
        said = (work / "ours.log").read_text()[-3000:]
        raise SystemExit(f"flambeau train ended with {process.returncode}:\n{said}")
    return {"seconds": elapsed, "ends": ends}


def evaluate_ours(work: Path) -> float:
    """Test accuracy of our run, by `flambeau evaluate`."""
    command = flambeau_command("evaluate", "run", "--json")
    said = subprocess.run(command, cwd=work, check=True, capture_output=True, text=True).stdout
    return float(find(json.loads(said), "accuracy"))


def find(tree: Any, key: str) -> Any:
    """The first value of a key, anywhere in plain JSON."""
    if isinstance(tree, dict):
        if key in tree:
            return tree[key]
        tree = list(tree.values())
    for branch in tree if isinstance(tree, list) else []:
        found = find(branch, key)
        if found is not None:
            return found
    return None


def plan_of(run: Path, data: Path) -> dict[str, Any]:
    """What our run trained, as the peers' plan."""
    from flambeau.data.split import Split
    from flambeau.run import Run

    opened = Run.open(run)
    recipe, image = opened.recipe, opened.fields()[0]["image"]
    training = recipe.training
    if training.optimizer != "adamw" or training.schedule != "one_cycle" or training.accumulate != 1:
        raise SystemExit("the peers' scripts know AdamW with one_cycle only; the recipe has something else")
    unknown = set(recipe.techniques) - {"label_smoothing"}
    if unknown:
        raise SystemExit(f"the peers' scripts do not know the technique {sorted(unknown)[0]}")
    smoothing = recipe.techniques.get("label_smoothing")
    files = sum(1 for _ in (data / "train").glob("*/*"))
    assert training.batch_size and image.size and image.augmentation is not False
    return {
        "model": recipe.model.name,
        "classes": len([path for path in (data / "train").iterdir() if path.is_dir()]),
        "size": image.size[0],
        "epochs": training.epochs,
        "batch_size": training.batch_size,
        "learning_rate": training.learning_rate,
        "weight_decay": training.weight_decay,
        "warmup": training.warmup,
        "seed": training.seed,
        "valid": recipe.data["split"]["valid"] or Split(test=0.0).decided(files, few=False).valid,
        "label_smoothing": 0.0 if smoothing is None else smoothing.get("amount", 0.1),
        "augment": image.augment or {},
        "mean": image.mean,
        "std": image.std,
    }


def train_peer(name: str, data: Path, plan: dict[str, Any], work: Path, limit: int | None) -> dict[str, Any]:
    """Runs a peer's script: {seconds, ends, accuracy}, times from its start."""
    (work / "plan.json").write_text(json.dumps(plan))
    script, out = Path(__file__).with_name("_fashion_peers.py"), work / f"{name}.json"
    command = [sys.executable, str(script.resolve()), name, "--data", str(data), "--plan", "plan.json"]
    command += ["--out", str(out)] + (["--epochs-limit", str(limit)] if limit else [])
    with (work / f"{name}.log").open("w") as log:
        started = time.time()
        status = subprocess.run(
            command, cwd=work, stdout=log, stderr=log, env=dict(os.environ, PYTHONWARNINGS="ignore")
        ).returncode
    if status != 0:
        raise SystemExit(f"{name} ended with {status}:\n{(work / f'{name}.log').read_text()[-3000:]}")
    told = json.loads(out.read_text())
    return {
        "seconds": told["finished"] - started,
        "ends": [end - started for end in told["ends"]],
        "accuracy": told["accuracy"],
    }


def whole(result: dict[str, Any], epochs: int, limit: int | None) -> dict[str, float]:
    """Seconds of an epoch, before the first one, and of the whole (extrapolated under a limit)."""
    ends = result["ends"]
    each = median([b - a for a, b in pairwise(ends)]) if len(ends) > 1 else ends[0]
    before = max(ends[0] - each, 0.0)
    total = result["seconds"] if limit is None else ends[-1] + (epochs - len(ends)) * each
    return {"epoch": each, "before": before, "total": total}


def main() -> int:
    arguments = parser(__doc__, rounds=1)
    arguments.add_argument("--data", type=Path, help="the pictures as train/ and test/ folders; made if not given")
    arguments.add_argument("--epochs-limit", type=int, help="time so many epochs of each (2 or more) and extrapolate")
    arguments.add_argument("--without", default="", help="peers to leave out: pytorch, fastai")
    arguments.add_argument("--flags", default="", help="for `flambeau train`; what is promised is without any")
    options = arguments.parse_args()
    data = (options.data or cached_fashion_mnist()).resolve()
    peers = [name for name in PEERS if name not in options.without.split(",")]
    rounds = [one_round(data, peers, options) for _ in range(options.rounds)]
    return report(rounds, peers, options)


def one_round(data: Path, peers: list[str], options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """The figures of ours and of each peer, run one after the other."""
    limit = options.epochs_limit
    say = (lambda text: None) if options.quiet else (lambda text: print(text, file=sys.stderr, flush=True))
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="flambeau-benchmark-") as folder:
        work = Path(folder)
        ours = train_ours(data, work, limit, shlex.split(options.flags))
        plan = plan_of(work / "run", data)
        say("plan: " + json.dumps(plan))
        figures["flambeau"] = whole(ours, plan["epochs"], limit)
        if limit is None:
            figures["flambeau"]["accuracy"] = evaluate_ours(work)
        say(f"flambeau: {figures['flambeau']}")
        for name in peers:
            result = train_peer(name, data, plan, work, limit)
            figures[name] = whole(result, plan["epochs"], limit)
            if limit is None:
                figures[name]["accuracy"] = result["accuracy"]
            say(f"{name}: {figures[name]}")
    return figures


def report(rounds: list[dict[str, dict[str, float]]], peers: list[str], options: argparse.Namespace) -> int:
    middle = {name: {key: median([r[name][key] for r in rounds]) for key in rounds[0][name]} for name in rounds[0]}
    ratios = {name: median([r["flambeau"]["total"] / r[name]["total"] for r in rounds]) for name in peers}
    if options.json:
        print(json.dumps({"figures": middle, "time_against": ratios, "extrapolated": bool(options.epochs_limit)}))
    else:
        rows: list[tuple[str, ...]] = [
            ("", "whole, s", "an epoch, s", "before the first, s", "test accuracy", "ours / this")
        ]
        for name, figure in middle.items():
            accuracy = f"{figure['accuracy']:.2%}" if "accuracy" in figure else "–"
            ratio = f"{ratios[name]:.2f}" if name in ratios else ""
            seconds = [f"{figure[key]:.1f}" for key in ("total", "epoch", "before")]
            rows.append((PEERS.get(name, name), *seconds, accuracy, ratio))
        print(table(rows))
    verdicts = [(ratios[name] <= SHARE, f"promised at most {SHARE}× the time of {PEERS[name]}") for name in peers]
    if "accuracy" in middle["flambeau"]:
        good = middle["flambeau"]["accuracy"] >= ACCURACY
        verdicts.append((good, f"promised at least {ACCURACY:.1%} test accuracy"))
    if not options.json:
        print("\n" + "\n".join(verdict(*v) for v in verdicts))
    return 0 if all(holds for holds, _ in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
