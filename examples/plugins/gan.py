"""A generative adversarial network: Goodfellow et al. 2014, arXiv:1406.2661. For pictures, without labels.

flambeau train photos/ --plugin examples/plugins/gan.py --objective gan --set keep=last
flambeau predict runs/photos --plugin examples/plugins/gan.py --generate 16 --out new/
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.data.batch import Batch
from flambeau.fields import Field
from flambeau.objectives import OBJECTIVES, Context, Objective
from flambeau.objectives.prediction import Prediction

SHOWN = 8


@OBJECTIVES.register("gan")
class GAN(Objective):
    """The non-saturating loss, the discriminator's step first."""

    phases = ("discriminator", "generator")
    settings = ("noise", "hidden")

    def __init__(self, field: Field, shape: Sequence[int], noise: int, hidden: int):
        self.field, self.noise, pixels = field, noise, math.prod(shape)
        self.judge = nn.Sequential(nn.Flatten(), nn.Linear(pixels, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 1))
        maker = (nn.Linear(noise, hidden), nn.GELU(), nn.Linear(hidden, pixels), nn.Unflatten(1, tuple(shape)))
        self.maker = nn.Sequential(*maker)
        self.model = nn.ModuleDict({"discriminator": self.judge, "generator": self.maker})
        self.start_evaluation()

    @classmethod
    def build(cls, context: Context, noise: int = 32, hidden: int = 128) -> GAN:
        return cls(context.input, context.input.input_shape, noise, hidden)

    def parameters(self, phase: str) -> list[nn.Parameter]:
        return list(self.model[phase].parameters())

    def loss(self, batch: Batch, phase: str) -> Tensor:
        made = self.maker(torch.randn(len(batch), self.noise, device=batch.input.device))
        if phase == "generator":
            return judged(self.judge(made), 1.0).mean()
        return (judged(self.judge(batch.input), 1.0) + judged(self.judge(made.detach()), 0.0)).mean() / 2

    def start_evaluation(self, detail: bool = False) -> None:
        self.sums, self.count = torch.zeros(2).double(), 0

    def evaluate(self, batch: Batch) -> None:
        scores = self.judge(batch.input)
        self.sums += torch.stack([judged(scores, 1.0).sum(), (scores > 0).sum()]).double().cpu()
        self.count += len(batch)

    def metrics(self) -> dict[str, float]:
        loss, real = (self.sums / max(self.count, 1)).tolist()
        return {"loss": loss, "taken_for_real": real}

    def detail(self) -> dict[str, Any]:
        with torch.inference_mode():
            pictures = self.field.restore(self.generate(SHOWN, torch.Generator().manual_seed(0)))
        shown = [{"caption": "generated", "html": self.field.render(picture)} for picture in pictures]
        return {"kind": "pictures", "pictures": shown}

    def predict(self, batch: Batch) -> Tensor:
        with torch.inference_mode():
            return self.judge(batch.input).float().sigmoid()

    def decode(
        self, output: np.ndarray, reject_below: float = 0.0, asked: Field | None = None, value: Any = None
    ) -> Prediction:
        return Prediction(float(output[0]))  # how likely it is to be real

    def generate(self, count: int, generator: torch.Generator) -> Tensor:
        noise = torch.randn(count, self.noise, generator=generator)
        return self.maker(noise.to(next(self.model.parameters()).device)).float()


def judged(scores: Tensor, real: float) -> Tensor:
    """What scores (B, 1) cost, float (B)."""
    return F.binary_cross_entropy_with_logits(
        scores[:, 0].float(), scores.new_full((len(scores),), real).float(), reduction="none"
    )
