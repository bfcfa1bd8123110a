"""Views of a picture by name: mirrored, the crops of its middle and corners (Krizhevsky et al. 2012); and filters,
which take out small changes that were made on purpose: JPEG (Dziugaite et al. 2016, arXiv:1608.00853), the median and
fewer bits (Xu et al. 2018, arXiv:1704.01155)."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as PILImage
from torch import Tensor

CROP = 0.875
"""Of a side: 224 of 256 pixels, as there."""


def mirrored(images: Tensor) -> Tensor:
    """uint8 (B, H, W, C), left and right exchanged."""
    return images.flip(2)


def crop(images: Tensor, down: float, right: float, mirror: bool) -> Tensor:
    """uint8 (B, H, W, C): a part of CROP of each side, brought to the same shape.

    Args:
        down, right: where it lies, of the room that it has: 0 at the top or left, 1 at the bottom or right.
    """
    _, H, W, _ = images.shape
    height, width = max(1, round(CROP * H)), max(1, round(CROP * W))
    top, left = round(down * (H - height)), round(right * (W - width))
    part = images[:, top : top + height, left : left + width].permute(0, 3, 1, 2).float()
    part = part.flip(3) if mirror else part
    # of bytes no bilinear value lies beyond 0…255
    return F.interpolate(part, (H, W), mode="bilinear", align_corners=False).round().byte().permute(0, 2, 3, 1)


def jpeg(images: Tensor, quality: int = 75) -> Tensor:
    """uint8 (B, H, W, C) as JPEG leaves them."""
    out = []
    for picture in images.cpu().numpy():
        buffer = io.BytesIO()
        PILImage.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(buffer, "JPEG", quality=quality)
        out.append(np.asarray(PILImage.open(buffer, formats=["JPEG"])).reshape(picture.shape))
    return torch.from_numpy(np.stack(out)).to(images.device)


def median(images: Tensor) -> Tensor:
    """uint8 (B, H, W, C): of each pixel and its eight neighbours the middle one, in each channel."""
    _, H, W, _ = images.shape
    padded = F.pad(images.permute(0, 3, 1, 2).float(), (1, 1, 1, 1), mode="replicate").byte()
    near = [padded[:, :, down : down + H, right : right + W] for down in range(3) for right in range(3)]
    return torch.stack(near).median(0).values.permute(0, 2, 3, 1)


def bits(images: Tensor, count: int = 4) -> Tensor:
    """uint8 (B, H, W, C) in 2**count levels, the nearest of them."""
    levels = 2**count - 1
    return ((images.float() * (levels / 255)).round() * (255 / levels)).round().byte()


PLACES = ((0.5, 0.5), (0, 0), (0, 1), (1, 0), (1, 1))
CROPS = [functools.partial(crop, down=d, right=r, mirror=mirror) for mirror in (False, True) for d, r in PLACES]
VIEWS: dict[str, list[Callable[[Tensor], Tensor] | None]] = {
    "flip": [None, mirrored], "five_crops": [*CROPS[:5]], "ten_crops": [*CROPS],
    "jpeg": [jpeg], "median": [median], "bits": [bits],
}  # fmt: skip
"""None is the whole picture as it is."""
