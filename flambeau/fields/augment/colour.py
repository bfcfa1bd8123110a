"""Brightness, contrast, saturation, hue, greyscale and normalisation as one affine map of each sample's
colours.

All of them are linear in a pixel's colour but contrast, whose constant is the mean grey of the whole picture;
and that mean follows from the mean of each channel, which is read once. So every pixel is touched once, by a
3×4 matrix (P. Haeberli, "Matrix operations for image processing", 1993,
http://www.graficaobscura.com/matrix/).

Order: brightness, contrast, saturation, hue, greyscale, normalisation. The result is clipped to the range of
pixels once, at the end, where torchvision clips after each operation: chains that leave the range on the way
differ there.

Hue is a rotation of the chromaticity plane of YIQ (the NTSC colour space of 1953; as in NVIDIA DALI's `hue`):
it keeps each pixel's luma. torchvision turns the H of HSV instead, which keeps the largest channel and makes
turned yellows much darker than turned blues. Both leave greys as they are, and a full turn is the identity in
both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.fields.augment.draws import Draws
from flambeau.fields.augment.effects import Brightness, Contrast, Effect, Greyscale, Hue, Saturation, get

LUMA = (0.2989, 0.587, 0.114)
"""Grey of R, G, B as torchvision has it (ITU-R BT.601)."""
YIQ = ((0.299, 0.587, 0.114), (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135))
BLOCK = 4
"""Pixels in one row of a matrix product: products of 12 columns run three times as fast as ones of 3."""


class ColourMap:
    """out = matrix @ pixel + offset for each sample of a batch, from uint8 units 0…255 to normalised ones.

    Args:
        active: the effects that are on.
        draws: their random numbers.
        channels: C.
        mean, std: normalisation for each channel, in 0…1 units.
        fill: float32 (C) in 0…255: what was subtracted from all pixels before (`resample.sample`), else None.
    """

    def __init__(
        self,
        active: Mapping[type[Effect], Effect],
        draws: Draws | None,
        channels: int,
        mean: Tensor,
        std: Tensor,
        fill: Tensor | None = None,
    ):
        self.channels, self.mean, self.std, self.fill = channels, mean, std, fill
        self.matrix: Tensor | None = None
        self.gain: Tensor | None = None
        self.pull: Tensor | None = None
        self.low, self.high = (0 - mean) / std, (1 - mean) / std
        if draws is None:
            return
        brightness, contrast = get(active, Brightness), get(active, Contrast)
        gain = factor("brightness", brightness, draws)
        stretch = factor("contrast", contrast, draws)
        if channels == 3:
            self.matrix = mixing(active, draws, mean.device)
        if gain is not None or stretch is not None or self.matrix is not None:
            one = torch.ones(len(draws.table), device=mean.device)
            gain = one if gain is None else gain
            self.pull = None if stretch is None else gain * (1 - stretch)
            self.gain = gain if stretch is None else gain * stretch

    @property
    def changes(self) -> bool:
        """Whether it does more than normalise."""
        return self.gain is not None

    def apply(self, pixels: Tensor, rows: slice, out: Tensor, planar: bool) -> None:
        """Maps samples `rows`, float32 (b, C, P) where planar, else (b, P, C), into `out` of that shape."""
        fill = 0 if self.fill is None else self.fill
        scale = 1 / (255 * self.std)
        if self.gain is None:
            per_channel(pixels, scale[None], (fill * scale - self.mean / self.std)[None], out, planar)
            return
        gain = self.gain[rows]
        if self.matrix is None:
            offset = gain[:, None] * fill if self.fill is not None else gain.new_zeros(len(gain), self.channels)
            if self.pull is not None:
                offset = offset + (self.pull[rows] * self.grey(pixels, planar))[:, None]
            per_channel(pixels, gain[:, None] * scale, offset * scale - self.mean / self.std, out, planar)
            return
        matrix = gain[:, None, None] * self.matrix[rows]
        offset = matrix @ self.fill if self.fill is not None else gain.new_zeros(len(gain), self.channels)
        if self.pull is not None:
            # contrast pulls towards one grey, which what follows maps as it maps every colour
            offset = offset + self.matrix[rows].sum(2) * (self.pull[rows] * self.grey(pixels, planar))[:, None]
        mix(pixels, matrix * scale[:, None], offset * scale - self.mean / self.std, out, planar)

    def grey(self, pixels: Tensor, planar: bool) -> Tensor:
        """float32 (b): mean grey of each picture, in 0…255."""
        means = channel_means(pixels, planar)
        if self.fill is not None:
            means = means + self.fill
        return means @ means.new_tensor(LUMA) if self.channels == 3 else means.mean(1)


def factor(name: str, effect: Brightness | None, draws: Draws) -> Tensor | None:
    """float32 (B): uniform in 1 ± strength, not below 0; None where the effect is off."""
    if effect is None:
        return None
    return draws.between(name, max(0.0, 1 - effect.strength), 1 + effect.strength, effect.p, 1.0)


def mixing(active: Mapping[type[Effect], Effect], draws: Draws, device: torch.device) -> Tensor | None:
    """float32 (B, 3, 3): saturation, then hue, then greyscale; None where all are off."""
    saturation, hue, grey = get(active, Saturation), get(active, Hue), get(active, Greyscale)
    if not (saturation or hue or grey):
        return None
    identity = torch.eye(3, device=device)
    to_grey = torch.tensor([LUMA] * 3, device=device)
    matrix = identity.expand(len(draws.table), 3, 3)
    amount = factor("saturation", saturation, draws)
    if amount is not None:
        matrix = to_grey + amount[:, None, None] * (identity - to_grey)
    if hue:
        turn = draws.between("hue", -hue.strength, hue.strength, hue.p, 0.0)
        matrix = hue_rotation(turn) @ matrix
    if grey:
        matrix = torch.where(draws.chosen("greyscale", grey.p)[:, None, None], to_grey @ matrix, matrix)
    return matrix


def hue_rotation(turn: Tensor) -> Tensor:
    """float32 (B, 3, 3): RGB colours turned about the grey axis by `turn` (B) of the full turn, luma kept."""
    to_yiq = torch.tensor(YIQ, dtype=torch.float64)
    # a constant and two waves; I and Q turn so that red becomes green, as growing H of HSV does
    luma = ((1, 0, 0), (0, 0, 0), (0, 0, 0))
    planes = (luma, ((0, 0, 0), (0, 1, 0), (0, 0, 1)), ((0, 0, 0), (0, 0, 1), (0, -1, 0)))
    back = torch.linalg.inv(to_yiq)
    parts = [back @ torch.tensor(p, dtype=torch.float64) @ to_yiq for p in planes]
    constant, cosine, sine = (p.to(turn.device, torch.float32) for p in parts)
    angle = (2 * math.pi * turn)[:, None, None]
    return constant + angle.cos() * cosine + angle.sin() * sine


def channel_means(pixels: Tensor, planar: bool) -> Tensor:
    """float32 (b, C): mean of each channel."""
    if planar:
        return pixels.mean(2)
    b, P, C = pixels.shape
    group = math.gcd(P, 16)  # sums of 48 neighbouring numbers run three times as fast as ones of 3
    return pixels.view(b, P // group, group * C).mean(1).view(b, group, C).mean(1)


def per_channel(pixels: Tensor, scale: Tensor, offset: Tensor, out: Tensor, planar: bool) -> None:
    """out = pixels * scale + offset, each of them (b or 1, C)."""
    if planar:
        torch.addcmul(offset[:, :, None], pixels, scale[:, :, None], out=out)
        return
    b, P, C = pixels.shape
    group = min(math.gcd(P, 256), P)  # a long inner row, or nothing is vectorised
    scale, offset = scale.repeat(1, group)[:, None], offset.repeat(1, group)[:, None]
    shape = (b, P // group, group * C)
    torch.addcmul(offset, pixels.view(shape), scale, out=out.view(shape))


def mix(pixels: Tensor, matrix: Tensor, offset: Tensor, out: Tensor, planar: bool) -> None:
    """out = matrix @ pixel + offset, with matrix (b, 3, 3) and offset (b, 3)."""
    if planar:
        torch.baddbmm(offset[:, :, None], matrix, pixels, out=out)
        return
    b, P, C = pixels.shape
    whole = P // BLOCK * BLOCK
    transposed = matrix.transpose(1, 2)
    group = math.gcd(P, 256)
    shape = (b, P // group, group * C)
    out.view(shape).copy_(offset.repeat(1, group)[:, None].expand(shape))
    if whole:
        eye = torch.eye(BLOCK, device=matrix.device)
        blocks = (eye[:, None, :, None] * transposed[:, None, :, None, :]).reshape(b, BLOCK * C, BLOCK * C)
        shape = (b, whole // BLOCK, BLOCK * C)
        out[:, :whole].view(shape).baddbmm_(pixels[:, :whole].view(shape), blocks)
    if whole < P:
        out[:, whole:].baddbmm_(pixels[:, whole:], transposed)


def clip(out: Tensor, low: Tensor, high: Tensor, planar: bool) -> None:
    """Clips `out` in place to low…high, (C) each, the values of black and white."""
    if planar:
        torch.clamp(out, low[:, None], high[:, None], out=out)
        return
    b, P, C = out.shape
    group = math.gcd(P, 256)
    rows = out.view(b, P // group, group * C)
    torch.clamp(rows, low.repeat(group), high.repeat(group), out=rows)


def as_channels(name: str, values: Sequence[float] | Tensor, channels: int, device: torch.device) -> Tensor:
    """float32 (C) on `device`, from one number or one for each channel.

    Raises:
        UsageError: another count of numbers.
    """
    tensor = torch.as_tensor(values, dtype=torch.float32).to(device, non_blocking=True).flatten()
    if len(tensor) not in (1, channels):
        raise UsageError(f"{name} has {len(tensor)} numbers", expected=f"one, or one for each of {channels} channels")
    return tensor.expand(channels)
