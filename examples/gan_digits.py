"""A generative adversarial network through the same loop: an Objective of two phases.

    python examples/gan_digits.py

Each phase has its own parameters and its own optimiser; checkpoints, resuming and logs are those of any training.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

import flambeau as fb

NOISE = 32


class GAN(fb.Objective):
    """Goodfellow et al. 2014, arXiv:1406.2661, with the non-saturating loss, on pictures (B, 1, 8, 8)."""

    phases = ("discriminator", "generator")
    model: nn.ModuleDict

    def __init__(self) -> None:
        self.model = nn.ModuleDict({
            "discriminator": nn.Sequential(
                nn.Flatten(), nn.Linear(64, 256), nn.LeakyReLU(0.2), nn.Dropout(0.1),
                nn.Linear(256, 128), nn.LeakyReLU(0.2), nn.Dropout(0.1), nn.Linear(128, 1),
            ),
            "generator": nn.Sequential(
                nn.Linear(NOISE, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 256), nn.BatchNorm1d(256),
                nn.ReLU(), nn.Linear(256, 64), nn.Unflatten(1, (1, 8, 8)),
            ),
        })  # fmt: skip

    def parameters(self, phase: str) -> list[nn.Parameter]:
        return list(self.model[phase].parameters())

    def generate(self, count: int) -> Tensor:
        device = next(self.model.parameters()).device
        return self.model["generator"](torch.randn(count, NOISE, device=device))

    def loss(self, batch, phase: str) -> Tensor:
        fake = self.generate(len(batch))
        judge = self.model["discriminator"]
        if phase == "generator":
            return F.softplus(-judge(fake)).mean()
        return F.softplus(-judge(batch.input)).mean() + F.softplus(judge(fake.detach())).mean()

    def start_evaluation(self, detail: bool = False) -> None:
        self.real: list[Tensor] = []

    def evaluate(self, batch) -> None:
        self.real.append(batch.input)

    def metrics(self) -> dict[str, float]:
        """How far the averages of real and generated pictures lie apart."""
        real = torch.cat(self.real)
        return {"loss": float((real.mean(0) - self.generate(len(real)).detach().mean(0)).abs().mean())}


digits = load_digits()
images = digits.images / 16
data = fb.Dataset.from_arrays(images, split="random")  # pictures alone, without a target
gan = GAN()
learner = fb.Learner(
    data, objective=gan, augment="none", epochs=100, batch_size=64, learning_rate=2e-3, schedule="constant",
    weight_decay=0.0, optimizer="adam", optimizer_options={"betas": [0.5, 0.999]}, keep="last", run=False, quiet=True,
)  # fmt: skip
print(learner.fit())

field = learner.predictor.fields["x"]  # knows how its pictures were normalised
gan.model.eval()
with torch.no_grad():
    made = gan.generate(500).cpu().numpy()[:, 0] * field.std[0] + field.mean[0]
for rows in zip(*made[:6].clip(0, 1), strict=True):
    print("   ".join("".join(" .:-=+*#%@"[int(9 * v)] * 2 for v in row) for row in rows))

# how far a picture is from the nearest real one
real = torch.tensor(images[data.rows("train")].reshape(-1, 64))
labels = torch.tensor(digits.target[data.rows("train")])


def nearest(pictures: np.ndarray) -> tuple[float, Tensor]:
    distances, rows = torch.cdist(torch.tensor(pictures.reshape(-1, 64), dtype=real.dtype), real).min(1)
    return float(distances.mean()), labels[rows]


random = np.random.default_rng(0)
noise = random.permuted(images, axis=0)[:500]  # each pixel as it is in some digit: noise of the best kind
held_out, painted, by_chance = (nearest(x)[0] for x in (images[data.rows("test")], made, noise))
print(
    f"to the nearest real digit: {held_out:.2f} from a held out digit, {painted:.2f} generated, {by_chance:.2f} noise"
)
assert painted < (held_out + by_chance) / 2
kinds = len(nearest(made)[1].unique())
print(f"{kinds} of the ten digits are among them")
assert kinds >= 8
