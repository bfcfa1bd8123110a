"""Two processes beside one: the same curve, and samples a second against one process and against plain DDP.

    python benchmarks/distributed.py [--rounds 3] [--rows 4000] [--quick]

A small convolutional network of pictures, the same with batch normalisation, and texts of 1 to 40 words under a budget
of padded tokens, all of whose last batches are odd: the largest difference of the training losses of three epochs, one
process and two with as many threads each, over the largest loss. Then samples a second of the pictures' last epoch: two
processes with half the threads each, one with all, and a loop by hand with torch's DistributedDataParallel, whose
processes gather and prepare their own rows only.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from _timing import compare, interleave, run_child
from torch import nn

import flambeau as fb

SAME = {"pictures": 1e-6, "normalised": 1e-4, "texts": 1e-6}  # relative
BATCH, EPOCHS = 128, 3


def pixels(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures (N, 28, 28) of noise, brighter in a place that tells their class."""
    random = torch.Generator().manual_seed(0)
    target = torch.randint(10, (rows,), generator=random)
    pictures = torch.randint(0, 128, (rows, 28, 28), generator=random)
    pictures[torch.arange(rows), :, 2 * target + 4] += 100
    return pictures.to(torch.uint8), target


def network(normalised: bool = False) -> nn.Module:
    torch.manual_seed(0)

    def block(ins: int, outs: int) -> list[nn.Module]:
        norm: list[nn.Module] = [nn.BatchNorm2d(outs)] if normalised else []
        return [nn.Conv2d(ins, outs, 3, padding=1, bias=not normalised), *norm, nn.ReLU(), nn.MaxPool2d(2)]

    return nn.Sequential(*block(1, 32), *block(32, 64), nn.Flatten(), nn.Linear(64 * 49, 128), nn.ReLU(),
                         nn.Linear(128, 10))  # fmt: skip


def learner(kind: str, rows: int) -> fb.Learner:
    settings: dict[str, Any] = {
        "run": False, "quiet": True, "epochs": EPOCHS, "precision": "float32", "augment": "none", "optimizer": "sgd",
        "learning_rate": 0.01, "keep": "last",
    }  # fmt: skip
    split = fb.Split("random", valid=0.02, test=0.0, seed=0)
    if kind != "texts":
        pictures, target = pixels(rows)
        data = fb.Dataset.from_arrays(pictures.numpy(), target.numpy(), split=split)
        return fb.Learner(data, network(kind == "normalised"), batch_size=BATCH, **settings)
    random = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 41, (rows // 4,), generator=random).tolist()
    texts = [" ".join(f"w{int(w)}" for w in torch.randint(200, (n,), generator=random)) for n in lengths]
    data = fb.Dataset.from_arrays(texts, ["even" if "w1" in t.split() else "odd" for t in texts], split=split)
    without = {"model.options.dropout": 0.0, "model.options.token_dropout": 0.0}
    recipe = fb.Recipe().with_settings(without)
    return fb.Learner(data, "textcnn", recipe=recipe, batch_size=32, max_tokens=600, **settings)


def ours(kind: str, rows: int) -> dict[str, Any] | None:
    learning = learner(kind, rows)
    learning.fit(check=False)
    assert learning.trainer is not None
    history = learning.trainer.history
    losses = [line["train_loss"] for line in history]
    if os.environ.get("RANK", "0") != "0":
        return None
    return {"losses": losses, "samples_per_second": history[-1]["speed"]["samples_per_second"]}


def ddp(kind: str, rows: int) -> dict[str, Any] | None:
    import torch.distributed as dist

    dist.init_process_group("gloo")
    rank, count = dist.get_rank(), dist.get_world_size()
    pictures, target = pixels(rows)
    rows -= round(0.02 * rows)
    network_ = network().to(memory_format=torch.channels_last)
    model = nn.parallel.DistributedDataParallel(network_)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=0.05)
    for epoch in range(EPOCHS):
        order = torch.randperm(rows, generator=torch.Generator().manual_seed(epoch))
        began = time.perf_counter()
        for batch in order.split(BATCH):
            own = batch[rank::count]
            x = pictures[own][:, None].float().div_(255).sub_(0.3).div_(0.2)
            loss = nn.functional.cross_entropy(model(x.contiguous(memory_format=torch.channels_last)), target[own])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seconds = time.perf_counter() - began
    dist.barrier()
    return {"samples_per_second": rows / seconds} if rank == 0 else None


def child(what: str, kind: str, rows: int, out: str) -> None:
    result = (ddp if what == "ddp" else ours)(kind, rows)
    if result is not None:
        Path(out).write_text(json.dumps(result))


def started(what: str, kind: str, rows: int) -> dict[str, Any]:
    """What a child says: `one` process with all threads; `alone`, one with half; `two`, or `ddp`, with half each."""
    threads = len(os.sched_getaffinity(0))
    script = [str(Path(__file__).resolve()), "--child", what, "--kind", kind, "--rows", str(rows)]
    if what in ("one", "alone"):
        return run_child(script, threads=threads if what == "one" else max(1, threads // 2))
    return run_child(["-m", "torch.distributed.run", "--nproc-per-node", "2", *script], threads=max(1, threads // 2))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=4005)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="one round of a tenth of the rows")
    for hidden in ("--child", "--kind", "--out"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.quick:
        asked.rows, asked.rounds = asked.rows // 10, 1
    if asked.child:
        child(asked.child, asked.kind, asked.rows, asked.out)
        return 0
    differences = {}
    for kind in SAME:
        one, two = (started(what, kind, asked.rows)["losses"] for what in ("alone", "two"))
        differences[kind] = max(abs(a - b) for a, b in zip(two, one, strict=True)) / max(one)
    competitors = {
        what: lambda what=what: started(what, "pictures", asked.rows)["samples_per_second"]  # type: ignore[misc]
        for what in ("one", "two", "ddp")
    }
    speeds = interleave(competitors, asked.rounds)
    ratios = {other: compare(speeds["two"], speeds[other]) for other in ("one", "ddp")}
    if asked.json:
        print(json.dumps({"differences": differences, "samples_per_second": speeds}))
    else:
        for kind, difference in differences.items():
            print(f"{kind:<12}largest relative difference of the losses {difference:.1e} (promised {SAME[kind]:.0e})")
        for what, values in speeds.items():
            print(f"{what:<12}{sorted(values)[len(values) // 2]:,.0f} samples a second")
        print(f"two processes / one with all threads: {ratios['one']}")
        print(f"two processes / plain DDP: {ratios['ddp']} (promised 1.00)")
    same = all(difference <= SAME[kind] for kind, difference in differences.items())
    return 0 if same and ratios["ddp"].of_medians >= 1.0 else 1


if __name__ == "__main__":
    sys.exit(main())
