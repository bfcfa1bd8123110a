"""Pieces: pictures that are made of pieces of several of their batch, so that what has a place in them goes along."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from flambeau.core.shapes import Bool, Float, Int64

LEAST = 1e-9  # of a divisor


@dataclass(frozen=True)
class Pieces:
    """B pictures of n pieces each. Places are (x, y) in 0…1 of a picture, so that they hold for targets of another
    size too.

    Attributes:
        owner: int64 (B, H, W): which piece each pixel shows, 0…n - 1.
        sources: int64 (B, n): which sample of the batch each piece shows.
        scale, offset: float32 (B, n, 2): of a place of that sample, its place in the picture is scale · place + offset.
            None for both where each is where it was.
    """

    owner: Int64[Tensor, "B H W"]
    sources: Int64[Tensor, "B n"]
    scale: Float[Tensor, "B n 2"] | None = None
    offset: Float[Tensor, "B n 2"] | None = None

    def picture(self, images: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        """The pictures, bilinear; to the bit where nothing is moved."""
        n = self.sources.shape[1]
        if self.scale is None:
            out = images[self.sources[:, 0]]
            for k in range(1, n):
                out = torch.where((self.owner == k)[:, None], images[self.sources[:, k]], out)
            return out
        H, W = images.shape[2:]
        # One resampling for all pieces: the samples lie below one another, and no place is beyond the middles of a
        # sample's outermost pixels, where its neighbour's would be mixed in.
        stacked = images.permute(0, 2, 3, 1)[self.sources].flatten(1, 2).permute(0, 3, 1, 2)
        x, y = self._from(images).unbind(3)
        x = (x * W).clamp(0.5, W - 0.5) * (2 / W) - 1
        y = ((y * H).clamp(0.5, H - 0.5) + self.owner * H) * (2 / (n * H)) - 1
        return F.grid_sample(stacked, torch.stack([x, y], 3).to(stacked), align_corners=False)

    def nearest(self, grid: Int64[Tensor, "B H W"]) -> Int64[Tensor, "B H W"]:
        """Numbers that are no brightnesses, such as classes."""
        H, W = grid.shape[1:]
        x, y = self._from(grid).unbind(3)
        x, y = (x * W).long().clamp(0, W - 1), (y * H).long().clamp(0, H - 1)
        sample = self.sources.gather(1, self.owner.flatten(1)).view_as(self.owner)
        return grid.flatten()[(sample * H + y) * W + x]

    def boxes(self, boxes: Float[Tensor, "B M 4"]) -> tuple[Float[Tensor, "B n M 4"], Float[Tensor, "B n M"]]:
        """Boxes of the samples, left, top, right and bottom in 0…1, as they are in each piece, cut where it ends; and
        which share of each is seen."""
        whole = self.moved(boxes[self.sources])
        H, W = self.owner.shape[1:]
        mine = self.owner[:, None] == torch.arange(self.sources.shape[1], device=boxes.device)[:, None, None]
        # What lies above and left of each corner of a pixel; between the corners that is bilinear, so it is exact.
        sums = F.pad(mine.float().cumsum(2).cumsum(3), (1, 0, 1, 0))
        left, top, right, bottom = whole.clamp(0, 1).unbind(3)
        corners = torch.stack(
            [torch.stack(at, 3) for at in ((right, bottom), (left, top), (left, bottom), (right, top))]
        )
        places = (corners * 2 - 1).permute(1, 2, 0, 3, 4).flatten(0, 1)  # (B·n, 4, M, 2)
        at = F.grid_sample(sums.flatten(0, 1)[:, None], places, align_corners=True)[:, 0].unflatten(0, whole.shape[:2])
        seen = at[:, :, 0] + at[:, :, 1] - at[:, :, 2] - at[:, :, 3]
        area = (whole[..., 2:] - whole[..., :2]).prod(3) * H * W
        ends = torch.cat([edges(mine.any(2), W), edges(mine.any(3), H)], 2)[:, :, None, [0, 2, 1, 3]]
        first, last = ends[..., :2].repeat(1, 1, 1, 2), ends[..., 2:].repeat(1, 1, 1, 2)
        return whole.maximum(first).minimum(last), seen / area.clamp_min(LEAST)

    def moved(self, boxes: Float[Tensor, "B n M 4"]) -> Float[Tensor, "B n M 4"]:
        """Boxes of the pieces' samples as they are in the pictures."""
        if self.scale is None or self.offset is None:
            return boxes
        return boxes * self.scale.repeat(1, 1, 2)[:, :, None] + self.offset.repeat(1, 1, 2)[:, :, None]

    def back(self, places: Float[Tensor, "B n P 2"]) -> tuple[Float[Tensor, "B n P 2"], Bool[Tensor, "B n P"]]:
        """Places of the pictures, in each piece's sample; and whether it is that piece which is seen there."""
        H, W = self.owner.shape[1:]
        x, y = (places * places.new_tensor([W, H])).long().unbind(3)
        at = y.clamp(0, H - 1) * W + x.clamp(0, W - 1)
        shown = self.owner.flatten(1)[:, None].expand(-1, at.shape[1], -1).gather(2, at)
        seen = shown == torch.arange(at.shape[1], device=at.device)[:, None]
        if self.scale is None or self.offset is None:
            return places, seen
        return (places - self.offset[:, :, None]) / self.scale[:, :, None], seen

    def _from(self, grid: Tensor) -> Float[Tensor, "B H W 2"]:
        """Of the middle of each pixel, the place in the sample that it shows."""
        H, W = self.owner.shape[1:]
        y, x = ((torch.arange(side, device=grid.device) + 0.5) / side for side in (H, W))
        here = torch.stack(torch.broadcast_tensors(x, y[:, None]), 2).expand(len(self.owner), -1, -1, -1)
        if self.scale is None or self.offset is None:
            return here
        owner = self.owner.flatten(1)[..., None].expand(-1, -1, 2)
        scale, offset = (part.gather(1, owner).view_as(here) for part in (self.scale, self.offset))
        return (here - offset) / scale


def edges(there: Bool[Tensor, "B n S"], side: int) -> Float[Tensor, "B n 2"]:
    """Where the first of what is there begins and where the last ends, in 0…1; 0 and 0 where there is nothing."""
    at = torch.arange(side, device=there.device)
    first = torch.where(there, at, side).amin(2)
    last = torch.where(there, at + 1, 0).amax(2)
    return torch.stack([first.minimum(last), last], 2) / side
