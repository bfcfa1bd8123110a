"""What `precision: auto` takes on a processor, beside what is quicker: a training step in float32 and in bf16.

    python benchmarks/precision.py
    python benchmarks/precision.py --rounds 3 --only timm:mobilenetv3_large_100,timm:resnet18

Processor time of a step of 8 pictures of 128 px, forward and backward, on one thread and in the layout that a training
has, in turns. Ends with status 1 where what is taken needs over 1.1 of the other's time.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from _timing import interleave, table, verdict
from torch import nn

from flambeau.models import InputSpec, build
from flambeau.training.engine import Engine, choose

NETS = (
    "resnet18", "timm:regnety_004", "timm:tf_efficientnet_lite0", "timm:efficientnet_b0", "timm:mobilenetv2_100",
    "timm:mobilenetv3_large_100", "timm:convnext_atto",
)  # fmt: skip
PICTURES, SIZE, STEPS, LEAST = 8, 128, 3, 1.1


def step_of(model: nn.Module, engine: Engine) -> Callable[[], float]:
    """Seconds of the processor that a step takes."""
    x = torch.randn(PICTURES, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    x = x.to(memory_format=torch.channels_last) if engine.channels_last else x

    def step() -> float:
        started = time.process_time()
        for _ in range(STEPS):
            with engine.autocast():
                loss = model(x).float().square().mean()
            model.zero_grad()
            loss.backward()
        return (time.process_time() - started) / STEPS

    step()  # warm
    return step


def main() -> int:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--only", default=",".join(NETS), help="names of models, with commas between")
    asked = arguments.parse_args()
    torch.set_num_threads(1)
    rows, held = [["", "float32, ms", "bf16, ms", "bf16 / float32", "auto takes"]], []
    for name in asked.only.split(","):
        steps, taken = dict[str, Callable[[], float]](), ""
        for precision in ("float32", "bf16"):
            model = build(name, InputSpec("image", (3, SIZE, SIZE)), 10).model
            taken = "bf16" if choose(model, device="cpu").autocast_dtype else "float32"
            engine = choose(model, device="cpu", precision=precision)
            engine.place(model)
            steps[precision] = step_of(model.train(), engine)
        medians = {p: statistics.median(times) for p, times in interleave(steps, asked.rounds).items()}
        ratio = medians["bf16"] / medians["float32"]
        rows.append([name, *(f"{1000 * seconds:.0f}" for seconds in medians.values()), f"{ratio:.2f}", taken])
        held.append((medians[taken] <= LEAST * min(medians.values()), f"{name}: what is taken is not the slower"))
    print(table(rows))
    for holds, promise in held:
        print(verdict(holds, promise))
    return int(not all(holds for holds, _ in held))


if __name__ == "__main__":
    sys.exit(main())
