"""How near a picture is to another: losses by name, and PSNR and SSIM as papers measure them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.core.shapes import Float
from flambeau.fields import Picture
from flambeau.objectives.classification import Worst
from flambeau.objectives.intervals import GROUPS, Grouped, groups_of
from flambeau.objectives.losses import LOSSES, reduced
from flambeau.objectives.metrics import NamedMetric
from flambeau.objectives.names import METRICS

LUMA = (65.481, 128.553, 24.966, 16.0)
"""BT.601 with 16 for black and 235 for white: the Y on which papers measure super-resolution."""
WINDOW, SIGMA = 11, 1.5  # of SSIM
SHOWN = 8
LEAST_ERROR = 1e-10  # a PSNR of 100 dB for what is the same


def luma(pictures: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 1 H W"]:
    """Y in 16/255…235/255 of RGB or grey in 0…1."""
    *shares, black = LUMA
    if pictures.shape[1] == 1:
        return (pictures * sum(shares) + black) / 255
    return (torch.einsum("c,bchw->bhw", pictures.new_tensor(shares), pictures)[:, None] + black) / 255


def psnr(output: Float[Tensor, "B C H W"], target: Float[Tensor, "B C H W"]) -> Float[Tensor, " B"]:
    """The peak signal-to-noise ratio of each picture in 0…1, in dB."""
    return -10 * (output - target).square().flatten(1).mean(1).clamp_min(LEAST_ERROR).log10()


def ssim(output: Float[Tensor, "B C H W"], target: Float[Tensor, "B C H W"]) -> Float[Tensor, " B"]:
    """The structural similarity of each picture in 0…1, at most 1: the mean over windows of 11 pixels that lie wholly
    inside; smaller where a picture is. Wang et al. 2004, "Image quality assessment: from error visibility to structural
    similarity"."""
    B, C, H, W = output.shape
    side = min(WINDOW, H, W)
    at = torch.arange(side, device=output.device, dtype=output.dtype) - (side - 1) / 2
    line = torch.exp(-at.square() / (2 * SIGMA**2))
    line = line / line.sum()
    x, y = output.reshape(B * C, 1, H, W), target.reshape(B * C, 1, H, W)

    def blurred(planes: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(planes, line.view(1, 1, 1, side)), line.view(1, 1, side, 1))

    mean_x, mean_y = blurred(x), blurred(y)
    var_x, var_y = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2
    both = blurred(x * y) - mean_x * mean_y
    first, second = 0.01**2, 0.03**2
    found = (2 * mean_x * mean_y + first) * (2 * both + second)
    found = found / ((mean_x**2 + mean_y**2 + first) * (var_x + var_y + second))
    return found.reshape(B, -1).mean(1)


@LOSSES.register("charbonnier")
def charbonnier(output: Tensor, target: Tensor, reduction: str = "mean", epsilon: float = 1e-3) -> Tensor:
    """The absolute error, rounded off below `epsilon`: Lai et al. 2017, arXiv:1704.03915. Both (B, C, H, W)."""
    return reduced(((output - target).square() + epsilon**2).sqrt().flatten(1).mean(1), reduction)


@LOSSES.register("ssim")
def ssim_loss(output: Tensor, target: Tensor, reduction: str = "mean", l1: float = 0.16) -> Tensor:
    """1 - SSIM, mixed with a share of the absolute error: Zhao et al. 2017, arXiv:1511.08861. Both (B, C, H, W) in
    0…1."""
    error = (output - target).abs().flatten(1).mean(1)
    return reduced(l1 * error + (1 - l1) * (1 - ssim(output, target)), reduction)


class Quality(Grouped):
    """The mean PSNR and SSIM over pictures: of larger ones than their input on Y, without `scale` pixels at each edge,
    as papers measure super-resolution; of others on all channels. Pictures as they would be written: of 256 levels.

    Args:
        field: the target's, fitted.
        detail: whether those that came out worst are kept for the report.
    """

    def __init__(self, field: Picture, detail: bool):
        self.field, self.keep = field, detail
        self.sums = torch.zeros(GROUPS, 3, dtype=torch.float64)  # pictures, PSNR, SSIM
        self.worst = Worst()

    def update(self, output: Tensor, target: Tensor, rows: Tensor) -> None:
        pair = [seen(self.field, planes) for planes in (output, target)]
        if self.field.scale > 1:
            pair = [cut(luma(planes), self.field.scale) for planes in pair]
        noise, structure = psnr(pair[0], pair[1]), ssim(pair[0], pair[1])
        by_row = torch.stack([torch.ones_like(noise), noise, structure], 1).double().cpu()
        self.sums.index_add_(0, groups_of(rows), by_row)
        if self.keep:
            output = output.float().cpu()

            def tell(i: int) -> dict[str, Any]:
                return {"caption": f"{float(noise[i]):.1f} dB", "output": output[i].numpy()}

            self.worst.offer(-noise.cpu() + 200, rows, tell)

    @property
    def count(self) -> int:
        return int(self.sums[:, 0].sum())

    def score(self, sums: Tensor) -> dict[str, Tensor]:
        count = sums[:, 0].clamp_min(1)
        return {"psnr": sums[:, 1] / count, "ssim": sums[:, 2] / count}

    def detail(self) -> dict[str, Any]:
        return {"kind": "pictures", "pictures": self.worst.listed()[:SHOWN]}


def seen(field: Picture, planes: Tensor) -> Tensor:
    """Normalised pictures (B, C, H, W) as they would be written, float32 in 0…1 of 256 levels."""
    return (in_units(planes.float(), field.mean or (), field.std or ()) * 255).round().clamp(0, 255) / 255


def in_units(planes: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Normalised pictures (B, C, H, W) in 0 for black and 1 for white, and beyond."""
    return planes * planes.new_tensor(std).view(-1, 1, 1) + planes.new_tensor(mean).view(-1, 1, 1)


def cut(planes: Tensor, border: int) -> Tensor:
    """(B, C, H, W) without so many pixels at each edge, where any are left."""
    H, W = planes.shape[2:]
    return planes[:, :, border : H - border, border : W - border] if min(H, W) > 2 * border else planes


@METRICS.register("psnr_y")
class LumaPSNR(NamedMetric):
    """PSNR in dB on Y, as papers measure super-resolution, without `border` pixels at each edge."""

    tasks = ("picture",)
    bounds = (0.0, float("inf"))

    def __init__(self, field: Picture, border: int = 0):
        if border < 0:
            raise UsageError(f"border={border} does not fit", expected="pixels, 0 or more")
        super().__init__(field)
        self.border = border

    def terms(self, output: Tensor, target: Tensor) -> Tensor:
        pair = [cut(luma(seen(self.field, planes)), self.border) for planes in (output, target)]
        return psnr(pair[0], pair[1])

    def value(self, sums: Tensor, count: Tensor) -> Tensor:
        return sums / count
