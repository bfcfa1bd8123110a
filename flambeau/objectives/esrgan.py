"""ESRGAN: pictures that look sharp, by a generator and a discriminator that says which of two is the more real: Wang et
al. 2018, arXiv:1809.00219.

Costs a step of the discriminator and a pass of the perceptual network beside a step without it. PSNR falls: what is
invented is not what was there. Start from a run that was trained for PSNR, as the paper does:

flambeau train photos/ --task super-resolution --model rrdb
flambeau train photos/ --task super-resolution --model rrdb --pretrained runs/photos/model.safetensors \
    --objective esrgan --set objective.weights=lite0.pth
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.core.shapes import Float
from flambeau.data.batch import Batch
from flambeau.objectives.base import OBJECTIVES, Context
from flambeau.objectives.perceptual import NETWORK
from flambeau.objectives.supervised import Supervised
from flambeau.objectives.tasks import ToPicture


class Discriminator(nn.Sequential):
    """(B, C, H, W) to how real each part of it looks, (B, 1, h, w): convolutions, each second of which halves.

    Args:
        channels: C.
        width: channels of the first.
    """

    def __init__(self, channels: int, width: int = 32):
        layers: list[nn.Module] = []
        for wide in (width, 2 * width, 4 * width):
            layers += [nn.Conv2d(channels, wide, 3, padding=1), nn.LeakyReLU(0.2)]
            layers += [nn.Conv2d(wide, wide, 4, 2, 1), nn.LeakyReLU(0.2)]
            channels = wide
        super().__init__(*layers, nn.Conv2d(channels, 1, 3, padding=1))


class Pair(nn.Module):
    """Both networks; called it is the generator."""

    def __init__(self, generator: nn.Module, discriminator: nn.Module):
        super().__init__()
        self.generator, self.discriminator = generator, discriminator

    def forward(self, x: Tensor) -> Tensor:
        return self.generator(x)


@OBJECTIVES.register("esrgan")
class ESRGAN(Supervised):
    """The discriminator's step first, then the generator's: the loss of the recipe, the perceptual one if none is
    named, and a share of what the discriminator says. The epoch whose loss without that share is lowest is kept.

    Raises:
        UsageError: the target is no picture.
    """

    phases = ("discriminator", "generator")
    settings = ("weights", "network", "adversarial", "width")
    model: Pair

    def __init__(self, adversarial: float, width: int, *args: Any, **options: Any):
        super().__init__(*args, **options)
        if not isinstance(self.task, ToPicture):
            raise UsageError("esrgan makes pictures, and the target is none", fix="give --task super-resolution")
        self.adversarial = adversarial
        self.model = Pair(self.model, Discriminator(self.task.output_spec.size, width))

    @classmethod
    def build(
        cls, context: Context, weights: str = "", network: str = NETWORK, adversarial: float = 5e-3, width: int = 32,
        **options: Any,
    ) -> ESRGAN:  # fmt: skip
        named = {"weights": weights, "network": network}
        loss = {"name": "perceptual", "l1": 1.0, **named} if context.loss == "auto" else context.loss
        metrics = [*context.metrics, {"name": "feature_distance", **named}]
        metric = "loss" if context.metric == "auto" else context.metric
        return cls(adversarial, width, context.model(), context.target, loss, metrics, metric)

    def parameters(self, phase: str) -> list[nn.Parameter]:
        return list(getattr(self.model, phase).parameters())

    def loss(self, batch: Batch, phase: str = "generator") -> Tensor:
        real = self.wanted(batch)
        if phase == "discriminator":
            with torch.no_grad():
                made = self.forward(batch)
            return relativistic(self.model.discriminator(real), self.model.discriminator(made))
        made = self.forward(batch)
        content = (self.training_criterion or self.loss_function)(made, real)
        with torch.no_grad():
            of_real = self.model.discriminator(real)
        return content + self.adversarial * relativistic(self.model.discriminator(made), of_real)

    def describe(self) -> str:
        known = self.loss_options.get("weights")
        without = "" if known or self.loss_name != "perceptual" else ", by random filters, for no weights are given"
        return f"{super().describe()}{without}, and a discriminator"


def relativistic(more: Float[Tensor, "B 1 H W"], less: Float[Tensor, "B 1 H W"]) -> Float[Tensor, ""]:
    """What scores cost of which each of `more` is to lie above the mean of `less`, and the other way round
    (Jolicoeur-Martineau 2018, arXiv:1807.00734)."""
    above, below = more - less.mean(), less - more.mean()
    return (F.softplus(-above).mean() + F.softplus(below).mean()) / 2
