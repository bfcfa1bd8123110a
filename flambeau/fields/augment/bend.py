"""What bends a picture: perspective and elastic displacement, which no affine matrix can say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from flambeau.fields.augment.draws import Draws
from flambeau.fields.augment.effects import Effect, Elastic, Perspective

SPREAD = 151 / 315
"""Mean square of the weights that a cubic B-spline gives along both axes: what it leaves of white noise's deviation."""
STEPS = 20
"""Of the iteration that inverts a displacement; each shrinks the error by its slope, below 1 as `Elastic` has it."""
NEAREST = 0.05
"""Least denominator of a perspective: what lies behind the camera stays outside of the picture, and finite."""


@dataclass(frozen=True)
class Bend:
    """Moves points of the output to where they were before the picture was bent, in the output's own frame, in pixels.

    Attributes:
        size: (H, W) of the output.
        homography: float32 (B, 3, 3) of points (x, y, 1), or None.
        controls: float32 (B, 2, n, n) of a cubic B-spline, pixels along x and along y, or None.
    """

    size: tuple[int, int]
    homography: Tensor | None = None
    controls: Tensor | None = None

    def part(self, rows: slice) -> Bend:
        """That of some samples only."""
        return Bend(
            self.size,
            None if self.homography is None else self.homography[rows],
            None if self.controls is None else self.controls[rows],
        )

    def grid(self, device: torch.device) -> Tensor:
        """float32 (B or 1, H, W, 2): for the middle of each pixel of the output where it was, (x, y)."""
        H, W = self.size
        down, across = torch.arange(H, device=device) + 0.5, torch.arange(W, device=device) + 0.5
        points = torch.stack([across.expand(H, W), down[:, None].expand(H, W)], 2)[None]
        if self.controls is not None:
            n = self.controls.shape[-1]
            rows, columns = spline(down / H, n), spline(across / W, n)
            points = points + (rows @ self.controls @ columns.T).permute(0, 2, 3, 1)
        return (
            points if self.homography is None else projected(points.flatten(1, 2), self.homography).unflatten(1, (H, W))
        )

    def backward(self, points: Tensor) -> Tensor:
        """Points of the output (B, N, 2) to where they were before."""
        if self.controls is not None:
            points = points + self._displacement(points)
        return points if self.homography is None else projected(points, self.homography)

    def forward(self, points: Tensor) -> Tensor:
        """Points from before (B, N, 2) to where they are in the output."""
        if self.homography is not None:
            points = projected(points, torch.linalg.inv_ex(self.homography).inverse)
        if self.controls is None:
            return points
        found = points
        for _ in range(STEPS):
            found = points - self._displacement(found)
        return found

    def _displacement(self, points: Tensor) -> Tensor:
        assert self.controls is not None
        n, (H, W) = self.controls.shape[-1], self.size
        across, down = spline(points[..., 0] / W, n), spline(points[..., 1] / H, n)
        return torch.einsum("bpi,bcij,bpj->bpc", down, self.controls, across)


def projected(points: Tensor, homography: Tensor) -> Tensor:
    """Points (B or 1, N, 2) by homographies (B, 3, 3)."""
    moved = points @ homography[:, :, :2].mT + homography[:, None, :, 2]
    return moved[..., :2] / moved[..., 2:].clamp(min=NEAREST)


def spline(positions: Tensor, n: int) -> Tensor:
    """float32 (…, n): the weights of n control points of a uniform cubic B-spline at positions, 0…1 along a side."""
    from_each = (positions[..., None] * (n - 3) + 1 - torch.arange(n, device=positions.device)).abs()
    near = 2 / 3 - from_each**2 + from_each**3 / 2
    far = (2 - from_each).clamp(min=0) ** 3 / 6
    return torch.where(from_each < 1, near, far)


def control_points(active: Mapping[type[Effect], Effect]) -> int:
    """n, how many control points a side has for the elastic effect; 0 where that is off."""
    elastic = active.get(Elastic)
    if not isinstance(elastic, Elastic):
        return 0
    # the spline smooths as a Gaussian of 1 / √3 of the distance between its control points does
    return math.ceil(1 / (elastic.smooth * math.sqrt(3))) + 3


def draw(active: Mapping[type[Effect], Effect], draws: Draws, size: tuple[int, int]) -> Bend | None:
    """The bend of each sample of a batch; None where neither effect is on."""
    perspective, elastic = active.get(Perspective), active.get(Elastic)
    homography = controls = None
    if isinstance(perspective, Perspective):
        homography = homographies(perspective, draws, size)
    if isinstance(elastic, Elastic):
        n = control_points(active)
        chosen = draws.chosen("elastic", elastic.p)[:, None, None, None]
        unit = (2 * draws.further.view(-1, 2, n, n) - 1) * math.sqrt(3)
        sides = unit.new_tensor([size[1], size[0]])[:, None, None]
        controls = unit * sides * (elastic.strength / SPREAD) * chosen
    return None if homography is None and controls is None else Bend(size, homography, controls)


def homographies(perspective: Perspective, draws: Draws, size: tuple[int, int]) -> Tensor:
    """float32 (B, 3, 3): of a point of the output where it was, in pixels.

    The picture's corners go to a quadrilateral; the map from the unit square to it is in closed form (P. Heckbert,
    "Fundamentals of texture mapping and image warping", 1989, section 2.2.3), and its inverse is wanted.
    """
    inwards = draws.values("perspective") * (perspective.distortion / 2)
    inwards = torch.where(draws.chosen("perspective", perspective.p)[:, None], inwards, 0.0)
    left_top, right_top, right_bottom, left_bottom = inwards.unflatten(1, (4, 2)).unbind(1)
    x0, y0 = left_top.unbind(1)
    x1, y1 = 1 - right_top[:, 0], right_top[:, 1]
    x2, y2 = (1 - right_bottom).unbind(1)
    x3, y3 = left_bottom[:, 0], 1 - left_bottom[:, 1]
    dx1, dx2, dx3 = x1 - x2, x3 - x2, x0 - x1 + x2 - x3
    dy1, dy2, dy3 = y1 - y2, y3 - y2, y0 - y1 + y2 - y3
    area = dx1 * dy2 - dx2 * dy1
    g, h = (dx3 * dy2 - dx2 * dy3) / area, (dx1 * dy3 - dx3 * dy1) / area
    to_quad = [x1 - x0 + g * x1, x3 - x0 + h * x3, x0, y1 - y0 + g * y1, y3 - y0 + h * y3, y0, g, h, torch.ones_like(g)]
    back = torch.linalg.inv_ex(torch.stack(to_quad, 1).view(-1, 3, 3)).inverse
    back = back / back[:, 2:, 2:]
    sides = back.new_tensor([size[1], size[0], 1])
    return back * sides[:, None] / sides
