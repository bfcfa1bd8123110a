"""Your own model, loss and torch Dataset; stopped in the middle, and resumed to the same weights.

    python examples/own_parts.py

Nothing here is Flambeau's but the loop: what you have in plain PyTorch is handed over as it is.
"""

from __future__ import annotations

from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import Dataset

import flambeau as fb


class Digits(Dataset):
    """Real digits: float32 (1, 8, 8) in 0…1 and their class."""

    def __init__(self, rows: slice):
        bunch = load_digits()
        self.x = torch.tensor(bunch.images[rows] / 16, dtype=torch.float32)[:, None]
        self.y = bunch.target[rows].tolist()

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self.x[row], self.y[row]


class Network(nn.Module):
    """Two convolutions and a linear layer, with dropout: (B, 1, 8, 8) to (B, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.2),
        )  # fmt: skip
        self.head = nn.Linear(32 * 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def focal_loss(output: Tensor, target: Tensor) -> Tensor:
    """Lin et al. 2017, arXiv:1708.02002: what is learned already counts less."""
    p = output.log_softmax(-1).gather(1, target[:, None])[:, 0]
    return -((1 - p.exp()) ** 2 * p).mean()


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """The share of right answers."""
    return (output.argmax(-1) == target).float().mean()


class Blackout(fb.Technique):
    """Ends the training at a step, as a crash does: without a word to it."""

    name = "blackout"

    def __init__(self, step: int | None = None):
        self.step = step

    def on_step_end(self, objective: fb.Objective, step: int) -> None:
        if step == self.step:
            raise RuntimeError("the lights went out")


def learner(run: Path, blackout: Blackout) -> fb.Learner:
    torch.manual_seed(0)  # your model's first weights are yours to decide
    data = (Digits(slice(0, 1400)), Digits(slice(1400, None)))
    return fb.Learner(
        data, model=Network(), loss=focal_loss, metrics=[accuracy], techniques=[blackout], epochs=8, run=run
    )


cut = fb.Run.free("cut", Path("runs/examples")).path
try:
    learner(cut, Blackout(step=150)).fit()
except RuntimeError as error:
    print(f"stopped: {error}")
metrics = learner(cut, Blackout()).fit(resume=True)
print(metrics)
assert metrics["accuracy"] >= 0.92, metrics  # the last 397 digits, by other writers than the first 1,400

whole = learner(fb.Run.free("whole", Path("runs/examples")).path, Blackout())
whole.fit()
resumed = fb.load(cut, model=Network()).objective.model.state_dict()
for name, value in whole.objective.model.state_dict().items():
    assert torch.equal(value, resumed[name]), f"{name} differs"
print("the resumed training and the one that was never stopped end with the same weights, to the last bit")
