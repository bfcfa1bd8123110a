"""DiffAugment: what is real and what is generated is changed alike before it is judged, so that a discriminator of few
pictures does not learn them by heart: Zhao et al. 2020, arXiv:2006.10738. Costs a few passes over the pictures; gain:
not measured yet."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from flambeau.core.shapes import Float

SHIFT = 8  # of a side, the most that is moved
CUT = 2  # of a side, that is hidden


def changed(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Each picture in another brightness, saturation and contrast, moved by up to an eighth, a quarter of it hidden;
    with gradients. Randomness is torch's own."""
    return _hidden(_moved(_coloured(x)))


def _coloured(x: Tensor) -> Tensor:
    brightness, saturation, contrast = torch.rand(3, len(x), 1, 1, 1, device=x.device, dtype=x.dtype)
    x = x + brightness - 0.5
    if x.shape[1] > 1:
        grey = x.mean(1, keepdim=True)
        x = (x - grey) * 2 * saturation + grey
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * (contrast + 0.5) + mean


def _moved(x: Tensor) -> Tensor:
    count, _, height, width = x.shape
    most = max(height // SHIFT, 1), max(width // SHIFT, 1)
    padded = F.pad(x, (most[1], most[1], most[0], most[0]), value=0.0).permute(0, 2, 3, 1)
    down, right = (torch.randint(0, 2 * m + 1, (count, 1, 1), device=x.device) for m in most)
    rows = down + torch.arange(height, device=x.device).view(1, -1, 1)
    columns = right + torch.arange(width, device=x.device).view(1, 1, -1)
    samples = torch.arange(count, device=x.device).view(-1, 1, 1)
    return padded[samples, rows, columns].permute(0, 3, 1, 2)


def _hidden(x: Tensor) -> Tensor:
    count, _, height, width = x.shape
    inside = x.new_ones(count, 1, height, width)
    for side, shape in ((height, (1, 1, -1, 1)), (width, (1, 1, 1, -1))):
        middle = torch.randint(0, side + 1, (count, 1, 1, 1), device=x.device)
        away = (torch.arange(side, device=x.device).view(shape) - middle).abs()
        inside = inside * (away <= side // (2 * CUT)).to(x.dtype)
    return x * (1 - inside)
