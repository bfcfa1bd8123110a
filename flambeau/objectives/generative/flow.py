"""Pictures made of noise in a few steps: diffusion (Ho et al. 2020, arXiv:2006.11239) and flow matching (Lipman et al.
2022, arXiv:2210.02747; Liu et al. 2022, arXiv:2209.03003).

Both mix a picture with noise, more of it at a later time, and learn what to take away (v of Salimans & Ho 2022,
arXiv:2202.00512); they differ in the mixture alone. Sampling goes back along the times by DDIM (Song et al. 2020,
arXiv:2010.02502), which on the straight mixture is Euler's method. With classes: guidance without a classifier (Ho &
Salimans 2022, arXiv:2207.12598). Samples are made with the mean of the weights over steps, the technique `ema`.

A training step costs one pass of a U-Net, a sample `steps` of them, twice as many with guidance. Gain:
not measured yet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor

from flambeau.core.errors import UsageError, check_known, require
from flambeau.core.shapes import Float, Int64
from flambeau.data.batch import Batch
from flambeau.models.generative import TimeUNet
from flambeau.objectives.base import OBJECTIVES, Context
from flambeau.objectives.generative.base import Generative

FIXED = 32
"""Noises that an evaluation mixes rows with, in turn."""
LOOKS = 8
"""Times at which a row is looked at for its score."""
GLANCE = 8
"""Steps of samples that a training is followed by."""
GOLDEN = (math.sqrt(5) - 1) / 2


def straight(time: Tensor) -> tuple[Tensor, ...]:
    """(a, s, c, d): a·picture + s·noise is the mixture at a time, c·noise - d·picture is v."""
    return 1 - time, time, torch.ones_like(time), torch.ones_like(time)


def cosine(time: Tensor) -> tuple[Tensor, ...]:
    """The same by Nichol & Dhariwal 2021, arXiv:2102.09672, without its offset."""
    picture, noise = (time * math.pi / 2).cos(), (time * math.pi / 2).sin()
    return picture, noise, picture, noise


PATHS = {"cosine": cosine, "straight": straight}


@OBJECTIVES.register("diffusion")
class Diffusion(Generative):
    """The squared error of v, a mean over the numbers of a picture, at times that are drawn evenly. Validation: the
    same at times and with noise that hang on the row alone. A code is the noise that a picture is made of, (B, C·H·W).

    Args:
        path: the mixture, cosine or straight.
        steps: of sampling.
        guidance: how far a sample goes where its class leads; 1 is as the class was learned, more is surer of the class
            and less various.
        unlabelled: share of training pictures whose class is not told, which guidance needs.
        width, levels, patch: of the U-Net, see `TimeUNet`.

    Raises:
        UsageError: the input is no picture, or a setting does not fit.
    """

    takes: ClassVar[tuple[str, ...]] = ()
    settings = ("path", "steps", "guidance", "unlabelled", "width", "levels", "patch")
    model: TimeUNet

    def __init__(
        self, context: Context, path: str = "cosine", steps: int = 25, guidance: float = 2.0, unlabelled: float = 0.1,
        width: int = 48, levels: int = 2, patch: int = 2,
    ):  # fmt: skip
        super().__init__(context)
        if not self.spec.form.pictures:
            raise UsageError(f"diffusion makes pictures, and the input is of the kind {self.field.kind}",
                             fix="take --objective vae")  # fmt: skip
        check_known("no path from pictures to noise is called", [path], PATHS)
        for name, value in (("steps", steps), ("width", width), ("levels", levels), ("patch", patch)):
            require(isinstance(value, int) and value >= 1, f"{name}={value}", "an integer of at least 1")
        require(0 <= unlabelled < 1, f"unlabelled={unlabelled}", "at least 0 and below 1")
        self.path, self.steps, self.guidance, self.unlabelled = PATHS[path], steps, guidance, unlabelled
        self.model = TimeUNet(self.spec.channels, len(self.classes), width, levels, patch)
        self.code_size, self.bounds = math.prod(self.spec.shape), self.field.input_bounds
        self._fixed = torch.randn(FIXED, *self.spec.shape, generator=torch.Generator().manual_seed(0))
        self.start_evaluation()

    @classmethod
    def suggests(cls, options: Mapping[str, Any], num_train: int) -> Mapping[str, tuple[Any, str]]:
        return {"techniques": ({"ema": {}}, "samples are made with the mean of the weights over steps")}

    def describe(self) -> str:
        told = f", told which of {len(self.classes)} classes" if self.classes else ""
        return f"noise taken away from pictures ({self.path.__name__} path){told}; samples of {self.steps} steps"

    def errors(
        self, x: Float[Tensor, "B C H W"], noise: Tensor, time: Float[Tensor, " B"], label: Tensor | None
    ) -> Float[Tensor, " B"]:
        """Squared error of v, a mean over each picture."""
        a, s, c, d = (part[:, None, None, None] for part in self.path(time))
        v = self.model(a * x + s * noise, time, label).float()
        return (v - (c * noise - d * x)).square().flatten(1).mean(1)

    def loss(self, batch: Batch, phase: str = "train") -> Tensor:
        x, label = batch.input.float(), self.told(batch)
        if label is not None:
            untold = torch.rand(len(x), device=x.device) < self.unlabelled
            label = label.masked_fill(untold, len(self.classes))
        time = torch.rand(len(x), device=x.device)
        return self.errors(x, torch.randn_like(x), time, label).mean()

    def told(self, batch: Batch) -> Int64[Tensor, " B"] | None:
        """Classes as the network knows them: one more is for none."""
        label = self.labels_of(batch)
        return None if label is None else label.masked_fill(label < 0, len(self.classes))

    def measure(self, batch: Batch) -> dict[str, Tensor]:
        time = (batch.rows * GOLDEN).remainder(1).float()  # evenly spread over any rows
        noise = self._fixed[batch.rows.cpu() % FIXED].to(batch.input)
        return {"loss": self.errors(batch.input.float(), noise, time.to(noise.device), self.told(batch))}

    def scores(self, batch: Batch) -> Tensor:
        x, total = batch.input.float(), torch.zeros(batch.rows.shape[0], device=batch.input.device)
        for look in range(LOOKS):
            time = torch.full_like(total, (look + 0.5) / LOOKS)
            total += self.errors(x, self._fixed[look].to(x).expand_as(x), time, None)
        return total / LOOKS

    def samples(self, count: int, seed: int = 0) -> Any:
        """Of fewer steps while it is trained, when they are looked at after each epoch."""
        steps, self.steps = self.steps, self.steps if self._detailed else min(self.steps, GLANCE)
        try:
            return super().samples(count, seed)
        finally:
            self.steps = steps

    def decode_code(self, codes: Tensor, label: Tensor | None = None) -> Float[Tensor, "B C H W"]:
        x = codes.to(self.device).float().unflatten(1, self.spec.shape)
        return self.walked(x, 1.0, 0.0, label if label is None else label.to(self.device))

    def encode(self, batch: Batch) -> Tensor:
        return self.walked(batch.input.float(), 0.0, 1.0, self.told(batch)).flatten(1)

    def walked(self, x: Tensor, start: float, end: float, label: Tensor | None) -> Tensor:
        """Mixtures (B, C, H, W) of one time to those of another, in `steps`; back to pictures, within black and white,
        where there are such, and as guidance has it."""
        times = _times(start, end, self.steps)
        for time, then in pairwise(times):
            a, s, c, d = (float(part) for part in self.path(torch.tensor(time)))
            v = self.guided(x, time, label if end == 0 else None)
            picture, noise = c * x - s * v, d * x + a * v  # a·c + s·d = 1 on both paths
            if end == 0 and self.bounds is not None:
                low, high = self.bounds
                picture = picture.clamp(low.to(x), high.to(x))
                noise = (x - a * picture) / s
            a, s, *_ = (float(part) for part in self.path(torch.tensor(then)))
            x = a * picture + s * noise
        return x

    def guided(self, x: Tensor, time: float, label: Tensor | None) -> Tensor:
        """v of mixtures, where the class leads."""
        at = torch.full(x.shape[:1], time, device=x.device)
        if label is None or self.guidance == 1:
            return self.model(x, at, label).float()
        none = torch.full_like(label, len(self.classes))
        both, count = self.model(torch.cat([x, x]), at.repeat(2), torch.cat([label, none])).float(), x.shape[0]
        told, untold = both[:count], both[count:]
        return untold + self.guidance * (told - untold)


@OBJECTIVES.register("cdiffusion")
class ClassDiffusion(Diffusion):
    """Diffusion that is told the class of each picture, and makes pictures of the class that is asked for."""

    takes: ClassVar[tuple[str, ...]] = ("target",)
    conditional = True


@OBJECTIVES.register("flow-matching")
class FlowMatching(Diffusion):
    """The same on the straight path."""

    preset: ClassVar[Mapping[str, Any]] = {"path": "straight"}


@cache
def _times(start: float, end: float, steps: int) -> list[float]:
    """Evenly spaced; kept, since numbers that are made while a graph is traced are none yet."""
    times: list[float] = torch.linspace(start, end, steps + 1).tolist()
    return times
