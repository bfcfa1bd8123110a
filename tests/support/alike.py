"""Small trainings without dropout, whose curves are the same in one process and in several; also a script, which writes
them: torchrun --nproc-per-node 2 tests/support/alike.py FILE [shard]."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gan import GAN
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

import flambeau as fb

ROWS = 229  # 183 of them train: not a multiple of any batch here
Curve = list[dict[str, float]]
ADAM = {"optimizer": "adamw", "learning_rate": 3e-3, "epochs": 3, "keep": "last", "precision": "float32"}


def pictures(split: str = "random") -> fb.Dataset:
    digits = load_digits()
    return fb.Dataset.from_arrays(digits.images[:ROWS] / 16, digits.target[:ROWS], split=split)


def texts() -> fb.Dataset:
    random = np.random.default_rng(0)
    words = [f"{'abcd'[k]}{n}" for k in range(4) for n in range(8)]
    of = [random.integers(0, 2) for _ in range(ROWS)]
    length = random.integers(1, 30, ROWS)
    text = [
        " ".join(words[(16 * k + w) % 32] for w in random.integers(0, 20, n)) for k, n in zip(of, length, strict=True)
    ]
    return fb.Dataset.from_arrays(text, [f"kind {k}" for k in of])


def normed(*norms: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    # no biases before a mean is taken away: their gradients are rounding alone, which AdamW makes steps of
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, bias=False), norms[0], nn.ReLU(), nn.Flatten(),
        nn.Linear(72, 16, bias=False), norms[1], nn.ReLU(), nn.Linear(16, 10),
    )  # fmt: skip


def plain() -> fb.Learner:
    """Batches of 8, 3 to a step, the last of 7; a phase that is clipped, and an average that is validated."""
    return learner(pictures(), "mlp", batch_size=8, accumulate=3, techniques=["clip", "ema"])


def single() -> fb.Learner:
    """The last batch has one row, which is fewer than there are processes."""
    return learner(pictures(), "mlp", batch_size=13)


def ragged() -> fb.Learner:
    """Texts of 1 to 29 words, under a budget of padded tokens: batches of very different size."""
    without = {"model.options.dropout": 0.0, "model.options.token_dropout": 0.0}
    return learner(texts(), "textcnn", batch_size=16, max_tokens=200, **without)


def mixed() -> fb.Learner:
    """What is drawn for a whole batch, and a second pass."""
    return learner(pictures(), "mlp", batch_size=24, augment="light", techniques=["mixup alpha=0.4", "cutmix", "sam"])


def own() -> fb.Learner:
    digits = load_digits()
    x, y = torch.tensor(digits.data[:ROWS] / 16, dtype=torch.float32), torch.tensor(digits.target[:ROWS])
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    data = TensorDataset(x[:180], y[:180]), TensorDataset(x[180:], y[180:])
    return learner(data, model, batch_size=25, loss=nn.CrossEntropyLoss())


def normalised() -> fb.Learner:
    """Batch normalisation of pictures and of vectors; one layer without weights, one that counts a plain mean."""
    norms = nn.BatchNorm2d(8, affine=False), nn.BatchNorm1d(16, momentum=None)
    return learner(pictures(), normed(*norms), batch_size=26)


def deep() -> fb.Learner:
    """Blocks that are gathered one by one, each with its share of 13 rows; the last batch has one row."""
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Linear(32, 32), nn.ReLU()) for _ in range(4)]
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), *blocks, nn.Linear(32, 10))
    return learner(pictures(), model, batch_size=13, techniques=["clip norm=0.5", "gradient_centralisation"])


def accumulated() -> fb.Learner:
    """The tail of a step is shorter; pictures are mixed; the head learns faster than the rest."""
    return learner(pictures(), "mlp", batch_size=8, accumulate=3, techniques=["mixup"], backbone_lr_scale=0.5)


def adversarial() -> fb.Learner:
    """Two phases, noise of each process's own, measured by the first alone."""
    return learner(pictures(), objective=GAN(), batch_size=32)


def learner(data: Any, model: Any = None, **options: Any) -> fb.Learner:
    given = {**ADAM, **options}
    more = {name: given.pop(name) for name in [*given] if "." in name}
    recipe = fb.Recipe().with_settings(more) if more else None
    return fb.Learner(data, model, recipe=recipe, run=False, quiet=True, cache=Path.cwd() / "store", **given)


CASES: list[Callable[[], fb.Learner]] = [plain, single, ragged, mixed, own, normalised, adversarial]
SHARDED: list[Callable[[], fb.Learner]] = [deep, accumulated, ragged, normalised]


def curve(case: Callable[[], fb.Learner], shard: bool = False) -> dict[str, Any]:
    """What a training writes of its epochs, and the sum of its weights' magnitudes."""
    learning = case()
    learning.fit(check=False, shard=shard)
    model = learning.objective.model
    return {
        "epochs": [{"train_loss": line["train_loss"], **line["valid"]} for line in learning.trainer.history],
        "weights": sum(float(p.detach().double().abs().sum()) for p in model.parameters()),
        "rank": learning.processes.rank,
        "norms": [type(m).__name__ for m in model.modules() if "Norm" in type(m).__name__],
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    shard = "shard" in sys.argv
    curves = {case.__name__: curve(case, shard) for case in (SHARDED if shard else CASES)}
    rank = next(iter(curves.values()))["rank"]
    Path(f"{sys.argv[1]}.{rank}").write_text(json.dumps(curves))
