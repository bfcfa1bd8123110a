"""Some rows of a prepared batch: what one of several processes gets of it, or a part where memory is short."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from flambeau.data.batch import Batch
from flambeau.fields import Windows


def part_of(batch: Batch, rows: slice, *, strict: bool = False) -> Batch:
    """The rows of a batch (B, …) that a slice names; rows that follow one another without a copy. What has no axis
    belongs to each part.

    Args:
        strict: for parts that must add up to the whole.

    Raises:
        ValueError: strict, and something is not one for each sample.
    """
    size = len(batch)

    def each_sample(value: Any) -> bool:
        return (
            isinstance(value, (Tensor, Batch)) and (isinstance(value, Batch) or value.ndim > 0) and len(value) == size
        )

    def part(value: Any) -> Any:
        if isinstance(value, Batch):
            return Batch(part(value.input), part(value.target), part(value.rows))
        if isinstance(value, Tensor) and each_sample(value):
            return value[rows] if rows.step is None else _laid_out(value[rows], value)
        if isinstance(value, Windows):
            own = torch.zeros(size, dtype=torch.bool, device=value.counts.device)
            own[rows] = True
            return Windows(value.values[own.repeat_interleave(value.counts)], value.counts[own])
        if isinstance(value, dict):
            return {name: part(inside) for name, inside in value.items()}
        if hasattr(value, "_fields"):
            return type(value)(*(part(inside) for inside in value))
        if isinstance(value, (list, tuple)):
            if len(value) == size and not all(map(each_sample, value)):
                return value[rows]  # a part for each sample, such as its boxes
            return type(value)(part(inside) for inside in value)
        shared = value is None or isinstance(value, (int, float, str)) or (isinstance(value, Tensor) and not value.ndim)
        if strict and not shared:
            raise ValueError("not one for each sample")
        return value

    return Batch(part(batch.input), part(batch.target), batch.rows[rows])


def _laid_out(some: Tensor, value: Tensor) -> Tensor:
    """Some rows of a tensor, laid out as all of them are."""
    last = value.ndim == 4 and value.is_contiguous(memory_format=torch.channels_last)
    return some.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
