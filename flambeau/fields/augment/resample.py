"""Carries a drawn geometry out: uint8 pictures to float32 ones of the output's size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.fields.augment.bend import Bend
from flambeau.fields.augment.geometry import Geometry, Sides

PADDINGS = {"constant": "zeros", "reflect": "reflection", "edge": "border"}
"""Our padding modes, and `grid_sample`'s."""


def resize(images: Tensor, size: Sides) -> Tensor:
    """uint8 (B, H, W, C) to uint8 (B, H', W', C), bilinear with antialiasing, as validation sees pictures."""
    if images.shape[1:3] == size:
        return images
    planes = images.permute(0, 3, 1, 2)
    if images.device.type == "cpu":  # the integer kernel: 25–40 µs for a 128 px picture, one thread
        return F.interpolate(planes, size, mode="bilinear", antialias=True).permute(0, 2, 3, 1)
    resized = F.interpolate(planes.float(), size, mode="bilinear", antialias=True)
    return resized.round_().clamp_(0, 255).byte().permute(0, 2, 3, 1)


def windows(images: Tensor, geometry: Geometry, size: Sides, mode: str, fill: list[int], each: bool) -> Tensor:
    """uint8 (B, H, W, C) to uint8 (B, H', W', C): whole-pixel windows and flips."""
    if geometry.boxes is not None:
        padded = pad(images, geometry.padding, mode, fill)
        images = cut(padded, geometry.boxes, size, each)
    return flip(images, geometry.flips, each, keep=geometry.boxes is None)


def cut(images: Tensor, boxes: Tensor, size: Sides, each: bool) -> Tensor:
    """The windows of `size` at each sample's (top, left)."""
    B, H, W, C = images.shape
    h, w = size
    if each:  # on a CPU plain copies are five times as fast as one advanced index
        out = images.new_empty(B, h, w, C)
        for i, (top, left) in enumerate(boxes[:, :2].tolist()):
            out[i] = images[i, top : top + h, left : left + w]
        return out
    stride = images.stride()
    every = images.as_strided((B, H - h + 1, W - w + 1, h, w, C), (*stride[:3], *stride[1:]))
    return every[torch.arange(B, device=images.device), boxes[:, 0], boxes[:, 1]]


def cut_and_resize(
    images: Tensor, boxes: Tensor, size: Sides, rooms: Tensor | None = None, fill: Sequence[int] = (0,)
) -> Tensor:
    """uint8 (B, H, W, C), int64 boxes (B, 4) to uint8 (B, H', W', C): each window resized, antialiased, into its room,
    int64 (B, 4), with `fill` about it; to all of the output, if not given.

    CPU only. Equal to torchvision's `resized_crop` on uint8 tensors, bit for bit. One call a sample: half the time
    of `grid_sample` at 128 px, which does not antialias.
    """
    B, H, W, C = images.shape
    images = images.contiguous()
    out = images.new_empty(B, *size, C)
    if rooms is not None:
        out.copy_(images.new_tensor(fill))
    targets = out.permute(0, 3, 1, 2).split(1)
    strides, start, side = (H * W * C, 1, W * C, C), images.storage_offset(), list(size)
    # what F.interpolate(antialias=True) calls, into memory that is there already: 64 fresh results cost page faults
    places = [] if rooms is None else rooms.tolist()
    kernel = torch.ops.aten._upsample_bilinear2d_aa.out
    for i, (top, left, height, width) in enumerate(boxes.tolist()):
        # one view in place of three slices: a tenth of the whole time
        window = images.as_strided((1, C, height, width), strides, start + ((i * H + top) * W + left) * C)
        if rooms is None:
            kernel(window, side, False, None, None, out=targets[i])
            continue
        above, before, high, wide = places[i]
        resized = images.new_empty(high, wide, C)
        kernel(window, [high, wide], False, None, None, out=resized.permute(2, 0, 1)[None])
        out[i, above : above + high, before : before + wide] = resized
    return out


