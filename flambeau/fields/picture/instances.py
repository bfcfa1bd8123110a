"""Masks of single things, each inside its box: s×s bits, whatever the size of the thing and of its picture, as Mask
R-CNN learns them (He et al. 2017, arXiv:1703.06870).

Bit (i, j) says whether the middle of the cell of row i and column j is of the thing, of s×s equal cells that its box is
cut into. Where a box is encoded as float32 numbers, 16 bits are one of them, 0…65535: s·s / 16 numbers behind the
`COLUMNS` of `flambeau.fields.boxes`, row by row from the top left, the first bit the most significant. They are all 0
where no mask is known. An answer has s·s probabilities, row by row, behind corners, score and class.

A thing of 200 pixels is known to 4 pixels at s = 56, and costs 784 bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from flambeau.core.errors import DataError, UsageError, shown
from flambeau.core.shapes import Bool, Float, Shaped
from flambeau.fields.picture import overlap
from flambeau.fields.picture.segments import EXPECTED, area, filled, polygons
from flambeau.fields.pieces import Pieces
from flambeau.fields.placement import Placement

PLACES, PAIRS = 64, 256  # a side at which two masks are compared, and pairs at a time
WORD = 16  # bits that float32 holds in one number, and that are whole bytes


def words(side: int) -> int:
    """How many numbers hold a mask of side×side.

    Raises:
        UsageError: it is no multiple of 4, from 4 to 256.
    """
    if side % 4 or not 4 <= side <= 256:
        raise UsageError(f"masks={side} does not fit", expected="a multiple of 4, such as 56")
    return side * side // WORD


def as_segment(mask: Any) -> Any:
    """What a box's `mask` says as COCO has it: polygons or run lengths as they are, one polygon as a list of one; an
    array (H, W) of the picture's size, of which 0 is outside, as it is.

    Raises:
        DataError: it is none of these.
    """
    if isinstance(mask, np.ndarray) and mask.ndim == 2 and mask.dtype.kind in "biuf":
        return mask != 0
    if isinstance(mask, Mapping) or (isinstance(mask, (list, tuple)) and mask):
        return [mask] if not isinstance(mask, Mapping) and isinstance(mask[0], (int, float)) else mask
    raise DataError(f"the mask {shown(mask)} is none", expected=f"{EXPECTED}, or an array of the picture's size")


def area_of(mask: Any) -> float:
    """Pixels of a box's `mask`. Raises DataError as `as_segment`, and where it cannot be read."""
    segment = as_segment(mask)
    return float(segment.sum()) if isinstance(segment, np.ndarray) else area(segment)


def bits(mask: Any, corners: tuple[float, float, float, float], side: int) -> Bool[np.ndarray, "S S"]:
    """A box's `mask` as side×side bits inside the box.

    Args:
        corners: left, top, right, bottom of the box, in pixels.

    Raises:
        DataError: it cannot be read.
    """
    segment = as_segment(mask)
    origin, size = np.asarray(corners[:2]), np.subtract(corners[2:], corners[:2])
    if not isinstance(segment, (np.ndarray, Mapping)):
        rings = [((ring - origin) * (side / size)).ravel().tolist() for ring in polygons(segment)]
        return filled(rings, (side, side))
    if isinstance(segment, Mapping):
        segment = filled(segment, (int(segment["size"][0]), int(segment["size"][1])))
    share = (np.arange(side) + 0.5) / side
    x, y = (np.floor(origin[axis] + share * size[axis]).astype(np.int64) for axis in (0, 1))
    (height, width), inside = segment.shape, np.zeros((side, side), bool)
    rows, columns = (y >= 0) & (y < height), (x >= 0) & (x < width)
    inside[np.ix_(rows, columns)] = segment[np.ix_(y[rows], x[columns])]
    return inside


def packed(masks: Bool[Tensor, "*N S S"]) -> Float[Tensor, "*N W"]:
    """Masks as numbers of 16 bits each."""
    weights = 2.0 ** torch.arange(WORD - 1, -1, -1, device=masks.device)
    return (masks.flatten(-2).unflatten(-1, (-1, WORD)) * weights).sum(-1)


