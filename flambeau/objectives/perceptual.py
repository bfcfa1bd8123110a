"""How far apart pictures are to a network: the perceptual loss and the feature distance of Johnson et al. 2016,
arXiv:1603.08155.

Costs a pass of the network forward and backward a step. Without weights the network is a small one of fixed random
filters, at three scales: it tells textures apart, but knows nothing of what people see.
"""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.core.shapes import Float
from flambeau.fields import Picture
from flambeau.models import InputSpec, build
from flambeau.models.spec import IMAGENET
from flambeau.objectives.losses import LOSSES, reduced
from flambeau.objectives.metrics import NamedMetric
from flambeau.objectives.names import METRICS
from flambeau.objectives.restoration import seen

NETWORK = "tf_efficientnet_lite0"
STAGES = 3
"""Maps that are compared, the finest first."""
LEAST = 32  # pixels a side


class Features(nn.Module):
    """From pictures (B, C, H, W) in 0…1 to maps, each (B, F, h, w) of vectors of length 1. Nothing in it learns.

    Args:
        weights: a file of weights of `network`, or `yes` for the published ones; random filters if empty.
        network: a name of timm's that gives maps of its stages.

    Raises:
        UsageError: the network gives no maps. As `models.build`.
    """

    def __init__(self, weights: str = "", network: str = NETWORK):
        super().__init__()
        self.plain = not weights
        if self.plain:
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(0)
                widths = (3, 32, 48, 64)
                pairs = itertools.pairwise(widths)
                self.net: Any = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in pairs)
        else:
            file: Any = True if weights == "yes" else Path(weights)
            self.net = build(f"timm:{network}", InputSpec("image", (3, 64, 64)), 1000, pretrained=file).model
            if not hasattr(self.net, "forward_intermediates"):
                raise UsageError(f"{network} gives no maps of its stages", fix=f"take {NETWORK}")
        self.eval().requires_grad_(False)

    def forward(self, pictures: Float[Tensor, "B C H W"]) -> list[Tensor]:
        x = self._input(pictures)
        if self.plain:
            maps = self._filtered(x)
        else:
            maps = self.net.forward_intermediates(x, indices=[*range(STAGES)], intermediates_only=True)
        return [F.normalize(one, dim=1, eps=1e-6) for one in maps]

    def means(self, pictures: Float[Tensor, "B C H W"]) -> Float[Tensor, "B F"]:
        """One vector for each picture: the mean of the network's last map; of random filters that of each."""
        x = self._input(pictures)
        maps = self._filtered(x) if self.plain else [self.net.forward_features(x)]
        return torch.cat([one.mean((2, 3)) for one in maps], 1)

    def _filtered(self, x: Tensor) -> list[Tensor]:
        return [x := F.relu(layer(x)) for layer in self.net]

    def _input(self, pictures: Tensor) -> Tensor:
        x = pictures.expand(-1, 3, -1, -1) if pictures.shape[1] == 1 else pictures
        mean, std = (x.new_tensor(figures).view(-1, 1, 1) for figures in (IMAGENET.mean, IMAGENET.std))
        x = (x - mean) / std
        if min(x.shape[2:]) < LEAST:
            x = F.interpolate(x, [max(side, LEAST) for side in x.shape[2:]], mode="bilinear")
        return x

    def distance(self, output: Tensor, target: Tensor) -> Float[Tensor, " B"]:
        """The mean over stages of the squared distance of their vectors, in 0…4, of each picture."""
        with torch.no_grad():
            wanted = self(target)
        stages = zip(self(output), wanted, strict=True)
        return torch.stack([(a - b).square().sum(1).flatten(1).mean(1) for a, b in stages]).mean(0)


@functools.lru_cache(maxsize=2)
def features(weights: str, network: str, device: torch.device) -> Features:
    """The network of that name on a device, made once."""
    return Features(weights, network).to(device)


@LOSSES.register("perceptual")
def perceptual(
    output: Tensor, target: Tensor, reduction: str = "mean", weights: str = "", network: str = NETWORK, l1: float = 0.1
) -> Tensor:
    """The distance to a network, and a share of the absolute error. Both (B, C, H, W) in 0…1."""
    error = (output - target).abs().flatten(1).mean(1)
    loss = features(weights, network, output.device).distance(output.float(), target.float()) + l1 * error
    return reduced(loss, reduction)


@METRICS.register("feature_distance")
class FeatureDistance(NamedMetric):
    """How far apart pictures are to a network; see `Features`."""

    higher_is_better = False
    bounds = (0.0, 4.0)
    tasks = ("picture",)

    def __init__(self, field: Picture, weights: str = "", network: str = NETWORK):
        super().__init__(field)
        self.network = features(weights, network, torch.device("cpu"))

    def terms(self, output: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            return self.network.distance(seen(self.field, output), seen(self.field, target))

    def value(self, sums: Tensor, count: Tensor) -> Tensor:
        return sums / count
