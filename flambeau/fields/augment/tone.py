"""Autocontrast, equalisation, solarisation and posterisation as one table of 256 levels for each channel of a sample.

All four map a brightness to another, whatever its place: they are composed to one table, in that order, and each pixel
is looked up once. What the first two need of the picture, its histogram, is counted once; the second's follows from
the first's table. On whole levels 0…255 each equals torchvision's function on uint8 tensors, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from flambeau.fields.augment.draws import Draws
from flambeau.fields.augment.effects import Autocontrast, Effect, Equalise, Posterize, Solarize

LEVELS = 256
TONES = {Autocontrast: "autocontrast", Equalise: "equalise", Solarize: "solarize", Posterize: "posterize"}
"""The effects that map brightnesses, in order, and their names."""


class Tone:
    """The tables of a batch.

    Args:
        active: the effects that are on.
        draws: their random numbers.
        each: only the samples that are changed are touched, as suits a CPU; else all of them, without waiting.
    """

    def __init__(self, active: Mapping[type[Effect], Effect], draws: Draws, each: bool):
        self.each, self.draws = each, draws
        self.on = {name: active[kind] for kind, name in TONES.items() if kind in active}
        self.chosen = {name: draws.chosen(name, effect.p) for name, effect in self.on.items()}

    def __bool__(self) -> bool:
        return bool(self.on)

    def apply(self, pixels: Tensor, rows: slice, planar: bool) -> Tensor:
        """Samples `rows`, uint8 (b, H, W, C), or float32 (b, C, H, W) where planar, in 0…255: the same form, in whole
        levels; a new tensor."""
        chosen = {name: mask[rows] for name, mask in self.chosen.items()}
        at, changed = torch.arange(len(pixels), device=pixels.device), torch.stack([*chosen.values()]).any(0)
        if self.each:
            at = changed.nonzero()[:, 0]
            if not len(at):
                return pixels
        part = pixels[at]
        levels = (part.round().clamp(0, 255) if planar else part).long()
        channels = levels.shape[1] if planar else levels.shape[3]
        # each channel of each sample has 256 places of its own
        own = torch.arange(len(at) * channels, device=part.device).view(len(at), channels) * LEVELS
        places = levels + (own[:, :, None, None] if planar else own[:, None, None, :])
        table = self._table(places, (len(at), channels), {n: m[at] for n, m in chosen.items()}, rows, at)
        looked_up = table.to(part.dtype).flatten()[places]
        if not self.each:
            return torch.where(changed[:, None, None, None], looked_up, pixels)
        out = pixels.clone()
        out[at] = looked_up
        return out

    def _table(
        self, places: Tensor, shape: tuple[int, int], chosen: Mapping[str, Tensor], rows: slice, at: Tensor
    ) -> Tensor:
        """float32 (b, C, 256)."""
        b, C = shape
        table = torch.arange(LEVELS, device=places.device, dtype=torch.float32).expand(b, C, LEVELS)
        counts = torch.empty(0)
        if "autocontrast" in self.on or "equalise" in self.on:
            ones = torch.ones(1, dtype=torch.int64, device=places.device).expand(places.numel())
            counts = torch.zeros(b * C * LEVELS, dtype=torch.int64, device=places.device)
            counts = counts.scatter_add_(0, places.flatten(), ones).view(b, C, LEVELS)
        for name, effect in self.on.items():
            if name == "autocontrast":
                changed = stretched(counts)
            elif name == "equalise":
                changed = equalised(torch.zeros_like(counts).scatter_add_(2, table.long(), counts), table)
            elif isinstance(effect, Solarize):
                drawn = self._amount(name, effect.threshold, rows, at)
                changed = torch.where(table >= (drawn * 255).round(), 255 - table, table)
            else:
                assert isinstance(effect, Posterize)
                step = 2 ** (8 - self._amount(name, float(effect.bits), rows, at))
                changed = (table / step).floor() * step
            table = torch.where(chosen[name][:, None, None], changed, table)
        return table

    def _amount(self, name: str, value: float, rows: slice, at: Tensor) -> Tensor:
        """float32 (b, 1, 1), or a scalar: drawn for each sample, or a setting."""
        if name in self.draws.amounts:
            return self.draws.amounts[name][rows][at][:, None, None]
        return torch.tensor(value, device=at.device)


def stretched(counts: Tensor) -> Tensor:
    """float32 (b, C, 256): from the darkest level that occurs to 0, from the brightest to 255."""
    levels = torch.arange(LEVELS, device=counts.device, dtype=torch.float32)
    occurs = counts > 0
    low = torch.where(occurs, levels, 255.0).amin(2, keepdim=True)
    high = torch.where(occurs, levels, 0.0).amax(2, keepdim=True)
    plain = high == low
    scale = torch.where(plain, 1.0, (high - low) * (1 / 255))
    return ((levels - torch.where(plain, 0.0, low)) / scale).clamp(0, 255).floor()


def equalised(counts: Tensor, table: Tensor) -> Tensor:
    """float32 (b, C, 256): `table`, behind it the equalisation of pictures with these counts of its levels."""
    levels = torch.arange(LEVELS, device=counts.device)
    last = torch.where(counts > 0, levels, 0).amax(2, keepdim=True)
    step = (counts.sum(2, keepdim=True) - counts.gather(2, last)) // 255
    before = counts.cumsum(2) - counts
    equal = torch.where(levels > 0, ((before + step // 2) // step.clamp(min=1)).clamp(0, 255), 0)
    return torch.where(step > 0, equal.float().gather(2, table.long()), table)