def flip(images: Tensor, flips: tuple[Tensor | None, Tensor | None], each: bool, keep: bool) -> Tensor:
    """(B, H, W, C) with chosen samples flipped; in place unless `keep`."""
    for chosen, axis in zip(flips, (2, 1), strict=True):
        if chosen is None:
            continue
        if each:  # on a CPU plain copies are six times as fast as indexing with a list
            images, keep = (images.clone() if keep else images), False
            for i in chosen.nonzero()[:, 0].tolist():
                images[i].copy_(images[i].flip(axis - 1))
        else:  # no number of chosen samples is asked for: that would wait for the device
            images = torch.where(chosen[:, None, None, None], images.flip(axis), images)
    return images


def pad(images: Tensor, padding: Sides, mode: str, fill: list[int]) -> Tensor:
    """uint8 (B, H, W, C) with `padding` rows and columns on either side. `fill`: 0…255 for each channel.

    Raises:
        UsageError: reflection of more than the picture has.
    """
    rows, columns = padding
    if not (rows or columns):
        return images
    B, H, W, C = images.shape
    if mode == "reflect" and (rows >= H or columns >= W):
        raise UsageError(
            f"pictures of {H}×{W} cannot be reflected by {rows} rows and {columns} columns",
            fix="padding='edge', or less of it",
        )
    out = images.new_empty(B, H + 2 * rows, W + 2 * columns, C)
    out[:, rows : rows + H, columns : columns + W] = images
    if mode == "constant":
        colour = images.new_tensor(fill)
        for part in (out[:, :rows], out[:, rows + H :], out[:, :, :columns], out[:, :, columns + W :]):
            part.copy_(colour.expand_as(part))
        return out
    extend(out[:, rows : rows + H], 2, columns, W, mode)
    extend(out, 1, rows, H, mode)
    return out


def extend(images: Tensor, axis: int, before: int, length: int, mode: str) -> None:
    """Fills the `before` places on either side of the `length` known ones along an axis, in place."""
    if before == 0:
        return
    left, right = images.narrow(axis, 0, before), images.narrow(axis, before + length, before)
    if mode == "edge":
        left.copy_(images.narrow(axis, before, 1).expand_as(left))
        right.copy_(images.narrow(axis, before + length - 1, 1).expand_as(right))
    else:
        left.copy_(images.narrow(axis, before + 1, before).flip(axis))
        right.copy_(images.narrow(axis, length - 1, before).flip(axis))


def sample(
    images: Tensor,
    matrix: Tensor,
    size: Sides,
    mode: str,
    fill: Tensor | None,
    how: str = "bilinear",
    bend: Bend | None = None,
) -> Tensor:
    """One resampling of all samples at once, bilinear or `nearest`.

    The sampling positions are two outer sums a sample, half a percent of what `affine_grid` costs on a CPU.
    Positions follow align_corners=True, so that "reflect" mirrors about the middle of the edge pixels as
    `numpy.pad` does.

    Args:
        images: uint8 (B, H, W, C).
        matrix: float32 (B, 2, 3), output position to picture position, in pixels.
        size: (H', W').
        mode: "constant", "reflect" or "edge".
        fill: float32 (C) in 0…255 where "constant" is not black, else None.
        bend: where output positions are looked for, if not where they are.

    Returns:
        float32 (B, C, H', W') in 0…255, contiguous; `fill` subtracted where it is given.
    """
    _, H, W, _ = images.shape
    h, w = size
    scale = matrix.new_tensor([2 / max(W - 1, 1), 2 / max(H - 1, 1)])
    per_pixel = matrix * scale[:, None]
    base = per_pixel[:, :, 2:] - scale[:, None] / 2 - 1
    if bend is None:
        across = torch.arange(w, dtype=torch.float32, device=matrix.device) + 0.5
        down = torch.arange(h, dtype=torch.float32, device=matrix.device) + 0.5
        rows = per_pixel[:, :, 0, None] * across + base
        columns = per_pixel[:, :, 1, None] * down
        grid = (rows[:, :, None, :] + columns[:, :, :, None]).permute(0, 2, 3, 1)
    else:
        flat = bend.grid(matrix.device).flatten(1, 2)
        grid = (flat @ per_pixel[:, :, :2].mT + base.mT).unflatten(1, (h, w))
    pixels = images.float()
    if fill is not None:
        pixels.sub_(fill)  # zeros outside then mean the fill; whoever adds it again does so for all pixels alike
    return F.grid_sample(pixels.permute(0, 3, 1, 2), grid, how, PADDINGS[mode], align_corners=True)
