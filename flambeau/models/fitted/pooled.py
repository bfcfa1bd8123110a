"""Linear models of features that need no training: of rows of tables, sounds, pictures and series."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.core.shapes import Float
from flambeau.fields import Row
from flambeau.models.fitted.base import Examples, FittedModel, with_codes
from flambeau.models.fitted.linear import fit_linear
from flambeau.models.spec import OWN, InputSpec

MOST_CELLS = 100_000_000  # of the features of all rows
FEWEST = 1000  # rows that are kept, however many features they have


class OnFeatures(FittedModel):
    """A linear model of features (B, D), standardised by the training rows: ridge regression of numbers, logistic
    regression of classes and labels (Hoerl & Kennard 1970; Cox 1958).

    Attributes:
        mean, scale: float64 (D).
        matrix: float64 (D, K); bias float64 (K).
    """

    mean: Tensor
    scale: Tensor
    matrix: Tensor
    bias: Tensor
    most: ClassVar[int] = 400_000

    def __init__(self, num_features: int, num_outputs: int):
        super().__init__()
        self.num_outputs = num_outputs
        self.register_buffer("mean", torch.zeros(num_features, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(num_features, dtype=torch.float64))
        self.register_buffer("matrix", torch.zeros(num_features, num_outputs, dtype=torch.float64))
        self.register_buffer("bias", torch.zeros(num_outputs, dtype=torch.float64))

    def features(self, inputs: Any) -> Float[Tensor, "B D"]:
        """What the linear model sees of prepared inputs."""
        raise NotImplementedError

    def forward(self, inputs: Any) -> Float[Tensor, "B K"]:
        standard = (self.features(inputs).double() - self.mean) / self.scale
        return (standard @ self.matrix + self.bias).float()

    def fit(self, train: Examples, valid: Examples | None) -> str:
        most = min(self.most, max(FEWEST, MOST_CELLS // max(1, len(self.mean))))
        x, y, w = train.gathered(self.features, most)
        x = x.astype(np.float64)
        mean, deviation = x.mean(0), x.std(0)
        scale = np.where(deviation > 1e-9 * np.abs(mean).clip(1e-9), deviation, np.inf)  # a constant says nothing
        x = (x - mean) / scale
        held_out = None
        if valid is not None:
            other, truth, _ = valid.gathered(self.features, most)
            held_out = (other - mean) / scale, truth
        found = fit_linear(x, y, w, self.num_outputs, train.numbers, held_out)
        self.keep(mean=mean, scale=scale, matrix=found.matrix, bias=found.bias)
        drawn = f", of {len(x):,} of {train.count:,} rows" if len(x) < train.count else ""
        return f"{len(mean):,} features, {found.chosen}{drawn}"


@OWN.register("ridge", kinds=("table", "number"), fitted=True)
class Ridge(OnFeatures):
    """A weight for each number and each code of each category, with an L2 penalty: ridge regression, or logistic
    regression.

    Args:
        spec: a table (D, K1, …), or numbers (D,).
        num_outputs: K.

    Shapes: Row, or numbers (B, D), to (B, K).
    """

    def __init__(self, spec: InputSpec, num_outputs: int):
        sizes = spec.form.choices(spec.shape)
        super().__init__(spec.shape[0] + sum(sizes), num_outputs)
        self.sizes = tuple(sizes)

    def features(self, inputs: Row | Tensor) -> Float[Tensor, "B D"]:
        return with_codes(inputs, self.sizes)


@OWN.register("mel-linear", kinds=("image",), fitted=True)
class MelLinear(OnFeatures):
    """Pictures whose width is time, such as log-mel pictures of sounds: of each band its mean and its deviation over
    time, and those of how it changes from frame to frame.

    Args:
        spec: pictures (C, H, W).
        num_outputs: K.

    Shapes: (B, C, H, W) to (B, K).
    """

    def __init__(self, spec: InputSpec, num_outputs: int):
        super().__init__(4 * spec.shape[0] * spec.shape[1], num_outputs)

    def features(self, inputs: Tensor) -> Float[Tensor, "B D"]:
        bands = inputs.float().flatten(1, 2)  # (B, C·H, W)
        change = bands[:, :, 1:] - bands[:, :, :-1] if bands.shape[2] > 1 else torch.zeros_like(bands)
        parts = [f for x in (bands, change) for f in (x.mean(2), x.var(2, correction=0).clamp_min(1e-12).sqrt())]
        return torch.cat(parts, 1)


@OWN.register("hog-linear", kinds=("image",), fitted=True)
class HogLinear(OnFeatures):
    """Histograms of the directions in which pictures change, in cells, each normalised with its neighbours; and the
    mean colours of a coarse grid: Dalal & Triggs, "Histograms of oriented gradients for human detection", 2005.

    Args:
        spec: pictures (C, H, W).
        num_outputs: K.
        side: pixels that a picture is shrunken or enlarged to.
        cell: pixels a side of a cell.
        directions: in half a turn.

    Shapes: (B, C, H, W) to (B, K).

    Raises:
        UsageError: there are no four cells.
    """

    def __init__(self, spec: InputSpec, num_outputs: int, side: int = 48, cell: int = 6, directions: int = 9):
        if side < 2 * cell or cell < 1 or directions < 2:
            raise UsageError(f"side={side}, cell={cell} and directions={directions} do not fit",
                             expected="a side of two cells or more, and two directions or more")  # fmt: skip
        self.side, self.cell, self.directions = side, cell, directions
        blocks = side // cell - 1
        super().__init__(blocks * blocks * 4 * directions + spec.shape[0] * 16, num_outputs)

    def features(self, inputs: Tensor) -> Float[Tensor, "B D"]:
        x = inputs.float()
        x = F.interpolate(x, (self.side, self.side), mode="bilinear", align_corners=False)
        grey = F.pad(x.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
        across = grey[:, :, 1:-1, 2:] - grey[:, :, 1:-1, :-2]
        down = grey[:, :, 2:, 1:-1] - grey[:, :, :-2, 1:-1]
        size = (across.square() + down.square() + 1e-12).sqrt()
        # how near a change's direction is to each of some: the square of a cosine, sharpened
        angles = torch.arange(self.directions, device=x.device) * (math.pi / self.directions)
        along = across * angles.cos().view(1, -1, 1, 1) + down * angles.sin().view(1, -1, 1, 1)
        near = (along / size).square().pow(self.directions / 2)
        cells = F.avg_pool2d(size * near, self.cell)
        blocks = torch.cat([cells[:, :, i : i - 1 or None, j : j - 1 or None] for i in (0, 1) for j in (0, 1)], 1)
        blocks = blocks / (blocks.square().sum(1, keepdim=True) + 1e-4).sqrt()
        coarse = F.avg_pool2d(x, self.side // 4)[:, :, :4, :4]
        return torch.cat((blocks.flatten(1), coarse.flatten(1)), 1)


@OWN.register("rocket", kinds=("series",), fitted=True)
class Rocket(OnFeatures):
    """Random convolutions of nine weights, at many steps; of each the highest value and how much of it is above zero:
    Dempster, Petitjean, Webb, "ROCKET: exceptionally fast and accurate time series classification using random
    convolutional kernels", 2020, arXiv:1910.13051.

    Args:
        spec: series (C, T).
        num_outputs: K.
        kernels: how many, drawn by a seed of its own.

    Attributes:
        kernel_*: their weights (n, C, 9) in groups of the same step.

    Shapes: (B, C, T) to (B, K).

    Raises:
        UsageError: there is none.
    """

    def __init__(self, spec: InputSpec, num_outputs: int, kernels: int = 1000):
        if kernels < 1:
            raise UsageError(f"kernels={kernels} do not fit", expected="1 or more")
        super().__init__(2 * kernels, num_outputs)
        channels, length = spec.shape
        random = torch.Generator().manual_seed(0)
        longest = max(0, int(math.log2(max(1, (length - 1) / 8))))
        counts = [kernels // (longest + 1) + (i < kernels % (longest + 1)) for i in range(longest + 1)]
        self.steps = [2**i for i, count in enumerate(counts) if count]
        for step, count in zip(self.steps, [c for c in counts if c], strict=True):
            weights = torch.randn(count, channels, 9, generator=random)
            weights = weights * (torch.rand(count, channels, 1, generator=random) < 3 / (channels + 2))
            self.register_buffer(f"kernel_{step}", weights - weights.mean(2, keepdim=True))
            self.register_buffer(f"shift_{step}", torch.rand(count, generator=random) * 2 - 1)

    def features(self, inputs: Tensor) -> Float[Tensor, "B D"]:
        x = inputs.float()
        x = (x - x.mean(2, keepdim=True)) / (x.var(2, keepdim=True, correction=0) + 1e-6).sqrt()
        found = []
        for step in self.steps:
            weights, shift = getattr(self, f"kernel_{step}"), getattr(self, f"shift_{step}")
            out = F.conv1d(x, weights, shift, padding=4 * step, dilation=step)
            found += [out.amax(2), (out > 0).float().mean(2)]
        return torch.cat(found, 1)
