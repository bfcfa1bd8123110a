"""Variational autoencoders: Kingma & Welling 2013, arXiv:1312.6114; of a class that is asked for, Sohn et al. 2015.

flambeau train photos/ --objective vae --set objective.beta=0.5
flambeau generate runs/photos --count 16 --grid new.png
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from flambeau.core.shapes import Float
from flambeau.data.batch import Batch
from flambeau.objectives.base import OBJECTIVES, Context
from flambeau.objectives.generative.autoencoder import Coded
from flambeau.objectives.generative.likelihood import Likelihood
from flambeau.objectives.generative.watched import Signs

SCORED = 8
"""Noises that the score of a row is a mean over."""
NOISES = 4096
"""Rows of noise that an evaluation draws codes with, the same for a row each time."""
SIGMA_RATE = 10.0
"""Share of the learning rate that a learned standard deviation has: one number, far from where it begins."""


@OBJECTIVES.register("vae")
class VAE(Coded):
    """The negative evidence lower bound: the reconstruction's negative log-likelihood, and `beta` times the divergence
    of the code (B, D) from a standard normal.

    Args:
        beta: above 1 the numbers of a code come apart (Higgins et al. 2017), below 1 samples come back sharper.
        code: D.
        likelihood: `bernoulli`, `gaussian` or `auto`, see `Likelihood`.
        sigma: the Gaussian's standard deviation, where numbers of the data have 1; learned if not given.
        free_bits: bits of each number of a code that cost nothing, so that it is used (Kingma et al. 2016,
            arXiv:1606.04934); beside it `beta` counts only what is above.
        warm_up: steps in which `beta` rises from 0 (Bowman et al. 2016, arXiv:1511.06349).
    """

    settings = ("beta", "code", "likelihood", "sigma", "free_bits", "warm_up")
    measures = ("loss", "negative_elbo", "reconstruction", "divergence", "bits_per_dimension")

    def __init__(
        self, context: Context, beta: float = 1.0, code: int = 16, likelihood: str = "auto",
        sigma: float | None = None, free_bits: float = 0.0, warm_up: int = 0,
    ):  # fmt: skip
        super().__init__(context, code, 2, Likelihood(likelihood, context.input, sigma))
        self.beta, self.free, self.warm_up = beta, free_bits * math.log(2), warm_up
        self.noise = torch.randn(NOISES, code, generator=torch.Generator().manual_seed(0))
        if warm_up:
            self.head.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def posterior(self, batch: Batch) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D"]]:
        """Mean and log-variance of the code."""
        mean, log_variance = self.headed(batch.input, self.labels_of(batch)).chunk(2, 1)
        return mean, log_variance

    def parts(self, batch: Batch, noise: Tensor) -> tuple[Float[Tensor, " B"], Float[Tensor, "B D"]]:
        """The negative log-likelihood of codes drawn by standard normal noise (B, D), and the divergence of each of
        their numbers, in nats."""
        mean, log_variance = self.posterior(batch)
        decoded = self.decoded(mean + noise * (log_variance / 2).exp(), self.labels_of(batch))
        return self.likelihood(decoded, batch.input), divergence(mean, log_variance)

    def loss(self, batch: Batch, phase: str = "train") -> Tensor:
        cost, each = self.parts(batch, torch.randn(len(batch), self.code_size, device=self.device))
        each = each.mean(0).clamp_min(self.free) if self.free else each.mean(0)
        return cost.mean() + self.share() * each.sum()

    def share(self) -> float | Tensor:
        """What the divergence counts in this step of the training."""
        if not self.warm_up or not self.model.training:
            return self.beta
        steps = self.head.get_buffer("steps")
        if torch.is_grad_enabled():
            steps += 1
        return self.beta * (steps / self.warm_up).clamp_max(1)

    def measure(self, batch: Batch) -> dict[str, Tensor]:
        cost, each = self.parts(batch, self.noise[batch.rows.cpu() % NOISES].to(self.device))
        total = each.sum(1)
        elbo = cost + total
        return {
            "loss": cost + self.beta * total, "negative_elbo": elbo, "reconstruction": cost,
            "divergence": total, "bits_per_dimension": self.likelihood.bits(elbo),
        }  # fmt: skip

    def signs(self, batch: Batch, losses: Mapping[str, float]) -> Signs:
        with torch.no_grad():
            return Signs(divergence=divergence(*self.posterior(batch)).mean(0).tolist())

    def scores(self, batch: Batch) -> Tensor:
        """The mean negative ELBO over some noises, the same for each row, wherever it stands in a batch."""
        noises = self.noise[:SCORED, None].to(self.device).expand(SCORED, batch.rows.shape[0], self.code_size)
        bounds = [cost + each.sum(1) for cost, each in (self.parts(batch, noise) for noise in noises)]
        return torch.stack(bounds).mean(0)

    def encode(self, batch: Batch) -> Tensor:
        return self.posterior(batch)[0]

    def learning_rates(self) -> dict[nn.Parameter, float]:
        return {parameter: SIGMA_RATE for parameter in self.likelihood.parameters()}

    def describe(self) -> str:
        return f"the evidence lower bound of a {self.likelihood.name} likelihood and a code of {self.code_size} numbers"


@OBJECTIVES.register("cvae")
class CVAE(VAE):
    """The same given the class, which both halves are told: `vae` with a target of classes. Rows are scored
    by all classes together, and encoded with the likeliest where theirs is not known."""

    takes = ("model", "target")
    conditional = True

    def scores(self, batch: Batch) -> Tensor:
        return math.log(len(self.classes)) - (-self._by_class(batch)).logsumexp(1)

    def labels_of(self, batch: Batch) -> Tensor | None:
        return batch.target if batch.target is not None else self._by_class(batch).argmin(1)

    def _by_class(self, batch: Batch) -> Float[Tensor, "B K"]:
        """The negative evidence lower bound given each class."""
        given = (torch.full(batch.rows.shape, k, device=self.device) for k in range(len(self.classes)))
        return torch.stack([super(CVAE, self).scores(Batch(batch.input, label, batch.rows)) for label in given], 1)


def divergence(mean: Float[Tensor, "B D"], log_variance: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
    """Of normal distributions from the standard one, in nats."""
    return (mean.square() + log_variance.exp() - 1 - log_variance) / 2
