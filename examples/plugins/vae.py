"""A variational autoencoder: Kingma & Welling 2013, arXiv:1312.6114. For pictures, without labels.

flambeau train photos/ --plugin examples/plugins/vae.py --objective vae --set objective.beta=0.5
flambeau predict runs/photos --plugin examples/plugins/vae.py --generate 16 --out new/
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flambeau.data.batch import Batch
from flambeau.fields import Field
from flambeau.objectives import OBJECTIVES, Context, Objective
from flambeau.objectives.prediction import Prediction

SHOWN = 8


@OBJECTIVES.register("vae")
class VAE(Objective):
    """Squared error of the reconstruction (B, C, H, W), and `beta` times the divergence of the code (B, D)."""

    settings = ("beta", "code", "hidden")

    def __init__(self, field: Field, shape: Sequence[int], beta: float, code: int, hidden: int):
        self.field, self.beta, pixels = field, beta, math.prod(shape)
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(pixels, hidden), nn.GELU(), nn.Linear(hidden, 2 * code))
        decoder = (nn.Linear(code, hidden), nn.GELU(), nn.Linear(hidden, pixels), nn.Unflatten(1, tuple(shape)))
        self.decoder, self.code = nn.Sequential(*decoder), code
        self.model = nn.ModuleDict({"encoder": self.encoder, "decoder": self.decoder})
        self.start_evaluation()

    @classmethod
    def build(cls, context: Context, beta: float = 1.0, code: int = 16, hidden: int = 128) -> VAE:
        return cls(context.input, context.input.input_shape, beta, code, hidden)

    def parts(self, batch: Batch, drawn: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruction, its squared error (B) and the divergence of the code (B)."""
        mean, log_variance = self.encoder(batch.input).float().chunk(2, 1)
        code = mean + torch.randn_like(mean) * (log_variance / 2).exp() if drawn else mean
        made = self.decoder(code).float()
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2
        return made, (made - batch.input).square().flatten(1).sum(1) / 2, divergence

    def loss(self, batch: Batch, phase: str = "train") -> Tensor:
        _, error, divergence = self.parts(batch, drawn=True)
        return (error + self.beta * divergence).mean()

    def start_evaluation(self, detail: bool = False) -> None:
        self.sums, self.count, self.shown, self.detailed = torch.zeros(2).double(), 0, [], detail

    def evaluate(self, batch: Batch) -> None:
        made, error, divergence = self.parts(batch, drawn=False)
        self.sums += torch.stack([error.double().sum(), divergence.double().sum()]).cpu()
        self.count += len(batch)
        if self.detailed and len(self.shown) < SHOWN:
            pictures = self.field.restore(made[: SHOWN - len(self.shown)])
            self.shown += [{"caption": "reconstructed", "html": self.field.render(picture)} for picture in pictures]

    def metrics(self) -> dict[str, float]:
        error, divergence = (self.sums / max(self.count, 1)).tolist()
        return {"loss": error + self.beta * divergence, "reconstruction": error, "divergence": divergence}

    def detail(self) -> dict[str, Any]:
        return {"kind": "pictures", "pictures": self.shown}

    def predict(self, batch: Batch) -> Tensor:
        with torch.inference_mode():
            return self.encoder(batch.input).float().chunk(2, 1)[0]

    def decode(
        self, output: np.ndarray, reject_below: float = 0.0, asked: Field | None = None, value: Any = None
    ) -> Prediction:
        return Prediction(output.tolist())  # the code

    def generate(self, count: int, generator: torch.Generator) -> Tensor:
        code = torch.randn(count, self.code, generator=generator)
        return self.decoder(code.to(next(self.model.parameters()).device)).float()
