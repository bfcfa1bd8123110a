"""Placement: where the pictures of a batch lie in what a model sees, so that what has a place in them can follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from flambeau.fields.augment.bend import Bend
from flambeau.fields.augment.movement import Movement
from flambeau.fields.base import Encoding, Field

ALONG = 9
"""Points along each edge of a box that is bent."""


@dataclass(frozen=True)
class Placement:
    """Where each of B pictures lies in the model's input of H×W pixels, after its fit (squash, crop, pad) and after
    augmentation.

    A point is (x, y), float32, in pixels from the top left corner of the picture: the middle of the first pixel is
    (0.5, 0.5). A raw picture is as people see it, turned as its EXIF says: that is what browsers and labelling tools
    show, and what coordinates and masks are drawn on.

    Attributes:
        sides: float32 (B, 2): height and width of each raw picture.
        matrix: float32 (B, 2, 3): of a point (x, y, 1) of the raw picture its point in the model's input; where
            augmentation bends that, its point before it does. `points` knows of both.
        size: (H, W).
        movement: how the stored pictures, which are of the model's size, were moved by augmentation; None where they
            stay. What is stored on the same grid (a mask that was fitted as its picture was) needs this alone.
    """

    sides: Tensor
    matrix: Tensor
    size: tuple[int, int]
    movement: Movement | None = None

    @classmethod
    def of(cls, frames: Tensor, size: tuple[int, int], movement: Movement | None = None) -> Placement:
        """From what `decoding.frame` says of each picture, float32 (B, 6)."""
        movement = None if movement is None or (movement.still and movement.size == size) else movement
        matrix = frames.new_zeros(len(frames), 2, 3)
        matrix[:, 0, 0], matrix[:, 0, 2], matrix[:, 1, 1], matrix[:, 1, 2] = frames[:, 2:].unbind(1)
        if movement is not None:
            back = movement.inverse
            stored = back.new_tensor([size[1] / movement.start[1], size[0] / movement.start[0]])
            matrix = chained(inverted(back.to(matrix) * stored.to(matrix)[:, None]), matrix)
            size = movement.size
        return cls(frames[:, :2], matrix, size, movement)

    def shrunk(self, size: tuple[int, int]) -> Placement:
        """The same of one raw picture that was resized to (height, width)."""
        to = self.sides.new_tensor([size]) / self.sides
        matrix = self.matrix.clone()
        matrix[:, :, :2] /= to.flip(1)[:, None]
        return replace(self, sides=self.sides * to, matrix=matrix)

    def scaled(self, times: int) -> Placement:
        """The same where the stored pictures, and the model's, have `times` as many pixels a side."""
        if times == 1:
            return self
        movement = None if self.movement is None else self.movement.scaled(times)
        return replace(self, matrix=self.matrix * times, size=(self.size[0] * times, self.size[1] * times),
                       movement=movement)  # fmt: skip

    def enlarged(self, times: int) -> Placement:
        """The same of an answer that has `times` as many pixels a side as its raw picture and the model's input."""
        placed = self.scaled(times)
        matrix = torch.cat([self.matrix[:, :, :2], placed.matrix[:, :, 2:]], 2)
        return replace(placed, sides=self.sides * times, matrix=matrix)

    @property
    def bend(self) -> Bend | None:
        """What augmentation does to the model's input that no matrix says."""
        return None if self.movement is None else self.movement.geometry.bend

    def points(self, points: Tensor) -> Tensor:
        """Points of raw pictures (B, N, 2) to those of the model's input (B, N, 2); some may lie outside of it."""
        placed = moved(points, self.matrix)
        return placed if self.bend is None else self.bend.forward(placed)

    def boxes(self, boxes: Tensor, cut: bool = True) -> Tensor:
        """Boxes of raw pictures, float (B, N, 4) as left, top, right, bottom, to the upright ones about them in the
        model's input; where they are `cut` at its edges, one that lies wholly outside has no area."""
        H, W = self.size
        whole = upright(boxes, self.points, bent=self.bend is not None)
        return whole.clamp(boxes.new_tensor(0.0), boxes.new_tensor([W, H, W, H])) if cut else whole

    def shares(self, boxes: Tensor) -> Tensor:
        """`boxes`, cut, in 0…1 of the model's input."""
        H, W = self.size
        return self.boxes(boxes) / boxes.new_tensor([W, H, W, H])

    def picture(self, grid: Tensor) -> Tensor:
        """Other pictures that were fitted as these: uint8 (B, H, W, C), resampled in the same way."""
        return grid if self.movement is None else self.movement.picture(grid)

    def nearest(self, grid: Tensor, outside: int) -> Tensor:
        """Numbers that are no brightnesses, such as classes, uint8 (B, H, W), fitted as the pictures were: each comes
        from the nearest place. `outside` is put where augmentation shows what lies beside the picture."""
        return grid if self.movement is None else self.movement.nearest(grid, outside)

    def raw_points(self, points: Tensor) -> Tensor:
        """Points of the model's input (B, N, 2) to those of raw pictures."""
        return moved(points if self.bend is None else self.bend.backward(points), inverted(self.matrix))

    def raw_boxes(self, boxes: Tensor) -> Tensor:
        """Boxes of the model's input (B, N, 4) to raw pictures, cut at their edges."""
        limits = self.sides.flip(1).repeat(1, 2)[:, None]
        return upright(boxes, self.raw_points, bent=self.bend is not None).clamp(limits.new_tensor(0.0), limits)

    def raw_grid(
        self, grid: Tensor, row: int = 0, mode: str = "nearest", outside: str = "border",
        lines: tuple[int, int] | None = None,
    ) -> Tensor:  # fmt: skip
        """What a model says of each pixel, float (C, H, W), for the pixels (C, h, w) of the raw picture `row`.

        Args:
            mode: `nearest` or `bilinear`.
            outside: what pixels get that the model did not see: `border`, what is nearest to them, or `zeros`.
            lines: from which to before which line of the raw picture; all of it if not given.
        """
        h, w = (int(side) for side in self.sides[row].tolist())
        start, end = lines or (0, h)
        h = end - start
        y, x = torch.meshgrid(torch.arange(start, end) + 0.5, torch.arange(w) + 0.5, indexing="ij")
        at = moved(torch.stack([x, y], 2).view(1, -1, 2), self.matrix[row : row + 1].cpu())
        if self.bend is not None:
            at = self.bend.part(slice(row, row + 1)).forward(at.to(self.matrix)).cpu()
        at = at.view(1, h, w, 2) * at.new_tensor([2 / self.size[1], 2 / self.size[0]]) - 1
        return F.grid_sample(grid[None].float().cpu(), at, mode, outside, align_corners=False)[0]


