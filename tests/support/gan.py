"""A small generative adversarial network as a user writes one: an Objective of two phases, and no more."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.data.batch import Batch
from flambeau.objectives import Objective

NOISE = 16


class GAN(Objective):
    """Goodfellow et al. 2014, arXiv:1406.2661, on 8×8 pictures (B, 1, 8, 8), with the non-saturating loss."""

    phases = ("discriminator", "generator")

    def __init__(self, seed: int = 0):
        torch.manual_seed(seed)
        self.judge = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Dropout(0.1), nn.Linear(64, 1)
        )
        self.generate = nn.Sequential(nn.Linear(NOISE, 64), nn.ReLU(), nn.Linear(64, 64), nn.Unflatten(1, (1, 8, 8)))
        self.model = nn.ModuleDict({"discriminator": self.judge, "generator": self.generate})
        # the noise of each row in validation, so that it measures the same however it is batched
        self.fixed = torch.randn(2000, NOISE, generator=torch.Generator().manual_seed(1))
        self.start_evaluation()

    def parameters(self, phase: str) -> list[nn.Parameter]:
        return list((self.generate if phase == "generator" else self.judge).parameters())

    def loss(self, batch: Batch, phase: str) -> Tensor:
        fake = self.generate(torch.randn(len(batch), NOISE))
        if phase == "generator":
            return _bce(self.judge(fake), 1.0)
        return (_bce(self.judge(batch.input), 1.0) + _bce(self.judge(fake.detach()), 0.0)) / 2

    def start_evaluation(self, detail: bool = False) -> None:
        self._sums, self._count = torch.zeros(2, dtype=torch.float64), 0

    def evaluate(self, batch: Batch) -> None:
        fake = self.generate(self.fixed[batch.rows])
        loss = (_bce(self.judge(batch.input), 1.0) + _bce(self.judge(fake), 0.0)) / 2
        difference = fake.mean() - batch.input.mean()
        self._sums += torch.stack([loss, difference]).double() * len(batch)
        self._count += len(batch)

    def metrics(self) -> dict[str, float]:
        loss, difference = (self._sums / max(self._count, 1)).tolist()
        return {"loss": loss, "brightness": difference}

    def detail(self) -> dict[str, Any]:
        with torch.no_grad():
            return {"kind": "pictures", "pictures": self.generate(self.fixed[:4]).tolist()}

    def predict(self, batch: Batch) -> Tensor:
        with torch.inference_mode():
            return self.judge(batch.input).sigmoid()


def _bce(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))
