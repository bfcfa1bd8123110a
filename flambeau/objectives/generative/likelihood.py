"""How likely a sample is, by what a decoder gives for it."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.core.errors import UsageError, check_known
from flambeau.fields import Field
from flambeau.models import InputSpec

LIKELIHOODS = ("auto", "bernoulli", "gaussian")


class Likelihood(nn.Module):
    """Of a sample x, by decoded numbers of the same shape.

    `bernoulli`: they are logits of how bright x is between black and white; `gaussian`: they are its mean, and the
    standard deviation, the same for all, is learned (Rybkin et al. 2020, arXiv:2006.13202). Categories of a table are
    categorical with either.

    Args:
        name: `auto` is bernoulli where values have bounds, as those of pictures have, else gaussian.
        field: of the input; it says the bounds.
        sigma: the standard deviation, learned if not given.

    Raises:
        UsageError: there is no such likelihood, or values have no bounds.
    """

    low: Tensor
    high: Tensor

    def __init__(self, name: str, field: Field, sigma: float | None = None):
        super().__init__()
        check_known("no likelihood is called", [name], LIKELIHOODS)
        bounds = field.input_bounds
        self.name = name if name != "auto" else "gaussian" if bounds is None else "bernoulli"
        if self.name == "bernoulli" and bounds is None:
            raise UsageError(f"values of the kind {field.kind} are not between two bounds", fix="use gaussian")
        low, high = bounds or (torch.zeros(1), torch.ones(1))
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("high", high, persistent=False)
        if sigma is not None and sigma <= 0:
            raise UsageError(f"sigma={sigma} is no standard deviation", expected="a number above 0")
        self.spec = spec = InputSpec.of([field])
        shape = spec.form.decoded_shape(spec.shape)
        self.choices = spec.form.choices(spec.shape)
        self.size = math.prod(shape) - sum(self.choices) + len(self.choices)
        """Numbers and categories of a sample."""
        if self.name == "gaussian":
            log_sigma = torch.tensor(math.log(sigma or 1.0))
            if sigma is None:
                self.log_sigma: Tensor = nn.Parameter(log_sigma)
            else:
                self.register_buffer("log_sigma", log_sigma, persistent=False)

    def error(self, decoded: Tensor, x: Any) -> Tensor:
        """The mean over numbers of a sample of their squared error, and over categories of their cross-entropy, float
        (B): a measure of a Gaussian whose standard deviation is 1."""
        constant = (self.size - len(self.choices)) * math.log(2 * math.pi) / 2
        return (self(decoded, x) - constant) * 2 / self.size

    def forward(self, decoded: Tensor, x: Any) -> Tensor:
        """The negative log-likelihood of prepared samples, in nats, float (B)."""
        decoded, wanted = decoded.float(), self.spec.form.as_decoded(x, self.spec.shape).float()
        cost, numbers = decoded.new_zeros(decoded.shape[0]), decoded.shape[1] - sum(self.choices)
        if self.choices:
            scores, codes = decoded[:, numbers:].split(self.choices, 1), wanted[:, numbers:].split(self.choices, 1)
            cost = torch.stack([-(s.log_softmax(1) * c).sum(1) for s, c in zip(scores, codes, strict=True)]).sum(0)
            decoded, wanted = decoded[:, :numbers], wanted[:, :numbers]
        if self.name == "bernoulli":
            each = F.binary_cross_entropy_with_logits(decoded, self._share(wanted), reduction="none")
        else:
            each = ((wanted - decoded) * (-self.log_sigma).exp()).square() / 2 + self.log_sigma
            each = each + math.log(2 * math.pi) / 2
        return cost + each.flatten(1).sum(1)

    def _share(self, x: Tensor) -> Tensor:
        return ((x - self.low) / (self.high - self.low)).clamp(0, 1)

    def prepared(self, decoded: Tensor) -> Any:
        """The likeliest samples by decoded numbers, as they are prepared for a model."""
        decoded = decoded.float()
        if self.name == "bernoulli":
            decoded = self.low + (self.high - self.low) * decoded.sigmoid()
        return self.spec.form.from_decoded(decoded, self.spec.shape)

    def bits(self, cost: Tensor) -> Tensor:
        """Nats of a sample to bits per dimension. Of a Gaussian over pictures those of pixels of 256 levels, whose
        probability is the density times the width of a level."""
        if self.name == "gaussian" and self.low.ndim > 1:
            level = ((self.high - self.low) / 255).log().mean() * self.size
            cost = cost - level
        return cost / (self.size * math.log(2))
