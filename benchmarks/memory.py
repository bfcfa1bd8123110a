"""Peak memory of a whole `flambeau train`: on 60,000 small pictures, and on 20,000 photos.

    .venv-peers/bin/python benchmarks/memory.py
    .venv-peers/bin/python benchmarks/memory.py --only photos --count 2000

What the model takes (weights, gradients, optimiser states, the activations of one batch) is measured in
a bare PyTorch loop of the same model, batch size and optimiser over one constant batch: its peak less
what `import torch` takes.

The peak is what the kernel counted as resident (the largest of the process), store pages included:
the store is memory-mapped, and its pages are counted while they are resident although the kernel
may drop them at any time. The promise is that it stays within the store, the model and 500 MB.
Beside it stand the two kinds of memory, sampled ten times a second from /proc/<pid>/smaps_rollup:
anonymous (the process's own) and of files (libraries, the store). Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _data import cached_fashion_mnist, cached_photos
from _timing import parser, table, verdict

ALLOWANCE = 500.0  # MB over store and model
MB = 1e6


def peak_of(command: list[str], work: Path) -> dict[str, float]:
    """Runs a command: MB of its resident peak, and of the peaks of its anonymous and of its file memory."""
    peaks = {"anonymous": 0.0, "files": 0.0}
    with (work / "log.txt").open("w") as log:
        process = subprocess.Popen(command, cwd=work, stdout=log, stderr=log)
        while True:
            # wait4, not Popen.poll: its usage is of this child alone, with a peak that no sampling can miss
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            for name, value in resident(process.pid).items():
                peaks[name] = max(peaks[name], value)
            time.sleep(0.1)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        said = (work / "log.txt").read_text()[-3000:]
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{said}")
    return {"resident": usage.ru_maxrss * 1024 / MB, **peaks}


def resident(pid: int) -> dict[str, float]:
    """MB resident now: anonymous, and of files. Nothing once the process has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return {}
    pairs = (line.split()[:2] for line in text.splitlines()[1:])
    sizes = {name.rstrip(":"): int(kilobytes) * 1024 / MB for name, kilobytes in pairs}
    if "Rss" not in sizes:
        return {}
    return {"anonymous": sizes["Anonymous"], "files": sizes["Rss"] - sizes["Anonymous"]}


def size_of(folder: Path, pattern: str = "*") -> float:
    """MB of the files under a folder."""
    return sum(path.stat().st_size for path in folder.rglob(pattern) if path.is_file()) / MB


def measure(data: Path, options: argparse.Namespace) -> dict[str, float]:
    """Trains on a folder and returns the peaks beside the sizes of store and model, in MB."""
    with tempfile.TemporaryDirectory(prefix="flambeau-benchmark-") as folder:
        work = Path(folder)
        command = [str(Path(sys.executable).with_name("flambeau")), "train", str(data.resolve()), "--run", "run"]
        command += ["--epochs", str(options.epochs), *shlex.split(options.flags)]
        peaks = peak_of(command, work)
        return {"store": size_of(work / ".flambeau" / "store"), "model": bare_loop(work / "run", work), **peaks}


BARE = """
import sys, torch, torch.nn.functional as F
if len(sys.argv) > 1:
    import flambeau as fb
    from flambeau.models import InputSpec, build
    run = fb.Run.open(sys.argv[1])
    fields, inputs, target = run.fields()
    spec = InputSpec("image", fields[inputs[0]].input_shape)
    model = build(run.recipe.model.name, spec, fields[target].num_outputs).model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    batch = spec.example(run.recipe.training.batch_size).to(memory_format=torch.channels_last)
    labels = torch.zeros(len(batch), dtype=torch.int64)
    for _ in range(8):
        F.cross_entropy(model(batch), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
"""


def bare_loop(run: Path, work: Path) -> float:
    """MB that the run's model takes to train in plain PyTorch: the peak of a bare loop less that of `import torch`."""
    script = work / "bare.py"
    script.write_text(BARE)
    loop = peak_of([sys.executable, str(script), str(run)], work)
    torch_alone = peak_of([sys.executable, str(script)], work)
    return loop["resident"] - torch_alone["resident"]


def main() -> int:
    arguments = parser(__doc__, rounds=1)
    arguments.add_argument("--only", choices=("fashion-mnist", "photos"))
    arguments.add_argument("--count", type=int, default=20_000, help="photos (default 20000)")
    arguments.add_argument("--epochs", type=int, default=1, help="epochs of each training (default 1)")
    arguments.add_argument("--flags", default="", help="further flags for `flambeau train`")
    options = arguments.parse_args()
    holds = True
    rows: list[tuple[str, ...]] = [
        ("MB", "resident peak", "anonymous", "files", "store", "model", "allowed", "peak / allowed")
    ]
    results = {}
    for name in ("fashion-mnist", "photos"):
        if options.only not in (None, name):
            continue
        data = cached_fashion_mnist() if name == "fashion-mnist" else cached_photos(options.count)
        rounds = [measure(data, options) for _ in range(options.rounds)]
        worst = max(rounds, key=lambda r: r["resident"])
        allowed = worst["store"] + worst["model"] + ALLOWANCE
        holds = holds and worst["resident"] <= allowed
        results[name] = {**worst, "allowed": allowed}
        keys = ("resident", "anonymous", "files", "store", "model")
        ratio = f"{worst['resident'] / allowed:.2f}"
        rows.append((name, *(f"{worst[key]:,.0f}" for key in keys), f"{allowed:,.0f}", ratio))
    if options.json:
        print(json.dumps({"unit": "MB", **results}))
    else:
        print(table(rows))
        print("\n" + verdict(holds, f"promised at most store + model + {ALLOWANCE:.0f} MB"))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
