"""Generators and discriminators, dense and convolutional, for pictures of any size: DCGAN, Radford et al. 2015,
arXiv:1511.06434; a class by projection, Miyato & Koyama 2018, arXiv:1802.05637."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from flambeau.core.shapes import Float, Int64

NORMS = ("spectral", "batch", "none")
APART = 0.3  # by which shifts of classes differ at the start, of channels whose spread is 1
SMALLEST = 4  # cells along the shorter side of a picture that is to be made larger, or about as many


def stages(size: tuple[int, int]) -> tuple[int, tuple[int, int]]:
    """How often both sides are doubled, and from which; of the picture that is then too large a part is cut out.

    >>> stages((28, 28)), stages((33, 100))
    ((3, (4, 4)), (3, (5, 13)))
    """
    count = max(1, round(math.log2(max(min(size) / SMALLEST, 1))))
    return count, (math.ceil(size[0] / 2**count), math.ceil(size[1] / 2**count))


def _widths(count: int, width: int) -> list[int]:
    """Channels of each stage, from the largest picture on: twice as many in each, eight times at most."""
    return [width * min(2**i, 8) for i in range(count)]


class ClassNorm(nn.Module):
    """A batch norm with a scale and a shift of each class: Dumoulin et al. 2017, arXiv:1610.07629. Nothing but noise
    makes samples differ before it, so that noise is used: where a class is told beside it, in the input, pictures of a
    class are soon all the same.

    Args:
        norm: without scale and shift.
        classes: K.
    """

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d, classes: int):
        super().__init__()
        self.norm = norm
        self.scale = nn.Parameter(torch.empty(classes, norm.num_features))
        self.shift = nn.Parameter(torch.empty(classes, norm.num_features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Classes begin apart from one another."""
        nn.init.ones_(self.scale)
        nn.init.normal_(self.shift, std=APART)

    def forward(self, x: Tensor, classes: Int64[Tensor, " B"]) -> Tensor:
        fits = -1, self.norm.num_features, *[1] * (x.ndim - 2)
        scale, shift = (value[classes].view(fits).to(x.dtype) for value in (self.scale, self.shift))
        return torch.addcmul(shift, self.norm(x), scale)


class Generator(nn.Module):
    """Noise (B, Z), and classes (B) where it is told one, to pictures (B, C, H, W).

    Args:
        shape: (C, H, W).
        noise: Z.
        width: channels of the largest layer of a convolutional one; an eighth of the units of a dense one's.
        classes: K, or 0.
        convolutional: transposed convolutions in place of dense layers.
        bounded: whether what it makes lies in -1…1.
    """

    def __init__(
        self, shape: Sequence[int], noise: int, width: int, classes: int, convolutional: bool, bounded: bool
    ):  # fmt: skip
        super().__init__()
        self.shape = tuple(shape)
        self.classes = classes
        self.layers = nn.Sequential(*(self._convolutional if convolutional else self._dense)(noise, width))
        if bounded:
            self.layers.append(nn.Tanh())

    def _normed(self, kind: type[nn.BatchNorm1d] | type[nn.BatchNorm2d], width: int) -> nn.Module:
        return ClassNorm(kind(width, affine=False), self.classes) if self.classes else kind(width)

    def _dense(self, told: int, width: int) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for units in (width * 4, width * 8):
            layers += [nn.Linear(told, units, bias=False), self._normed(nn.BatchNorm1d, units), nn.ReLU(inplace=True)]
            told = units
        return [*layers, nn.Linear(told, math.prod(self.shape)), nn.Unflatten(1, self.shape)]

    def _convolutional(self, told: int, width: int) -> list[nn.Module]:
        channels, height, across = self.shape
        count, start = stages((height, across))
        widths = _widths(count, width)[::-1]
        layers: list[nn.Module] = [nn.Linear(told, widths[0] * math.prod(start), bias=False)]
        layers += [nn.Unflatten(1, (widths[0], *start)), self._normed(nn.BatchNorm2d, widths[0])]
        layers += [nn.ReLU(inplace=True)]
        for before, after in pairwise(widths):
            layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False)]
            layers += [self._normed(nn.BatchNorm2d, after), nn.ReLU(inplace=True)]
        return [*layers, nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1)]

    def forward(self, noise: Float[Tensor, "B Z"], classes: Int64[Tensor, " B"] | None = None) -> Tensor:
        x = noise
        for layer in self.layers:
            x = layer(x, classes) if isinstance(layer, ClassNorm) else layer(x)
        return x[:, :, : self.shape[1], : self.shape[2]]


class Discriminator(nn.Module):
    """Pictures (B, C, H, W), and their classes (B), to how real each is: scores (B), unbounded. Where it knows classes
    and is told none, each may be the one.

    Args:
        shape, width, classes, convolutional: as of `Generator`.
        norm: `spectral`, of the weights (Miyato et al. 2018, arXiv:1802.05957), `batch` or `none`.
    """

    def __init__(self, shape: Sequence[int], width: int, classes: int, convolutional: bool, norm: str):
        super().__init__()
        self.norm, self.classes = norm, classes
        if convolutional:
            channels, *size = shape
            count, start = stages((size[0], size[1]))
            bottom, right = (small * 2**count - side for small, side in zip(start, size, strict=True))
            self.fill = (0, right, 0, bottom)  # what a generator cuts off
            widths = _widths(count, width)
            blocks = [
                self._block(nn.Conv2d(before, after, 4, 2, 1), after, i)
                for i, (before, after) in enumerate(pairwise([channels, *widths]))
            ]
            features = widths[-1] * math.prod(start)
        else:
            self.fill, units, pixels = (0, 0, 0, 0), (width * 8, width * 4), math.prod(shape)
            blocks = [self._block(nn.Linear(a, b), b, i) for i, (a, b) in enumerate(pairwise((pixels, *units)))]
            features = units[-1]
        first = [] if convolutional else [nn.Flatten()]
        self.features = nn.Sequential(*first, *blocks, nn.Flatten())
        self.score = self._normed(nn.Linear(features, 1, bias=False))
        self.of_class = self._normed(nn.Linear(features, classes, bias=False)) if classes else None

    def _normed(self, layer: nn.Module) -> nn.Module:
        return spectral_norm(layer) if self.norm == "spectral" else layer

    def _block(self, layer: nn.Module, width: int, number: int) -> nn.Sequential:
        kind = nn.BatchNorm2d if isinstance(layer, nn.Conv2d) else nn.BatchNorm1d
        norms = [kind(width)] if self.norm == "batch" and number else []
        return nn.Sequential(self._normed(layer), *norms, nn.LeakyReLU(0.2, inplace=True))

    def forward(self, x: Tensor, classes: Int64[Tensor, " B"] | None = None) -> Float[Tensor, " B"]:
        features = self.features(F.pad(x, self.fill) if any(self.fill) else x)
        score = self.score(features)[:, 0].float()
        if self.of_class is None:
            return score
        of_class = self.of_class(features).float()
        if classes is None:
            return score + of_class.logsumexp(1) - math.log(self.classes)
        return score + of_class.gather(1, classes[:, None])[:, 0]