def moved(points: Tensor, matrix: Tensor) -> Tensor:
    """Points (B, N, 2) by matrices (B, 2, 3)."""
    return points @ matrix[:, :, :2].transpose(1, 2) + matrix[:, None, :, 2]


def upright(boxes: Tensor, move: Callable[[Tensor], Tensor], bent: bool) -> Tensor:
    """Boxes (B, N, 4) moved: the upright ones about their four corners, or about points along their edges where those
    are bent."""
    share = torch.linspace(0, 1, ALONG if bent else 2, device=boxes.device)
    left, top, right, bottom = (side[..., None] for side in boxes.unbind(-1))
    x, y = torch.lerp(left, right, share), torch.lerp(top, bottom, share)
    edges = [(x, top), (x, bottom), (left, y), (right, y)] if bent else [(x, top), (x, bottom)]
    points = torch.cat([torch.stack(torch.broadcast_tensors(*edge), -1) for edge in edges], -2)
    points = move(points.flatten(1, 2)).unflatten(1, points.shape[1:3])
    return torch.cat([points.amin(2), points.amax(2)], 2)


def inverted(matrix: Tensor) -> Tensor:
    """(B, 2, 3): the way back."""
    a, b, c, d = matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 0], matrix[:, 1, 1]
    back = torch.stack([d, -b, -c, a], 1).view(-1, 2, 2) / (a * d - b * c)[:, None, None]
    return torch.cat([back, -back @ matrix[:, :, 2:]], 2)


def chained(second: Tensor, first: Tensor) -> Tensor:
    """(B, 2, 3): one after the other."""
    linear = second[:, :, :2] @ first
    linear[:, :, 2] += second[:, :, 2]
    return linear


class Frames(Field):
    """Where a picture lies in its stored form: what `leader.frame` says of the picture's raw values, float32 (6). A
    column of the store beside that of the picture, where anything follows it.

    Args:
        leader: the picture's field, fitted.
    """

    kind = "frames"
    persistent = True

    def __init__(self, leader: Field):
        self.leader = leader

    def fit(self, values: Sequence[Any]) -> None:
        return

    @property
    def encoding(self) -> Encoding:
        return Encoding(np.dtype(np.float32), (6,))

    @property
    def identity(self) -> dict[str, Any]:
        return {"kind": self.kind, "of": self.leader.identity}

    def encode(self, value: Any) -> np.ndarray:
        return self.leader.frame(value)


def frames_of(name: str) -> str:
    """The name of a picture's frames among the columns of a store."""
    return f"{name} \N{RIGHTWARDS ARROW} frame"


def following(
    fields: Mapping[str, Field], inputs: Sequence[str], target: str | None
) -> tuple[str | None, tuple[str, ...]]:
    """The input that others follow, and those: the target and other inputs that have a place in it. (None, ()) where
    there are none."""
    names = [*inputs, *([target] if target else [])]
    followers = tuple(name for name in names if fields[name].follows)
    leader = next((name for name in inputs if fields[name].leads and name not in followers), None)
    return (leader, followers) if leader is not None and followers else (None, ())
