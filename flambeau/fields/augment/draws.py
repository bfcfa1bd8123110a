"""The random numbers of a batch: one table, one row a sample, columns of its own for each effect."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor

TRIES = 10
"""Tries for a rectangle that fits into the picture, as in torchvision."""
MOST_TOGETHER = 8
"""Groups of effects that may come together."""
COLUMNS = {
    "horizontal_flip": 1,
    "vertical_flip": 1,
    "rotation": 2,
    "shift": 3,
    "zoom": 2,
    "shear": 2,
    "random_crop": 3,
    "random_resized_crop": 2 * TRIES + 3,
    "brightness": 2,
    "contrast": 2,
    "saturation": 2,
    "hue": 2,
    "greyscale": 1,
    "gaussian_noise": 1,
    "random_erasing": 2 * TRIES + 3,
    "vertical_shear": 2,
    "perspective": 9,
    "elastic": 1,
    "autocontrast": 1,
    "equalise": 1,
    "solarize": 1,
    "posterize": 1,
    "blur": 2,
    "sharpness": 2,
    "together": MOST_TOGETHER,
    "one_of": 1,
    "randaugment": 15,
    "trivialaugment": 3,
    "large_scale_jitter": 4,
    "mosaic": 0,  # these two are drawn apart: they need other samples
    "copy_paste": 0,
}
"""Columns of each effect; the first one decides whether a sample gets it. New effects go to the end."""


class Draws:
    """Uniform numbers in [0, 1) for every effect and sample, whether the effect is on or not.

    So sample i is augmented alike whatever the batch holds beside it and however many follow, and switching
    one effect on leaves what the others draw as it was.

    Args:
        batch: number of samples B.
        generator: all randomness; may live on the CPU for any `device`: draws are equal then.
        device: where the numbers are used.
        further: how many more numbers a sample needs than the table has room for; see `further`.
        columns: of each effect, by name.
        width: columns of the table: there is room for effects to come without other draws.

    Attributes:
        table: float32 (B, width).
        further: float32 (B, n), behind the table.
        generator: of what else is drawn, on the device.
        gates: bool (B) by effect: which samples may have it, where that is decided by more than its own probability.
        amounts: float32 (B, …) by effect: its strength, where that is not drawn from its own range.
    """

    def __init__(
        self, batch: int, generator: torch.Generator, device: torch.device, further: int = 0,
        columns: Mapping[str, int] = COLUMNS, width: int = 128,
    ):  # fmt: skip
        table = torch.rand(batch, width, generator=generator, device=generator.device)
        self.table = table.to(device, non_blocking=True)
        if further:
            more = torch.rand(batch, further, generator=generator, device=generator.device)
            self.further = more.to(device, non_blocking=True)
        if generator.device.type != device.type:
            seed = torch.randint(2**62, (1,), generator=generator, device=generator.device)
            generator = torch.Generator(device).manual_seed(int(seed))
        self.generator, self.columns = generator, columns
        self.gates: dict[str, Tensor] = {}
        self.amounts: dict[str, Tensor] = {}
        self.start = dict(zip(columns, itertools.accumulate(columns.values(), initial=0), strict=False))

    def chosen(self, name: str, p: float) -> Tensor:
        """bool (B): which samples get the effect."""
        chosen = self.table[:, self.start[name]] < p
        return chosen & self.gates[name] if name in self.gates else chosen

    def column(self, name: str, i: int) -> Tensor:
        """float32 (B): one of the effect's columns, the one that decides whether a sample gets it among them."""
        return self.table[:, self.start[name] + i]

    def values(self, name: str) -> Tensor:
        """float32 (B, n): the effect's other columns."""
        start = self.start[name]
        return self.table[:, start + 1 : start + self.columns[name]]

    def between(self, name: str, low: float, high: float, p: float, otherwise: float) -> Tensor:
        """float32 (B): uniform in low…high, or `otherwise` for samples without the effect."""
        drawn = self.amounts[name] if name in self.amounts else low + (high - low) * self.values(name)[:, 0]
        return torch.where(self.chosen(name, p), drawn, otherwise)

    def either(self, name: str, p: float) -> Tensor:
        """float32 (B) in -1…1, and 0 for the samples that do not get the effect."""
        return self.between(name, -1.0, 1.0, p, 0.0)


def rectangles(
    draws: Draws, name: str, sides: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[Tensor, Tensor, Tensor]:
    """Rectangles of uniform area and uniform log ratio inside a picture of `sides` (H, W), in whole pixels.

    The first of ten tries that fits is taken, for all samples at once. `ratio` is width / height.

    Returns:
        height and width, int64 (B), and fits, bool (B): False where no try fitted.
    """
    height, width, valid = tries(draws, name, sides, scale, ratio)
    first = valid.to(torch.uint8).argmax(1, keepdim=True)
    return height.gather(1, first)[:, 0], width.gather(1, first)[:, 0], valid.any(1)


def tries(
    draws: Draws, name: str, sides: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[Tensor, Tensor, Tensor]:
    """Height and width, int64 (B, 10), of all tries for such rectangles, and which fit, bool (B, 10)."""
    H, W = sides
    values = draws.values(name)
    area = H * W * (scale[0] + (scale[1] - scale[0]) * values[:, :TRIES])
    low, high = torch.tensor(ratio, dtype=torch.float64).log().tolist()
    shape = torch.exp(low + (high - low) * values[:, TRIES : 2 * TRIES])
    width = torch.sqrt(area * shape).round().long()
    height = torch.sqrt(area / shape).round().long()
    return height, width, (width > 0) & (width <= W) & (height > 0) & (height <= H)


def places(draws: Draws, name: str, room: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Whole numbers (top, left), int64 (B) each, uniform in 0…room, from the effect's last two columns."""
    values = draws.values(name)[:, -2:]
    top = (values[:, 0] * (room[0] + 1)).long().minimum(room[0])
    left = (values[:, 1] * (room[1] + 1)).long().minimum(room[1])
    return top, left
