"""Works through a batch in parts that fit the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from flambeau.fields.augment.colour import ColourMap
from flambeau.fields.augment.geometry import Sides

CHUNK = 1 << 19
"""Numbers that are worked on at a time on a CPU: what stays in its cache from one operation to the next."""


def assemble(
    B: int,
    C: int,
    size: Sides,
    pixels: Callable[[slice], Tensor],
    colours: ColourMap,
    finish: Callable[[Tensor, slice, bool], None],
    device: torch.device,
    memory_format: torch.memory_format,
    dtype: torch.dtype,
) -> Tensor:
    """Works through a batch in parts that fit the cache: pixels, colours, `finish`, and the output's form.

    `pixels` gives uint8 (b, H, W, C) or float32 (b, C, H, W), in 0…255.
    """
    H, W = size
    last = memory_format == torch.channels_last
    out = torch.empty((B, H, W, C) if last else (B, C, H, W), dtype=dtype, device=device)
    result = out.permute(0, 3, 1, 2) if last else out
    for rows in chunks(B, H * W * C, device):
        part = pixels(rows)
        b = len(part)
        if part.dtype == torch.uint8:
            planar = not last
            source = part.permute(0, 3, 1, 2) if planar else part
            part = torch.empty(source.shape, device=device).copy_(source)
        else:
            planar = True
        flat = (b, C, H * W) if planar else (b, H * W, C)
        direct = dtype == torch.float32 and (planar != last or C == 1)
        # in place where the map allows it: a matrix reads all channels of a pixel for each that it writes
        inside = part if colours.matrix is None else torch.empty_like(part)
        target = (out[rows] if direct else inside).view(flat)
        colours.apply(part.view(flat), rows, target, planar)
        finish(target, rows, planar)
        if not direct:
            shaped = target.view(part.shape)
            (result if planar else out)[rows].copy_(shaped)
    return result


def chunks(batch: int, numbers: int, device: torch.device) -> Iterator[slice]:
    """Slices of a batch: parts of about CHUNK numbers on a CPU, all of it elsewhere."""
    step = max(1, CHUNK // max(1, numbers)) if device.type == "cpu" else batch
    for start in range(0, batch, max(1, step)):
        yield slice(start, min(batch, start + step))
