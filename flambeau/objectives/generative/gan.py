"""Generative adversarial networks: Goodfellow et al. 2014, arXiv:1406.2661. Two networks, of which one learns to tell
what is real from what the other makes.

flambeau train photos/ --objective dcgan
flambeau train photos/ --objective dcgan --set objective.game=wgan-gp --set training.phases.generator.every=5
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.core.errors import UsageError, nearest
from flambeau.core.shapes import Float, Int64
from flambeau.data.batch import Batch
from flambeau.models.generative.adversarial import NORMS, Discriminator, Generator
from flambeau.objectives.base import OBJECTIVES, Context
from flambeau.objectives.generative.base import Generative
from flambeau.objectives.generative.diffaugment import changed
from flambeau.objectives.generative.watched import Signs

LEVELS = torch.linspace(-20, 20, 401)
"""Scores among which the lowest loss is looked for."""
NETS = ("dense", "convolutional")
STEPS, BATCH = 18_000, 64  # that samples of a small picture want at most; many small steps teach more than few large
MANY = 80 * BATCH  # training rows of which the usual batches would be larger
FEW = 2000  # training rows from which a discriminator does not know them by heart
FIXED = 1024  # noises that an evaluation goes through in turn, so that it measures the same however rows are batched


def _bce(scores: Tensor, real: bool, share: float) -> Tensor:
    wanted = torch.full_like(scores, share if real else 0.0)
    return F.binary_cross_entropy_with_logits(scores, wanted, reduction="none")


def _hinge(scores: Tensor, real: bool, share: float) -> Tensor:
    return F.relu(share - scores if real else 1 + scores)


def _wasserstein(scores: Tensor, real: bool, share: float) -> Tensor:
    return -scores if real else scores


GAMES: Mapping[str, tuple[Callable[[Tensor, bool, float], Tensor], Callable[[Tensor], Tensor]]] = {
    "bce": (_bce, lambda scores: F.softplus(-scores)),
    "hinge": (_hinge, torch.neg),
    "wgan-gp": (_wasserstein, torch.neg),
}
"""The discriminator's loss of scores (B), whether these are of real samples, and what real counts; and the generator's.
With cross-entropy that is the non-saturating one. Hinge: Lim & Ye 2017, arXiv:1705.02894; WGAN-GP: Gulrajani et al.
2017, arXiv:1704.00028."""


@OBJECTIVES.register("gan")
class GAN(Generative):
    """The discriminator's step first, then the generator's. Other names settle other options: `dcgan`, `wgan-gp`, and
    `cgan`, which is told a class.

    Args:
        game: what both minimise, of `GAMES`.
        net: `dense` or `convolutional`.
        noise: Z, numbers that a sample is made of.
        width: of the networks, see `Generator`.
        norm: of the discriminator: `spectral`, `batch` or `none`.
        smoothing: what real falls short of 1 by, for the discriminator (Salimans et al. 2016, arXiv:1606.03498).
        penalty: weight of the gradient penalty of wgan-gp.
        diffaugment: whether the discriminator sees all pictures changed at random, for little data.

    Raises:
        UsageError: a setting does not fit, the input is no picture, or the data has no classes where it is told one.
    """

    phases = ("discriminator", "generator")
    settings = ("game", "net", "noise", "width", "norm", "smoothing", "penalty", "diffaugment")
    takes: ClassVar[tuple[str, ...]] = ()
    measures = ("loss", "real_accuracy", "generated_accuracy")
    model: nn.ModuleDict

    def __init__(
        self, context: Context, *, game: str = "bce", net: str = "dense", noise: int = 64, width: int = 32,
        norm: str = "none", smoothing: float = 0.1, penalty: float = 10.0, diffaugment: bool = False,
    ):  # fmt: skip
        super().__init__(context)
        for setting, value, known in (("game", game, GAMES), ("net", net, NETS), ("norm", norm, NORMS)):
            if value not in known:
                raise UsageError(f"no {setting} of a GAN is called '{value}'", fix=nearest(str(value), known))
        shape = self.field.input_shape
        if not self.spec.form.pictures or not self.field.restores:
            raise UsageError(f"adversarial networks here make pictures, and the input is of the kind {self.field.kind}",
                             fix="take --objective vae")  # fmt: skip
        if game == "wgan-gp" and norm == "batch":
            raise UsageError("the penalty of wgan-gp is one of each sample's gradient, and norm=batch mixes samples",
                             fix="set objective.norm=none")  # fmt: skip
        if not (noise >= 1 and width >= 1 and 0 <= smoothing < 1 and penalty >= 0):
            raise UsageError(f"noise={noise}, width={width}, smoothing={smoothing}, penalty={penalty} do not fit",
                             expected="noise and width from 1 on, smoothing from 0 to below 1")  # fmt: skip
        self.game, self.share, self.penalty, self.diffaugment = game, 1 - smoothing, penalty, diffaugment
        self.code_size = noise
        built = width, len(self.classes), net == "convolutional"
        self.generator = Generator(shape, noise, *built, self.bounds is not None)
        self.discriminator = Discriminator(shape, *built, norm)
        self.model = nn.ModuleDict({"discriminator": self.discriminator, "generator": self.generator})
        self._fixed = torch.randn(FIXED, noise, generator=torch.Generator().manual_seed(1))
        self._figures: dict[str, tuple[Tensor, int]] = {}
        self.start_evaluation()

    @classmethod
    def suggests(cls, options: Mapping[str, Any], num_train: int) -> Mapping[str, tuple[Any, str]]:
        wasserstein = options.get("game") == "wgan-gp"
        betas = [0.0, 0.9] if wasserstein else [0.5, 0.999]
        suited: dict[str, tuple[Any, str]] = {
            "optimizer": ("adam", "as both networks chase one another, a short memory of gradients"),
            "optimizer_options": ({"betas": betas}, "that of the paper"),
            "learning_rate": (1e-4, "that of the paper") if wasserstein else (5e-4, "above DCGAN's, for few steps"),
            "weight_decay": (0.0, "with adam it would be a part of the gradient"),
            "schedule": ("constant", "there is no loss to come down"),
            "keep": ("last", "no loss says which epoch was the best"),
            "techniques": ({"ema": {"decay": 0.999}}, "samples of the generator's mean are better"),
        }
        epochs = min(max(round(STEPS * BATCH / max(num_train, 1)), 10), 200)
        suited["epochs"] = epochs, f"about {STEPS:,} steps, of {num_train:,} training samples"
        if num_train >= MANY:
            suited["batch_size"] = BATCH, "two networks learn of each other's steps: many count more than large ones"
        if num_train < FEW and options.get("net") == "convolutional":
            told = f"{num_train:,} training samples are few enough to be learned by heart"
            suited["objective.diffaugment"] = True, told
        if wasserstein:
            suited["phases"] = ({"generator": {"every": 5}}, "the distance is to be known before it is followed")
        elif options.get("net") == "convolutional":
            suited["phases"] = {"generator": {"learning_rate": 1e-3}}, "or the discriminator is soon always right"
        return suited

    def parameters(self, phase: str) -> list[nn.Parameter]:
        return list(self.model[phase].parameters())

    # -- a step ---------------------------------------------------------------------------------------------------

    def decode_code(self, codes: Float[Tensor, "B Z"], label: Int64[Tensor, " B"] | None = None) -> Tensor:
        return self.unbounded(self.generator(codes.to(self.device), label).float())

    def judge(self, x: Tensor, label: Int64[Tensor, " B"] | None) -> Float[Tensor, " B"]:
        """How real samples look to the discriminator; in training with `diffaugment`, once they are changed."""
        return self.discriminator(changed(x) if self.diffaugment and self.model.training else x, label)

    def loss(self, batch: Batch, phase: str) -> Tensor:
        label, noise = self.labels_of(batch), torch.randn(len(batch), self.code_size, device=batch.input.device)
        if phase == "generator":
            made = self.decode_code(noise, label)
            if made.requires_grad:
                made.register_hook(self._keep_gradient)
            with resting(self.discriminator):
                loss = GAMES[self.game][1](self.judge(made, label)).mean()
            self._keep("generator/loss", loss)
            return loss
        with torch.no_grad():
            made = self.decode_code(noise, label)
        real_scores, scores = self.judge(batch.input, label), self.judge(made, label)
        loss = self._told_apart(real_scores, scores, self.share).mean()
        self._keep("discriminator/loss", loss)
        self._keep("discriminator/real_accuracy", (real_scores > 0).float().mean())
        self._keep("discriminator/generated_accuracy", (scores <= 0).float().mean())
        if self.game == "wgan-gp" and torch.is_grad_enabled():
            loss = loss + self.penalty * self._penalty(batch.input, made, label)
        return loss

    def _told_apart(self, real_scores: Tensor, scores: Tensor, share: float) -> Tensor:
        """The discriminator's loss, float (B)."""
        cost = GAMES[self.game][0]
        return (cost(real_scores, True, share) + cost(scores, False, share)) / 2

    def _penalty(self, real: Tensor, made: Tensor, label: Tensor | None) -> Tensor:
        """How far the gradient's norm is from 1 at a place between each real sample and a generated one."""
        share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device)
        between = (share * real + (1 - share) * made).detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(self.judge(between, label).sum(), between, create_graph=True)
        return (gradient.flatten(1).float().norm(dim=1) - 1).square().mean()

    def _keep(self, name: str, value: Tensor) -> None:
        before, count = self._figures.get(name, (0.0, 0))
        self._figures[name] = before + value.detach(), count + 1

    def _keep_gradient(self, gradient: Tensor) -> None:
        """What reaches the generator of each sample's own loss."""
        self._keep("generator/gradient", gradient.float().flatten(1).norm(dim=1).sum())

    def figures(self) -> dict[str, float]:
        kept, self._figures = self._figures, {}
        means = [total / count for total, count in kept.values()]
        return dict(zip(kept, torch.stack(means).tolist() if means else (), strict=True))

    # -- what is measured, and made ---------------------------------------------------------------------------------

    def _noise_of(self, batch: Batch) -> Tensor:
        return self._fixed[batch.rows.cpu() % FIXED].to(batch.input.device)

    def measure(self, batch: Batch) -> dict[str, Tensor]:
        label = self.labels_of(batch)
        made = self.decode_code(self._noise_of(batch), label)
        real_scores, scores = self.judge(batch.input, label), self.judge(made, label)
        told_apart = self._told_apart(real_scores, scores, 1.0)
        right = {"real_accuracy": (real_scores > 0).float(), "generated_accuracy": (scores <= 0).float()}
        return {"loss": told_apart, **right}

    def scores(self, batch: Batch) -> Tensor:
        return -self.judge(batch.input, None)

    def signs(self, batch: Batch, losses: Mapping[str, float]) -> Signs:
        label = self.labels_of(batch)
        with torch.no_grad():
            made = self.decode_code(self._noise_of(batch), label)
            real_scores = self.judge(batch.input, label)
        with torch.enable_grad(), resting(self.discriminator):
            scores = self.judge(made.requires_grad_(True), label)
            (gradient,) = torch.autograd.grad(GAMES[self.game][1](scores).sum(), made)
        right = float((real_scores > 0).float().mean() + (scores <= 0).float().mean()) / 2
        left = None
        if self.game != "wgan-gp":  # whose generator learns from a discriminator that is always right as well
            of_real, of_made = (GAMES[self.game][0](LEVELS, real, self.share) for real in (True, False))
            lowest, ignorant = float(of_real.min() + of_made.min()) / 2, float((of_real + of_made).min()) / 2
            left = (losses["discriminator"] - lowest) / (ignorant - lowest)
        return Signs(told_apart=right, left=left, gradient=float(gradient.float().flatten(1).norm(dim=1).mean()))

    def describe(self) -> str:
        told = f", told one of {len(self.classes)} classes" if self.classes else ""
        return f"a generator against a discriminator, {self.game}{told}"


@OBJECTIVES.register("dcgan")
class DCGAN(GAN):
    """Convolutions, for pictures of any size and channels."""

    preset: ClassVar[Mapping[str, Any]] = {"net": "convolutional", "norm": "batch"}


@OBJECTIVES.register("wgan-gp")
class WGAN(GAN):
    """The discriminator takes five steps for one of the generator's, and gives the Wasserstein distance."""

    preset: ClassVar[Mapping[str, Any]] = {"net": "convolutional", "game": "wgan-gp", "smoothing": 0.0}


@OBJECTIVES.register("cgan")
class CGAN(GAN):
    """Convolutions told a class: Mirza & Osindero 2014, arXiv:1411.1784; the discriminator by projection."""

    preset: ClassVar[Mapping[str, Any]] = DCGAN.preset
    takes = ("target",)
    conditional = True


@contextmanager
def resting(module: nn.Module) -> Iterator[None]:
    """While entered, no gradient of its parameters is recorded; those of its input are."""
    learning = [p for p in module.parameters() if p.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
