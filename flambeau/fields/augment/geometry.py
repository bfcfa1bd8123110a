"""Where each output pixel comes from: one matrix a sample, or whole-pixel windows where that is exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.fields.augment import bend
from flambeau.fields.augment.bend import Bend
from flambeau.fields.augment.draws import Draws, places, rectangles, tries
from flambeau.fields.augment.effects import (
    Effect,
    Elastic,
    HorizontalFlip,
    LargeScaleJitter,
    Perspective,
    RandomCrop,
    RandomResizedCrop,
    Rotation,
    Shear,
    Shift,
    VerticalFlip,
    VerticalShear,
    Zoom,
    get,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

Sides = tuple[int, int]
"""Height and width in pixels."""
WINDOWS = ("random_crop", "random_resized_crop", "large_scale_jitter")
"""The effects that choose which part of the picture is shown: one of them at a time."""
GOLDEN = 0.6180339887
"""Of a side: so far the places of one try and the next lie apart, which spreads any number of them evenly."""


def resampling(active: Mapping[type[Effect], Effect], each: bool, padding: str = "constant") -> str:
    """How the geometric effects are carried out: the cheapest way that is right.

    "whole": flips, crops and shifts by whole pixels: bytes are moved, nothing is resampled.
    "boxes": each sample's window resized with antialiasing, by torch's integer kernel for uint8: where `each` is True.
    "matrix": one affine matrix a sample and one bilinear `grid_sample` for all of them together.
    """
    kinds = set(active)
    flips = {HorizontalFlip, VerticalFlip}
    if kinds & {Rotation, Zoom, Shear, VerticalShear, Perspective, Elastic}:
        return "matrix"
    if LargeScaleJitter in kinds and padding != "constant":
        return "matrix"
    if kinds & {RandomResizedCrop, LargeScaleJitter}:
        return "boxes" if each and Shift not in kinds else "matrix"
    return "matrix" if {RandomCrop, Shift} <= kinds - flips else "whole"


@dataclass
class Geometry:
    """What was drawn for a batch. Absent parts are None.

    Attributes:
        flips: bool (B) each, horizontal and vertical.
        boxes: int64 (B, 4): top, left, height, width of each window, in pixels of the (padded) picture.
        rooms: int64 (B, 4): likewise, in pixels of the output: where each window is shown, if not in all of it.
        padding: rows and columns that the picture is to be padded by before windows are taken from it.
        matrix: float32 (B, 2, 3): output position (x, y, 1) to picture position; pixel i is i…i + 1.
        bend: where an output position is to be looked for by `matrix`, where that is not there itself.
    """

    flips: tuple[Tensor | None, Tensor | None] = (None, None)
    boxes: Tensor | None = None
    rooms: Tensor | None = None
    padding: Sides = (0, 0)
    matrix: Tensor | None = None
    bend: Bend | None = None

    def inverse(self, sides: Sides, size: Sides) -> Tensor:
        """float32 (B, 2, 3), or (1, 2, 3) where nothing moves: output position, before it was bent, to position in
        pictures of `sides`, whichever way it is carried out."""
        if self.matrix is not None:
            return self.matrix
        known = next((part for part in (self.boxes, *self.flips) if part is not None), torch.empty(1))
        boxes = torch.tensor([0.0, 0.0, *sides], device=known.device).expand(len(known), 4)
        if self.boxes is not None:
            boxes = about(self.boxes, self.rooms, size) - boxes.new_tensor([*self.padding, 0, 0])
        mirror = torch.eye(2, 3, device=known.device).repeat(len(known), 1, 1)
        for axis, flip in enumerate(self.flips):
            if flip is not None:
                mirror[:, axis, axis] = torch.where(flip, -1.0, 1.0)
                mirror[:, axis, 2] = torch.where(flip, float(size[1 - axis]), 0.0)
        return compose(boxes, mirror, size)

    def scaled(self, times: int) -> Geometry:
        """The same for pictures of `times` as many pixels a side.

        Raises:
            UsageError: they are bent.
        """
        if self.bend is not None:
            raise UsageError("pictures are not bent beside targets of another size", fix="leave elastic and such out")
        matrix = None if self.matrix is None else self.matrix * self.matrix.new_tensor([1, 1, times])
        boxes, rooms = (None if part is None else part * times for part in (self.boxes, self.rooms))
        return Geometry(self.flips, boxes, rooms, (self.padding[0] * times, self.padding[1] * times), matrix)

    def part(self, rows: slice) -> Geometry:
        """That of some samples only."""
        horizontal, vertical, boxes, rooms, matrix = (
            None if drawn is None else drawn[rows] for drawn in (*self.flips, self.boxes, self.rooms, self.matrix)
        )
        bent = None if self.bend is None else self.bend.part(rows)
        return Geometry((horizontal, vertical), boxes, rooms, self.padding, matrix, bent)


def draw(
    active: Mapping[type[Effect], Effect],
    way: str,
    draws: Draws,
    sides: Sides,
    size: Sides,
    things: Tensor | None = None,
) -> Geometry:
    """Draws the geometry of a batch of pictures of `sides` for outputs of `size`, whose `things` have boxes, see
    `Augmentation.moving`.

    The effects apply in this order: crop, flips, zoom, vertical shear, shear, rotation, shift, perspective, elastic.

    Raises:
        UsageError: the random crop does not fit into the padded pictures.
    """
    horizontal, vertical, crop = (get(active, HorizontalFlip), get(active, VerticalFlip), get(active, RandomCrop))
    flips = (
        draws.chosen("horizontal_flip", horizontal.p) if horizontal else None,
        draws.chosen("vertical_flip", vertical.p) if vertical else None,
    )
    resized, jitter = get(active, RandomResizedCrop), get(active, LargeScaleJitter)
    if way == "boxes":
        if resized is not None:
            return Geometry(flips, resized_crops(resized, draws, sides, things))
        assert jitter is not None
        return Geometry(flips, *jittered(jitter, draws, sides, size))
    if way == "whole":
        shift = get(active, Shift)
        if crop is not None:
            padding = (crop.padding, crop.padding)
            return Geometry(flips, random_crops(crop, draws, sides, size), padding=padding)
        if shift is not None:
            padding = (round(shift.fraction * size[0]), round(shift.fraction * size[1]))
            return Geometry(flips, shifted_windows(shift, draws, size, padding, flips), padding=padding)
        return Geometry(flips)
    if resized is not None:
        boxes = resized_crops(resized, draws, sides, things).float()
    elif jitter is not None:
        boxes = about(*jittered(jitter, draws, sides, size), size)
    elif crop is not None:
        boxes = random_crops(crop, draws, sides, size).float()
        boxes[:, :2] -= crop.padding
    else:
        boxes = draws.table.new_tensor([0, 0, *sides]).expand(len(draws.table), 4)
    matrix = compose(boxes, affine(active, draws, size, flips), size)
    return Geometry(matrix=matrix, bend=bend.draw(active, draws, size))


def jittered(jitter: LargeScaleJitter, draws: Draws, sides: Sides, size: Sides) -> tuple[Tensor, Tensor]:
    """int64 (B, 4) each: windows in the picture, all of it where it gets smaller; and their rooms in the output, all of
    it where it gets larger. Both have the proportions of their wholes, to a pixel."""
    scale = draws.between("large_scale_jitter", *jitter.scale, jitter.p, 1.0)[:, None]
    places = draws.values("large_scale_jitter")[:, 1:]

    def inside(whole: Sides, share: Tensor) -> Tensor:
        most = torch.tensor(whole, device=scale.device)
        part = (most * share).round().long().clamp(min=1).minimum(most)
        return torch.cat([(places * (most - part + 1)).long().minimum(most - part), part], 1)

    return inside(sides, (1 / scale).clamp(max=1)), inside(size, scale.clamp(max=1))


def about(boxes: Tensor, rooms: Tensor | None, size: Sides) -> Tensor:
    """float32 (B, 4): the windows that all of the output shows, of `boxes` that are shown in `rooms` of it."""
    boxes = boxes.float()
    if rooms is None:
        return boxes
    scale = boxes[:, 2:] / rooms[:, 2:]
    return torch.cat([boxes[:, :2] - rooms[:, :2] * scale, scale * scale.new_tensor(size)], 1)


def resized_crops(crop: RandomResizedCrop, draws: Draws, sides: Sides, things: Tensor | None = None) -> Tensor:
    """int64 (B, 4): windows as torchvision's RandomResizedCrop draws them; all of it where p says no."""
    H, W = sides
    if things is not None and crop.keep > 0:
        boxes, fits = keeping_crops(crop, draws, sides, things)
        chosen = draws.chosen("random_resized_crop", crop.p) & fits
        return torch.where(chosen[:, None], boxes, boxes.new_tensor([0, 0, H, W]))
    height, width, fits = rectangles(draws, "random_resized_crop", sides, crop.scale, crop.ratio)
    # no try fitted: the largest window in the middle whose shape is allowed
    widest, highest = min(W, round(H * crop.ratio[1])), min(H, round(W / crop.ratio[0]))
    height, width = torch.where(fits, height, max(highest, 1)), torch.where(fits, width, max(widest, 1))
    top, left = places(draws, "random_resized_crop", (H - height, W - width))
    top, left = torch.where(fits, top, (H - height) // 2), torch.where(fits, left, (W - width) // 2)
    boxes = torch.stack([top, left, height, width], 1)
    chosen = draws.chosen("random_resized_crop", crop.p)
    return torch.where(chosen[:, None], boxes, boxes.new_tensor([0, 0, H, W]))


def keeping_crops(crop: RandomResizedCrop, draws: Draws, sides: Sides, things: Tensor) -> tuple[Tensor, Tensor]:
    """int64 (B, 4), bool (B): of ten windows each, every one at a place of its own, the first that shows `crop.keep` of
    one of the `things`, float32 (B, N, 4) in 0…1, where the picture has any; and whether there is one."""
    H, W = sides
    height, width, valid = tries(draws, "random_resized_crop", sides, crop.scale, crop.ratio)
    steps = torch.arange(height.shape[1], device=height.device) * GOLDEN
    drawn = [(share[:, None] + steps) % 1 for share in draws.values("random_resized_crop")[:, -2:].unbind(1)]
    top = (drawn[0] * (H - height + 1)).long().minimum(H - height)
    left = (drawn[1] * (W - width + 1)).long().minimum(W - width)
    window = torch.stack([left, top, left + width, top + height], 2)[:, :, None]
    box = (things * things.new_tensor([W, H, W, H]))[:, None]
    inside = torch.minimum(box[..., 2:], window[..., 2:]) - torch.maximum(box[..., :2], window[..., :2])
    area = (box[..., 2:] - box[..., :2]).clamp(min=0).prod(3)
    kept = (inside.clamp(min=0).prod(3) >= crop.keep * area) & (area > 0)  # (B, tries, N)
    valid &= kept.any(2) | ~(area > 0).any(2)
    first = valid.to(torch.uint8).argmax(1, keepdim=True)
    boxes = [part.gather(1, first) for part in (top, left, height, width)]
    return torch.cat(boxes, 1), valid.any(1)


def random_crops(crop: RandomCrop, draws: Draws, sides: Sides, size: Sides) -> Tensor:
    """int64 (B, 4): windows of `size` in the padded picture; in its middle where p says no."""
    room = [side + 2 * crop.padding - out for side, out in zip(sides, size, strict=True)]
    if min(room) < 0:
        raise UsageError(
            f"a random crop of {size[0]}×{size[1]} does not fit into pictures of {sides[0]}×{sides[1]} "
            f"padded by {crop.padding}",
            fix="raise its padding, or use random_resized_crop",
        )
    limits = tuple(torch.full((len(draws.table),), r, device=draws.table.device) for r in room)
    top, left = places(draws, "random_crop", (limits[0], limits[1]))
    chosen = draws.chosen("random_crop", crop.p)
    top, left = torch.where(chosen, top, room[0] // 2), torch.where(chosen, left, room[1] // 2)
    return torch.stack([top, left, torch.full_like(top, size[0]), torch.full_like(top, size[1])], 1)


def shifted_windows(
    shift: Shift, draws: Draws, size: Sides, padding: Sides, flips: tuple[Tensor | None, Tensor | None]
) -> Tensor:
    """int64 (B, 4): the windows of the padded picture that show it moved by whole pixels."""
    x, y = shift_distances(shift, draws, size)
    # windows are taken before flips, but the picture is to move after them: the other way for flipped samples
    if flips[0] is not None:
        x = torch.where(flips[0], -x, x)
    if flips[1] is not None:
        y = torch.where(flips[1], -y, y)
    top = (padding[0] - y.long()).clamp(0, 2 * padding[0])
    left = (padding[1] - x.long()).clamp(0, 2 * padding[1])
    return torch.stack([top, left, torch.full_like(top, size[0]), torch.full_like(top, size[1])], 1)


def shift_distances(shift: Shift, draws: Draws, size: Sides) -> tuple[Tensor, Tensor]:
    """float32 (B) each: whole pixels right and down, so that what is not turned or zoomed as well stays sharp."""
    values = draws.amounts["shift"] if "shift" in draws.amounts else (2 * draws.values("shift") - 1) * shift.fraction
    values = torch.where(draws.chosen("shift", shift.p)[:, None], values, 0.0)
    return (values[:, 0] * size[1]).round(), (values[:, 1] * size[0]).round()


def affine(
    active: Mapping[type[Effect], Effect], draws: Draws, size: Sides, flips: tuple[Tensor | None, Tensor | None]
) -> Tensor:
    """float32 (B, 2, 3): output position to that before flips, zoom, shear, rotation and shift."""
    rotation, shift = get(active, Rotation), get(active, Shift)
    zoom, shear, upright = get(active, Zoom), get(active, Shear), get(active, VerticalShear)
    B, device = len(draws.table), draws.table.device
    zero, one = torch.zeros(B, device=device), torch.ones(B, device=device)
    angle = (
        draws.between("rotation", -rotation.degrees, rotation.degrees, rotation.p, 0.0).deg2rad() if rotation else zero
    )
    slant = draws.between("shear", -shear.degrees, shear.degrees, shear.p, 0.0).deg2rad().tan() if shear else zero
    factor = draws.between("zoom", *zoom.range, zoom.p, 1.0) if zoom else one
    x, y = shift_distances(shift, draws, size) if shift else (zero, zero)
    # backwards from the output: undo shift, rotation, shears, zoom, flips (y grows downwards)
    cos, sin = angle.cos(), angle.sin()
    inverse = torch.stack([cos - slant * sin, -sin - slant * cos, sin, cos], 1).view(B, 2, 2) / factor[:, None, None]
    if upright:
        climb = draws.between("vertical_shear", -upright.degrees, upright.degrees, upright.p, 0.0).deg2rad().tan()
        inverse = torch.stack([inverse[:, 0], inverse[:, 1] - climb[:, None] * inverse[:, 0]], 1)
    for axis, flip in enumerate(flips):
        if flip is not None:
            inverse[:, axis] *= torch.where(flip, -1.0, 1.0)[:, None]
    middle = torch.tensor([size[1] / 2, size[0] / 2], device=device)
    offset = middle - (inverse @ (middle + torch.stack([x, y], 1))[:, :, None])[:, :, 0]
    return torch.cat([inverse, offset[:, :, None]], 2)


def compose(boxes: Tensor, inverse: Tensor, size: Sides) -> Tensor:
    """float32 (B, 2, 3): `inverse`, then from the output's frame into boxes (top, left, height, width)."""
    scale = boxes[:, 2:].flip(1) / boxes.new_tensor([size[1], size[0]])
    matrix = inverse * scale[:, :, None]
    matrix[:, :, 2] += boxes[:, :2].flip(1)
    return matrix
