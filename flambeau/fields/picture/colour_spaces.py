"""Colour spaces for whole batches on the device: from RGB to HSV, LAB and YCbCr, each scaled to about 0…1."""

from __future__ import annotations

import torch
from torch import Tensor

COLOURS = ("rgb", "grey", "hsv", "lab", "ycbcr")

# BT.601 full range, as JPEG has it (ITU-T T.871); rows Y, Cb, Cr
YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
# sRGB to XYZ under D65 (IEC 61966-2-1), rows divided by the white point
XYZ = (
    (0.4124564 / 0.95047, 0.3575761 / 0.95047, 0.1804375 / 0.95047),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339 / 1.08883, 0.1191920 / 1.08883, 0.9503041 / 1.08883),
)


def convert(rgb: Tensor, colour: str) -> Tensor:
    """Float (B, 3, H, W) in 0…1 to another colour space, each channel in about 0…1.

    `rgb` and `grey` are returned as they are. L is divided by 100; a and b are (value + 128) / 255;
    Cb and Cr are shifted by a half; H is a turn.
    """
    if colour == "hsv":
        return _hsv(rgb)
    if colour == "lab":
        return _lab(rgb)
    if colour == "ycbcr":
        planes = torch.einsum("oc,bchw->bohw", rgb.new_tensor(YCBCR), rgb)
        return planes + rgb.new_tensor([0.0, 0.5, 0.5]).view(1, 3, 1, 1)
    return rgb


def _hsv(rgb: Tensor) -> Tensor:
    """Smith, "Color gamut transform pairs", 1978."""
    value, which = rgb.max(1)
    span = value - rgb.min(1).values
    safe = torch.where(span > 0, span, torch.ones_like(span))
    red, green, blue = rgb.unbind(1)
    hue = torch.where(
        which == 0,
        ((green - blue) / safe) % 6,
        torch.where(which == 1, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    hue = torch.where(span > 0, hue / 6, torch.zeros_like(hue))
    saturation = torch.where(value > 0, span / torch.where(value > 0, value, torch.ones_like(value)), value)
    return torch.stack([hue, saturation, value], 1)


def _lab(rgb: Tensor) -> Tensor:
    """CIE 1976 L*a*b* of sRGB under D65."""
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4)
    xyz = torch.einsum("oc,bchw->bohw", rgb.new_tensor(XYZ), linear)
    delta = 6 / 29
    f = torch.where(xyz > delta**3, xyz.clamp_min(delta**3) ** (1 / 3), xyz / (3 * delta**2) + 4 / 29)
    x, y, z = f.unbind(1)
    return torch.stack([1.16 * y - 0.16, (500 * (x - y) + 128) / 255, (200 * (y - z) + 128) / 255], 1)