def unpacked(numbers: Float[Tensor, "*N W"]) -> Bool[Tensor, "*N S S"]:
    """The masks that numbers hold."""
    side = round((numbers.shape[-1] * WORD) ** 0.5)
    places = torch.arange(WORD - 1, -1, -1, device=numbers.device)
    return ((numbers.int()[..., None] >> places) & 1).bool().flatten(-2).unflatten(-1, (side, side))


def instance_masks(encoded: Float[Tensor, "*N F"], side: int = 28) -> tuple[Bool[Tensor, "*N S S"], Bool[Tensor, "*N"]]:
    """The masks of encoded boxes (…, 7 + W), in cells of another size, and which of them are known.

    >>> instance_masks(torch.zeros(2, 3, 7 + words(56)))[0].shape
    torch.Size([2, 3, 28, 28])
    """
    from flambeau.fields.boxes import COLUMNS

    masks = unpacked(encoded[..., len(COLUMNS) :])
    known = masks.flatten(-2).any(-1)
    if masks.shape[-1] != side:
        flat = masks.flatten(0, -3)[:, None].float()
        masks = (F.interpolate(flat, (side, side), mode="area") >= 0.5)[:, 0].unflatten(0, masks.shape[:-2])
    return masks, known


def moved(
    masks: Bool[Tensor, "B M S S"], raw: Float[Tensor, "B M 4"], boxes: Float[Tensor, "B M 4"], placement: Placement
) -> Bool[Tensor, "B M S S"]:
    """Masks inside boxes of raw pictures as those inside boxes of the model's input: each cell looks where its middle
    comes from.

    Args:
        raw: left, top, right, bottom, in pixels of the raw pictures.
        boxes: likewise, in pixels of the model's input: about those, cut at its edges.
    """
    places = middles(boxes.flatten(0, 1), (masks.shape[-1], masks.shape[-1])).unflatten(0, masks.shape[:2])
    places = placement.raw_points(places.flatten(1, 3)).view_as(places).flatten(0, 1)
    return (looked_up(masks.flatten(0, 1).float(), raw.flatten(0, 1), places) > 0.5).unflatten(0, masks.shape[:2])


def assembled(
    masks: Bool[Tensor, "B M S S"], boxes: Float[Tensor, "B M 4"], there: Float[Tensor, "B n M 4"], pieces: Pieces
) -> tuple[Bool[Tensor, "B n M S S"], Float[Tensor, "B n M"]]:
    """Masks of the samples of a batch as those inside boxes of pictures that are made of their pieces, of what is seen;
    and which share of each thing that is, NaN where no mask is known.

    Args:
        boxes: left, top, right, bottom in 0…1 of the samples.
        there: of the pictures, likewise, of each piece's sample.
    """
    form, side = there.shape[:3], masks.shape[-1]
    places = middles(there.flatten(0, 2), (side, side)).unflatten(0, form)
    back, seen = pieces.back(places.flatten(2, 4))
    of_sources = (masks[pieces.sources].flatten(0, 2).float(), boxes[pieces.sources].flatten(0, 2))
    inside = looked_up(*of_sources, back.view_as(places).flatten(0, 2)) > 0.5
    inside = inside.unflatten(0, form) & seen.view_as(places[..., 0])
    left = inside.flatten(-2).float().mean(-1) * overlap.area(there)
    whole = masks[pieces.sources].flatten(-2).float().mean(-1) * overlap.area(pieces.moved(boxes[pieces.sources]))
    return inside, left / whole


def together(
    masks: Bool[Tensor, "B M S S"], boxes: Float[Tensor, "B M 4"], size: tuple[int, int]
) -> Bool[Tensor, "B H W"]:
    """Which pixels of pictures of (H, W) are of any of the masks inside boxes, which are in 0…1 of the picture."""
    there = torch.zeros(len(masks), *size, dtype=torch.bool, device=masks.device)
    for m in range(masks.shape[1]):  # one at a time: as pictures they are large
        there |= pasted(masks[:, m], boxes[:, m], size) > 0.5
    return there


