"""A small U-Net that is told the time of a noised picture and, where there are any, its class: Ho et al. 2020,
arXiv:2006.11239; the time scales and shifts what is normalised, as in Dhariwal & Nichol 2021, arXiv:2105.05233.

It works on patches of pixels ("simple diffusion", Hoogeboom et al. 2023, arXiv:2301.11093), so that a picture of 28
pixels costs what one of 14 would. Without attention: a map of 7 × 7 is seen whole by the convolutions on it; larger
pictures want more `levels`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.core.shapes import Float, Int64

FAINT = 1e-3
"""The deviation of last layers' weights in the beginning: a block first gives about its input."""
WAVES = 32
"""How many sines tell the time, and as many cosines."""


class Block(nn.Module):
    """(B, F, h, w) and what is known (B, D) to (B, F2, h, w): two convolutions, added to the input."""

    def __init__(self, before: int, after: int, known: int):
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(groups(before), before), nn.GroupNorm(groups(after), after)
        self.conv1, self.conv2 = (nn.Conv2d(wide, after, 3, padding=1) for wide in (before, after))
        self.told = nn.Linear(known, 2 * after)
        self.skip = nn.Conv2d(before, after, 1) if before != after else nn.Identity()
        nn.init.normal_(self.conv2.weight, std=FAINT)

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        scale, shift = self.told(known)[..., None, None].chunk(2, 1)
        deep = self.norm2(self.conv1(F.silu(self.norm1(x)))) * (1 + scale) + shift
        return self.skip(x) + self.conv2(F.silu(deep))


def groups(width: int) -> int:
    """Of channels that are normalised together."""
    return math.gcd(width, 8)


class TimeUNet(nn.Module):
    """Noised pictures of any size and their times to pictures of the same form.

    Args:
        channels: C.
        classes: how many a picture may be said to be of; class number `classes` is for none.
        width: F, channels of the finest map; each coarser one has twice as many.
        levels: maps, each half as large as the one before.
        patch: side of the square of pixels that is one cell of the finest map.
    """

    def __init__(self, channels: int, classes: int = 0, width: int = 48, levels: int = 2, patch: int = 2):
        super().__init__()
        self.patch, self.multiple, known = patch, patch * 2 ** (levels - 1), 4 * width
        self.time = nn.Sequential(nn.Linear(2 * WAVES, known), nn.SiLU(), nn.Linear(known, known))
        self.label = nn.Embedding(classes + 1, known) if classes else None
        wide = [width * 2**level for level in range(levels)]
        self.stem = nn.Conv2d(channels * patch**2, width, 3, padding=1)
        self.down = nn.ModuleList(Block(wide[max(i - 1, 0)], w, known) for i, w in enumerate(wide))
        self.middle = Block(wide[-1], wide[-1], known)
        self.up = nn.ModuleList(Block(2 * w, wide[max(i - 1, 0)], known) for i, w in reversed([*enumerate(wide)]))
        self.norm, self.head = nn.GroupNorm(groups(width), width), nn.Conv2d(width, channels * patch**2, 3, padding=1)
        nn.init.normal_(self.head.weight, std=FAINT)

    def forward(
        self, x: Float[Tensor, "B C H W"], time: Float[Tensor, " B"], label: Int64[Tensor, " B"] | None = None
    ) -> Float[Tensor, "B C H W"]:
        """`time` is in 0…1; without `label` nothing is said of the class."""
        height, width = x.shape[2:]
        x = F.pad(x, (0, -width % self.multiple, 0, -height % self.multiple), mode="replicate")
        waves = time.float()[:, None] * torch.exp(torch.linspace(0, math.log(1000), WAVES, device=x.device))
        known = self.time(torch.cat([waves.sin(), waves.cos()], 1))
        if self.label is not None:
            none = torch.full_like(time, self.label.num_embeddings - 1, dtype=torch.long)
            known = known + self.label(none if label is None else label)
        known, maps = F.silu(known), []
        x = self.stem(F.pixel_unshuffle(x, self.patch))
        for level, block in enumerate(self.down):
            x = block(F.avg_pool2d(x, 2) if level else x, known)
            maps.append(x)
        x = self.middle(x, known)
        for level, block in enumerate(self.up):
            x = F.interpolate(x, scale_factor=2.0) if level else x
            x = block(torch.cat([x, maps.pop()], 1), known)
        return F.pixel_shuffle(self.head(F.silu(self.norm(x))), self.patch)[..., :height, :width]
