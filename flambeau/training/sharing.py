"""What one of several processes gets of a batch: every W-th row."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from flambeau.data.batch import Batch
from flambeau.fields import Windows


def part_of(batch: Batch, rank: int, count: int) -> Batch:
    """The rows `rank`, `rank + count`, … of a batch (B, …)."""
    rows = len(batch)

    def part(value: Any) -> Any:
        if isinstance(value, Tensor):
            return _every(value, rank, count) if value.ndim and len(value) == rows else value
        if isinstance(value, Windows):
            own = torch.arange(rows, device=value.counts.device) % count == rank
            return Windows(value.values[own.repeat_interleave(value.counts)], value.counts[own])
        if isinstance(value, dict):
            return {name: part(inside) for name, inside in value.items()}
        if hasattr(value, "_fields"):
            return type(value)(*(part(inside) for inside in value))
        if isinstance(value, (list, tuple)):
            if len(value) == rows and not all(isinstance(v, Tensor) and v.ndim and len(v) == rows for v in value):
                return value[rank::count]  # a part for each sample, such as its boxes
            return type(value)(part(inside) for inside in value)
        return value

    return Batch(part(batch.input), part(batch.target), batch.rows[rank::count])


def _every(value: Tensor, rank: int, count: int) -> Tensor:
    """Every so many rows, laid out as all of them are."""
    last = value.ndim == 4 and value.is_contiguous(memory_format=torch.channels_last)
    return value[rank::count].contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
