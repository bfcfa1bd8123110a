"""The detector: a feature pyramid on a backbone, and a head that says of each of its cells what thing it lies in and
where that thing's edges are. No anchors: Tian et al. 2019, "FCOS", arXiv:1904.01355; the pyramid: Lin et al. 2017,
arXiv:1612.03144. What each cell learns is the matter of `objectives.dense.aligned`.
"""

from __future__ import annotations

import math
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.core.shapes import Float
from flambeau.models.layers import conv_norm
from flambeau.models.spec import ON_BACKBONE, OWN, Built, InputSpec
from flambeau.models.vision.encoder import Encoder, encoder

STRIDES = (8, 16, 32)  # pixels along a side of a cell, of each level of the pyramid
WIDTH = 64
PRIOR = 0.01  # of a fresh model's scores: most cells are of nothing. Lin et al. 2017, arXiv:1708.02002
FURTHEST = 6.0  # logarithm of how many cells an edge is away at most


class Pyramid(nn.Module):
    """Maps of a backbone to as many of `width` channels, at steps of `STRIDES`: what the coarse ones say is added to
    the finer ones."""

    def __init__(self, channels: tuple[int, ...], width: int):
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(before, width, 1) for before in channels)
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in channels)

    def forward(self, *maps: Tensor) -> list[Tensor]:
        above, levels = None, []
        for one, lateral, smooth in reversed(list(zip(maps, self.lateral, self.smooth, strict=True))):
            level = lateral(one)
            if above is not None:
                level = level + F.interpolate(above, level.shape[2:], mode="nearest")
            above = level
            levels.append(smooth(level))
        return levels[::-1]


def tower(width: int, depth: int) -> nn.Sequential:
    """Convolutions of 3×3, each with a normalisation that does not depend on the batch or on the level."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.GroupNorm(8, width), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class Head(nn.Module):
    """Levels of a pyramid to (B, N, K + 8), as `OutputSpec` has it for boxes; the same convolutions for all levels, of
    their own for classes and for edges."""

    def __init__(self, width: int, num_classes: int, depth: int):
        super().__init__()
        self.for_class, self.for_box = tower(width, depth), tower(width, depth)
        self.classes = nn.Conv2d(width, num_classes, 3, padding=1)
        self.edges = nn.Conv2d(width, 4, 3, padding=1)
        assert self.classes.bias is not None
        for final in (self.classes, self.edges):
            nn.init.normal_(final.weight, std=0.01)
        nn.init.constant_(self.classes.bias, math.log(PRIOR / (1 - PRIOR)))

    def forward(self, levels: list[Tensor]) -> Float[Tensor, "B N outputs"]:
        said = []
        for level in levels:
            logits = self.classes(self.for_class(level)).float().flatten(2).transpose(1, 2)
            away = self.edges(self.for_box(level)).float().flatten(2).transpose(1, 2)
            cells = cells_of(level).expand(level.shape[0], -1, -1)  # (B, h·w, 4)
            middle, side = (cells[..., :2] + cells[..., 2:]) / 2, cells[..., 2:] - cells[..., :2]
            away = away.clamp_max(FURTHEST).exp() * torch.cat([side, side], -1)
            boxes = torch.cat([middle - away[..., :2], middle + away[..., 2:]], -1)
            said.append(torch.cat([logits, boxes, cells], -1))
        return torch.cat(said, 1)


def cells_of(level: Float[Tensor, "B W h w"]) -> Float[Tensor, "1 hw 4"]:
    """Left, top, right and bottom of a map's cells in 0…1, row by row."""
    h, w = level.shape[2:]
    y, x = torch.meshgrid(
        torch.arange(h, device=level.device, dtype=torch.float32),
        torch.arange(w, device=level.device, dtype=torch.float32),
        indexing="ij",
    )
    return torch.stack([x / w, y / h, (x + 1) / w, (y + 1) / h], -1).view(1, -1, 4)


class Small(nn.Module):
    """A plain network, for pictures without weights to start from: a map for each of `STRIDES`."""

    def __init__(self, channels: int, widths: tuple[int, ...]):
        super().__init__()
        self.stem = nn.Sequential(conv_norm(channels, widths[0] // 2, 2), conv_norm(widths[0] // 2, widths[0], 2))
        pairs = pairwise((widths[0], *widths))
        self.stages = nn.ModuleList(nn.Sequential(conv_norm(a, b, 2), conv_norm(b, b)) for a, b in pairs)

    def forward(self, x: Float[Tensor, "B C H W"]) -> list[Tensor]:
        return list(accumulate(self.stages, lambda before, stage: stage(before), initial=self.stem(x)))[1:]


class Detector(nn.Module):
    """Pictures (B, C, H, W) to what each of N cells says, (B, N, K + 8): K logits; the box about the thing that it lies
    in; the cell. Both are left, top, right and bottom in 0…1 of the picture.

    Args:
        backbone: with a map for each of `STRIDES`.
        num_outputs: K + 4.
        width: channels of the pyramid and of the head.
        depth: convolutions of the head before its last one.
    """

    def __init__(self, backbone: Encoder, num_outputs: int, width: int = WIDTH, depth: int = 2):
        super().__init__()
        self.backbone = backbone
        self.pyramid = Pyramid(backbone.channels, width)
        self.head = Head(width, num_outputs - 4, depth)

    def forward(self, x: Tensor) -> Tensor:  # without shapes, so that it can be followed symbolically
        maps = self.backbone(x)
        return self.head(self.pyramid(maps[0], maps[1], maps[2]))  # named, so that a frozen backbone can be cut off


@OWN.register("detector", of=lambda spec: (spec.channels,), layout="boxes")
def detector(channels: int, num_outputs: int, width: int = WIDTH, depth: int = 2) -> Detector:
    """The detector on a small backbone of its own, from scratch."""
    widths = (width // 2, width, 2 * width)
    return Detector(Encoder(Small(channels, widths), STRIDES, widths), num_outputs, width, depth)


@ON_BACKBONE.register("boxes")
def on_backbone(
    name: str, spec: InputSpec, num_outputs: int, pretrained: bool | str | Path | None, options: dict[str, Any]
) -> Built:
    """The detector on a backbone of timm's, with its weights; options as for `detector`, the others are timm's."""
    own = {option: options[option] for option in OWN.options["detector"] if option in options}
    rest = {option: value for option, value in options.items() if option not in own}
    backbone, wanted, notes = encoder(name, spec, STRIDES, pretrained, **rest)
    model = Detector(backbone, num_outputs, **own)
    return Built(model, ("pyramid", "head"), wanted, notes, dict(options), from_zero=False)
