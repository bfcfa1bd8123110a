"""FGSM and PGD beside torchattacks on the same model with the same epsilon; and what adversarial training brings.

    pip install --no-deps torchattacks==3.5.1
    python benchmarks/attack.py
    python benchmarks/attack.py --train 1000 --epochs 2 --test 200

Fashion-MNIST, a small ResNet-9 trained from scratch as it is, and one with the technique `adversarial epsilon=8/255
steps=3`, with the same seed. Both attacks run on the same held-out pictures in 0…1, PGD with 10 steps of 2/255 from a
random start, as torchattacks has it. Promised: ours leaves at most one point more accuracy than theirs, and adversarial
training raises accuracy under PGD at 8/255 by 30 points. Ends with status 1 where one does not hold.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import _data
import numpy as np
import torch
import torch.nn.functional as F
from _timing import table
from torch import Tensor, nn

import flambeau as fb
from flambeau.robustness import fgsm, pgd
from flambeau.studies.victim import Victim

EPSILONS = (2, 4, 8)  # of 255
STEPS, STEP = 10, 2 / 255
LEAVES, RAISES = 0.01, 0.30


class InUnits(nn.Module):
    """A run's model for pictures in 0…1, as torchattacks takes it."""

    def __init__(self, victim: Victim):
        super().__init__()
        self.net, self.victim = victim.objective.model, victim

    def forward(self, units: Tensor) -> Tensor:
        return self.victim.model(units)


def attacked(victim: Victim, peers: bool) -> dict[tuple[str, int], tuple[float, float]]:
    """(accuracy, seconds) by (attack, epsilon · 255)."""
    batches = [(victim.units(batch), victim.labels(batch)) for batch in victim.batches()]
    units, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    model = InUnits(victim).eval()
    ours = {
        "fgsm": lambda epsilon: fgsm(model, F.cross_entropy, units, labels, epsilon),
        "pgd": lambda epsilon: pgd(
            model, F.cross_entropy, units, labels, epsilon, steps=STEPS, step=STEP, generator=torch.Generator()
        ),
    }
    ways = {("ours", name): way for name, way in ours.items()}
    if peers:
        import torchattacks

        ways["torchattacks", "fgsm"] = lambda epsilon: torchattacks.FGSM(model, eps=epsilon)(units, labels)
        ways["torchattacks", "pgd"] = lambda epsilon: torchattacks.PGD(model, eps=epsilon, alpha=STEP, steps=STEPS)(
            units, labels
        )
    found = {}
    for (whose, name), way in ways.items():
        for epsilon in EPSILONS:
            began = time.perf_counter()
            moved = way(epsilon / 255)
            seconds = time.perf_counter() - began
            assert float((moved - units).abs().max()) <= epsilon / 255 + 1e-6
            right = float((victim.answers(moved) == labels).float().mean())
            found[f"{whose} {name}", epsilon] = right, seconds
    found["untouched", 0] = float((victim.answers(units) == labels).float().mean()), 0.0
    return found


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--train", type=int, default=3000)
    arguments.add_argument("--test", type=int, default=300)
    arguments.add_argument("--epochs", type=int, default=6)
    arguments.add_argument("--model", default="resnet9")
    arguments.add_argument("--seed", type=int, default=0)
    asked = arguments.parse_args()
    try:
        import torchattacks  # noqa: F401
    except ImportError as error:
        print(f"torchattacks is not beside it: {error}")
    x, y, test_x, test_y = _data.fashion_mnist_arrays()
    rows = np.random.default_rng(asked.seed).permutation(len(x))[: asked.train]
    held = fb.Dataset.from_arrays(test_x[: asked.test], test_y[: asked.test], split="none")
    kept, good = {}, True
    for name, techniques in {"plain": [], "hardened": [{"adversarial": {"epsilon": 8 / 255, "steps": 3}}]}.items():
        with tempfile.TemporaryDirectory() as folder:
            data = fb.Dataset.from_arrays(x[rows], [y[i] for i in rows])
            began = time.perf_counter()
            settings = {"model.options.width": 8} if asked.model == "resnet9" else {}
            fb.Learner(
                data, model=asked.model, epochs=asked.epochs, techniques=techniques, seed=asked.seed, baseline=False,
                run=Path(folder) / name, augment="none", quiet=True, **settings,
            ).fit(check=False)  # fmt: skip
            seconds = time.perf_counter() - began
            victim = Victim(Path(folder) / name, held, rows=asked.test, seed=asked.seed, device="cpu")
            found = attacked(victim, "torchattacks" in sys.modules)
        print(f"\n{name}: trained in {seconds:.0f} s, accuracy {found['untouched', 0][0]:.3f} on {asked.test} pictures")
        lines = []
        for attack in ("fgsm", "pgd"):
            for epsilon in EPSILONS:
                own, theirs = (
                    found[f"ours {attack}", epsilon],
                    found.get((f"torchattacks {attack}", epsilon), (None, None)),
                )
                line = [attack, f"{epsilon}/255", f"{own[0]:.3f}", f"{own[1]:.2f}"]
                if theirs[0] is not None:
                    line += [f"{theirs[0]:.3f}", f"{theirs[1]:.2f}"]
                    good &= own[0] <= theirs[0] + LEAVES
                lines.append(line)
        head = ["attack", "epsilon", "ours", "s", "torchattacks", "s"]
        print(table([head[: len(lines[0])], *lines]), flush=True)
        kept[name] = found["ours pgd", 8][0]
    gain = kept["hardened"] - kept["plain"]
    print(f"\nadversarial training raises accuracy under PGD at 8/255 by {100 * gain:.1f} points")
    return 0 if good and gain >= RAISES else 1


if __name__ == "__main__":
    sys.exit(main())