def whole(
    mask: Float[Tensor, "S S"], box: Float[Tensor, 4], raw: Sequence[float], placement: Placement
) -> Bool[np.ndarray, "H W"]:
    """A mask of an answer, as probabilities in a box, as the pixels of the raw picture that it finds likelier than not.

    Args:
        box: left, top, right, bottom, in pixels of the model's input.
        raw: likewise, of the raw picture.
        placement: of that one picture.
    """
    height, width = placement.sides[0].long().tolist()
    left, top, right, bottom = math.floor(raw[0]), math.floor(raw[1]), math.ceil(raw[2]), math.ceil(raw[3])
    there = np.zeros((height, width), bool)
    if right > left and bottom > top:
        places = middles(box.new_tensor([[left, top, right, bottom]]), (bottom - top, right - left))
        places = placement.points(places.view(1, -1, 2)).view_as(places)
        there[top:bottom, left:right] = (looked_up(mask[None], box[None], places)[0] >= 0.5).numpy()
    return there


def middles(boxes: Float[Tensor, "N 4"], size: tuple[int, int]) -> Float[Tensor, "N H W 2"]:
    """The middles (x, y) of the H×W equal cells that each box is cut into."""
    y, x = ((torch.arange(count, device=boxes.device) + 0.5) / count for count in size)
    left, top, right, bottom = (edge[:, None] for edge in boxes.unbind(-1))
    across, down = torch.lerp(left, right, x), torch.lerp(top, bottom, y)
    return torch.stack(torch.broadcast_tensors(across[:, None, :], down[:, :, None]), -1)


def looked_up(
    masks: Float[Tensor, "N S S"], boxes: Float[Tensor, "N 4"], places: Float[Tensor, "N H W 2"]
) -> Float[Tensor, "N H W"]:
    """What masks inside boxes say at places (x, y), between the middles of their cells; 0 outside of the box."""
    origin, sides = boxes[:, None, None, :2], (boxes[:, 2:] - boxes[:, :2]).clamp_min(1e-9)[:, None, None]
    shares = (places - origin) / sides
    inside = ((shares >= 0) & (shares <= 1)).all(-1)
    return F.grid_sample(masks[:, None], shares * 2 - 1, padding_mode="border", align_corners=False)[:, 0] * inside


def pasted(
    masks: Shaped[Tensor, "N S S"], boxes: Float[Tensor, "N 4"], size: tuple[int, int]
) -> Float[Tensor, "N H W"]:
    """Masks inside boxes as those of a whole picture of (H, W); 0 outside of their boxes.

    Args:
        masks: probabilities, or bits as 0 and 1.
        boxes: left, top, right, bottom in 0…1 of the picture.
    """
    picture = boxes.new_tensor([[0.0, 0.0, 1.0, 1.0]])
    return looked_up(masks.float(), boxes, middles(picture, size).expand(len(boxes), -1, -1, -1))


def mask_overlaps(
    masks: Float[Tensor, "N S S"], boxes: Float[Tensor, "N 4"], true: Bool[Tensor, "M T T"],
    true_boxes: Float[Tensor, "M 4"], crowd: Bool[Tensor, " M"],
) -> Float[Tensor, "N M"]:  # fmt: skip
    """IoU of masks inside boxes with other ones; with a crowd the share of the first that is in it. Counted at 64×64
    places of the smallest box about both: a thing is known to that, whatever its size.

    Args:
        masks: probabilities. boxes: left, top, right, bottom in any unit, the same for both.
    """
    iou = boxes.new_zeros(len(boxes), len(true_boxes))
    corner, end = (f(boxes[:, None, i], true_boxes[None, :, i])
                   for f, i in ((torch.maximum, slice(2)), (torch.minimum, slice(2, 4))))  # fmt: skip
    for pairs in (end > corner).all(2).nonzero().split(PAIRS):
        n, m = pairs.unbind(1)
        corner = torch.minimum(boxes[n, :2], true_boxes[m, :2])
        about = torch.cat([corner, torch.maximum(boxes[n, 2:], true_boxes[m, 2:])], 1)
        places = middles(about, (PLACES, PLACES))
        first, second = (looked_up(grids, there, places) >= 0.5 for grids, there in (
            (masks[n].float(), boxes[n]), (true[m].float(), true_boxes[m])))  # fmt: skip
        both, own = (first & second).sum((1, 2)), first.sum((1, 2))
        of = torch.where(crowd[m], own, own + second.sum((1, 2)) - both)
        iou[n, m] = both / of.clamp_min(1)
    return iou
