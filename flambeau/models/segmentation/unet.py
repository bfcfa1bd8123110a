"""U-Nets: what is seen coarsely is told where it is by what is seen finely (Ronneberger et al. 2015, arXiv:1505.04597).

Pictures (B, C, H, W) of any size to logits (B, K, H, W).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.core.shapes import Float
from flambeau.models.layers import conv_norm
from flambeau.models.spec import ON_BACKBONE, OWN, Built, InputSpec
from flambeau.models.vision.encoder import encoder

WIDTHS = (128, 96, 64, 32)  # of the decoder, from the coarsest map on; half of what is usual, for less work


class Decoder(nn.Module):
    """Feature maps from the finest to the coarsest, each coarser one brought to the size of the one before and put
    beside it, to one map (B, width, h, w) of the finest one's size.

    Args:
        channels: of the maps.
        widths: of what is made of each but the coarsest, from the coarse to the fine.
    """

    def __init__(self, channels: Sequence[int], widths: Sequence[int]):
        super().__init__()
        coarse = [channels[-1], *widths[:-1]]
        skips = reversed(channels[:-1])
        self.up = nn.ModuleList(conv_norm(a + skip, w) for a, skip, w in zip(coarse, skips, widths, strict=True))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        *finer, x = maps
        for join, skip in zip(self.up, reversed(finer), strict=True):
            x = join(torch.cat([skip, F.interpolate(x, skip.shape[2:])], 1))
        return x


class UNet(nn.Module):
    """An encoder, a Decoder and a 1×1 convolution, whose logits are enlarged to the size of the picture."""

    def __init__(
        self, body: nn.Module, channels: Sequence[int], num_outputs: int, widths: Sequence[int], dropout: float
    ):
        super().__init__()
        self.encoder, self.decoder = body, Decoder(channels, widths)
        self.dropout = nn.Dropout2d(dropout) if dropout else nn.Identity()
        self.head = nn.Conv2d(widths[-1], num_outputs, 1)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K H W"]:
        logits = self.head(self.dropout(self.decoder(self.encoder(x))))
        if logits.shape[2:] == x.shape[2:]:
            return logits
        return F.interpolate(logits, x.shape[2:], mode="bilinear", align_corners=False)


class Stages(nn.Module):
    """The encoder of a U-Net from scratch: maps of the strides 1, 2, 4, …, each twice as wide as the one before."""

    def __init__(self, channels: int, widths: Sequence[int]):
        super().__init__()
        self.stages = nn.ModuleList(conv_norm(before, after) for before, after in pairwise([channels, *widths]))

    def forward(self, x: Tensor) -> list[Tensor]:
        maps: list[Tensor] = []
        for level, stage in enumerate(self.stages):
            x = stage(F.max_pool2d(x, 2, ceil_mode=True) if level else x)
            maps.append(x)
        return maps


@OWN.register("unet", of=lambda spec: (spec.channels,), layout="dense")
def small_unet(channels: int, num_outputs: int, width: int = 16, depth: int = 4, dropout: float = 0.0) -> UNet:
    """A U-Net from scratch.

    Args:
        channels: C of the pictures.
        num_outputs: K.
        width: channels of the first stage.
        depth: how often the picture is halved: 16 pixels are one on the coarsest map.
        dropout: probability that a channel is left out before the last layer.
    """
    if depth < 1:
        raise UsageError(f"a U-Net of depth {depth} was asked for", expected="at least 1")
    widths = [min(width * 2**level, 128) for level in range(depth + 1)]
    return UNet(Stages(channels, widths), widths, num_outputs, widths[-2::-1], dropout)


@ON_BACKBONE.register("dense")
def unet_on(
    name: str, spec: InputSpec, num_outputs: int, pretrained: bool | str | Path | None, options: dict[str, Any]
) -> Built:
    """The timm model `name` as the encoder of a U-Net. Options beside timm's: `widths` of the decoder, `dropout` before
    the last layer.

    Raises as `flambeau.models.vision.encoder.encoder`.
    """
    free = dict(options)
    widths, dropout = free.pop("widths", None), float(free.pop("dropout", 0.0))
    body, wanted, notes = encoder(name, spec, None, pretrained, **free)
    steps = len(body.channels) - 1
    widths = [int(width) for width in widths or WIDTHS[:steps]]
    if len(widths) != steps or not steps:
        raise UsageError(
            f"the decoder has {len(widths)} widths", where=f"timm:{name}", expected=f"{steps}, one for each map"
        )
    model = UNet(body, body.channels, num_outputs, widths, dropout)
    return Built(model, ("decoder", "head"), wanted, notes, dict(options), from_zero=False)
