"""Autoencoders: a code of few numbers that a sample can be made of again (Hinton & Salakhutdinov 2006); and such that
mend what was spoilt, whose codes hold what matters (Vincent et al. 2008).

flambeau train photos/ --objective autoencoder --set objective.code=8
flambeau predict runs/photos other/            # the oddest of them: those that come back worst
flambeau train photos/ --objective denoising --set objective.noise=0.5
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.data.batch import Batch
from flambeau.models.generative import Coder
from flambeau.objectives.base import OBJECTIVES, Context
from flambeau.objectives.generative.base import SHOWN, Generative
from flambeau.objectives.generative.likelihood import Likelihood


class Coded(Generative):
    """What autoencoders share: a `Coder` and a layer that makes the code, or what it is drawn by, of its features. A
    class that is asked for goes into both halves as one number for each class.

    Args:
        code: D.
        heads: how many times D numbers are made of the features.
        likelihood: of samples, by what is decoded.
    """

    layout = "code"
    coder: Coder
    likelihood: Likelihood

    def __init__(self, context: Context, code: int, heads: int, likelihood: Likelihood):
        super().__init__(context)
        if code < 1:
            raise UsageError(f"a code of {code} numbers was asked for", expected="at least 1")
        self.code_size, more = code, len(self.classes)
        self.coder = self.net(context, code + more)
        self.head = nn.Linear(self.coder.features + more, heads * code)
        self.likelihood = likelihood
        self.model = nn.ModuleDict({"coder": self.coder, "head": self.head, "likelihood": likelihood})
        self.start_evaluation()

    def headed(self, x: Any, label: Tensor | None = None) -> Tensor:
        """A prepared input to what the head makes of it, float (B, heads · D)."""
        return self.head(self._with(self.coder(x), label)).float()

    def decoded(self, codes: Tensor, label: Tensor | None = None) -> Tensor:
        """Codes (B, D) to what the likelihood takes, (B, …)."""
        return self.coder.decode(self._with(codes, label))

    def _with(self, x: Tensor, label: Tensor | None) -> Tensor:
        if not self.classes:
            return x
        assert label is not None
        return torch.cat([x, F.one_hot(label, len(self.classes)).to(x.dtype)], 1)

    def decode_code(self, codes: Tensor, label: Tensor | None = None) -> Any:
        return self.likelihood.prepared(self.decoded(codes.to(self.device), label))

    def evaluate(self, batch: Batch) -> None:
        super().evaluate(batch)
        if self._detailed and len(self._compared) < SHOWN:
            pictures = self.shown(self.reconstruct(batch), "reconstructed")
            self._compared += pictures[: SHOWN - len(self._compared)]

    def detail(self) -> dict[str, Any]:
        detail = super().detail()
        return {**detail, "pictures": [*self._compared, *detail["pictures"]]}


@OBJECTIVES.register("autoencoder")
class Autoencoder(Coded):
    """The squared error of what comes back of a code (B, D), a number; of a category its cross-entropy. What its codes
    are like is not known, so it makes nothing new."""

    settings: ClassVar[tuple[str, ...]] = ("code",)
    measures = ("loss", "error")
    makes_of_noise = False
    next_verb = "predict {run} FILE"

    def __init__(self, context: Context, code: int = 16):
        super().__init__(context, code, 1, Likelihood("gaussian", context.input, sigma=1.0))

    def error(self, x: Any, wanted: Any) -> Tensor:
        """Of what comes back of prepared samples, float (B)."""
        return self.likelihood.error(self.decoded(self.headed(x)), wanted)

    def loss(self, batch: Batch, phase: str = "train") -> Tensor:
        return self.error(batch.input, batch.input).mean()

    def measure(self, batch: Batch) -> dict[str, Tensor]:
        error = self.scores(batch)
        return {"loss": error, "error": error}

    def scores(self, batch: Batch) -> Tensor:
        return self.error(batch.input, batch.input)

    def encode(self, batch: Batch) -> Tensor:
        return self.headed(batch.input)

    def drawn(
        self, count: int, generator: torch.Generator, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        raise UsageError(f"{type(self).__name__} makes nothing new, for what its codes are like is not known",
                         fix="train with --objective vae")  # fmt: skip

    def describe(self) -> str:
        return f"the squared error of what comes back of a code of {self.code_size} numbers"


@OBJECTIVES.register("denoising")
class Denoising(Autoencoder):
    """The same of samples that were spoilt, in training alone.

    Args:
        noise: standard deviation of what is added to each number, where those of the data have 1.
        masked: the share of the numbers that are 0, the mean, before; of categories those that are unknown.
    """

    settings = ("code", "noise", "masked")

    def __init__(self, context: Context, code: int = 16, noise: float = 0.3, masked: float = 0.0):
        super().__init__(context, code)
        if noise < 0 or not 0 <= masked < 1:
            raise UsageError(f"noise={noise} and masked={masked} do not fit", expected="0 or more, and a share below 1")
        self.noise, self.masked = noise, masked

    def loss(self, batch: Batch, phase: str = "train") -> Tensor:
        return self.error(self.spoilt(batch.input), batch.input).mean()

    def spoilt(self, x: Any) -> Any:
        """Prepared samples with noise, and without some of their parts."""
        form, shape = self.spec.form, self.spec.shape
        values = form.as_decoded(x, shape)
        if self.masked:
            values = values * (torch.rand_like(values) >= self.masked)
        return form.from_decoded(values + self.noise * torch.randn_like(values), shape)

    def describe(self) -> str:
        return f"{super().describe()}, of samples with noise of {self.noise:g}"
