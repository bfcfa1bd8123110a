"""How the pictures of a batch are moved, carried out on them and on whatever lies on the same grid."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from flambeau.fields.augment import colour, resample
from flambeau.fields.augment.assemble import chunks
from flambeau.fields.augment.geometry import Geometry, Sides


@dataclass(frozen=True)
class Movement:
    """What was drawn for a batch, and the way that it is carried out.

    Attributes:
        way: see `geometry.resampling`.
        geometry: what was drawn.
        start: (H, W) that pictures are resized to first.
        size: (H', W') of the output.
        padding: what lies beyond the picture, a name of `resample.PADDINGS`.
        fill: in 0…1, of all channels or of each, where that is a constant.
        each: sample by sample, as suits a CPU, or everything at once.
    """

    way: str
    geometry: Geometry
    start: Sides
    size: Sides
    padding: str
    fill: tuple[float, ...]
    each: bool

    @property
    def still(self) -> bool:
        """Whether nothing moves."""
        drawn = (*self.geometry.flips, self.geometry.boxes, self.geometry.matrix)
        return all(part is None for part in drawn)

    @property
    def filled(self) -> bool:
        """Whether `pixels` gives differences to the fill, since resampling leaves zeros outside of the picture."""
        return self.way == "matrix" and self.padding == "constant" and any(self.fill)

    def scaled(self, times: int) -> Movement:
        """The same for pictures of `times` as many pixels a side.

        Raises:
            UsageError: they are bent.
        """
        sides = [(height * times, width * times) for height, width in (self.start, self.size)]
        return replace(self, geometry=self.geometry.scaled(times), start=sides[0], size=sides[1])

    def levels(self, channels: int, device: torch.device) -> Tensor:
        """float32 (C): the fill in 0…255.

        Raises:
            UsageError: it has another number of channels.
        """
        return colour.as_channels("fill", self.fill, channels, device) * 255

    def pixels(self, images: Tensor, rows: slice, fill: Tensor | None) -> Tensor:
        """Samples `rows` of uint8 (B, *start, C) moved: uint8 (b, H', W', C), or float32 (b, C, H', W') in 0…255.

        Args:
            fill: `levels`, where `filled`.
        """
        part, images = self.geometry.part(rows), images[rows]
        if part.matrix is not None:
            return resample.sample(images, part.matrix, self.size, self.padding, fill, bend=part.bend)
        if self.way == "boxes":
            assert part.boxes is not None
            cut = resample.cut_and_resize(images, part.boxes, self.size, part.rooms, self._bytes)
            return resample.flip(cut, part.flips, self.each, keep=False)
        return resample.windows(images, part, self.size, self.padding, self._bytes, self.each)

    @property
    def _bytes(self) -> list[int]:
        return [round(255 * f) for f in self.fill]

    def picture(self, images: Tensor) -> Tensor:
        """uint8 (B, H, W, C) to uint8 (B, H', W', C), resampled as the batch's own pictures are."""
        channels = images.shape[3]
        if len(self.fill) not in (1, channels):  # colours beside a grey picture, or the other way round
            mean = sum(self.fill) / len(self.fill)
            return replace(self, fill=(mean,)).picture(images)
        fill = self.levels(channels, images.device) if self.filled else None
        out = self.pixels(resample.resize(images, self.start), slice(None), fill)
        if out.dtype == torch.uint8:
            return out
        out = out.permute(0, 2, 3, 1)
        return (out if fill is None else out + fill).round().clamp(0, 255).byte()

    def nearest(self, grid: Tensor, outside: int) -> Tensor:
        """uint8 (B, H, W) of numbers that are no brightnesses to (B, H', W'): each is that of the nearest place.

        Args:
            outside: the number beside the picture, where that is padded with a constant.
        """
        H, W = grid.shape[1:]
        across = grid.new_tensor([W / self.start[1], H / self.start[0]], dtype=torch.float32)
        inverse = (self.inverse.to(across) * across[:, None]).expand(len(grid), 2, 3)
        fill = torch.tensor([float(outside)], device=grid.device) if self.padding == "constant" else None
        bend, out = self.geometry.bend, grid.new_empty(len(grid), *self.size)
        for rows in chunks(len(grid), self.size[0] * self.size[1], grid.device):
            bent = None if bend is None else bend.part(rows)
            part = resample.sample(grid[rows, ..., None], inverse[rows], self.size, self.padding, fill, "nearest", bent)
            out[rows] = part[:, 0] if fill is None else part[:, 0] + fill
        return out

    @property
    def inverse(self) -> Tensor:
        """float32 (B, 2, 3): of a point (x, y, 1) of the output, before it was bent, its point in the picture of the
        size `start`."""
        return self.geometry.inverse(self.start, self.size)
