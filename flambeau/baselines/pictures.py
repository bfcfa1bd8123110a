"""The rivals of what makes pictures of pictures: the input as it is, enlarged, or filtered."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from flambeau.baselines.rows import Budget, Rows
from flambeau.data.prepare import Preparer
from flambeau.fields import Picture
from flambeau.fields.augment.filters import blurred
from flambeau.fields.placement import frames_of
from flambeau.models.restoration.parts import enlarged
from flambeau.objectives.metrics import Metric

AT_ONCE = 16  # pictures
Rival = tuple[str, Callable[[Budget], Sequence[Metric]], bool]
Filter = Callable[[Tensor], Tensor]
"""From normalised pictures (B, C, H, W) to such."""


def filtered(rows: Rows, of: Rows, held_out: np.ndarray, metric: str) -> list[Rival]:
    """For a larger picture bicubic; for one of the same size the input itself, blurred, and its median of 3×3."""
    field = rows.target
    assert isinstance(field, Picture)
    scale, channels = field.scale, field.channels
    found: dict[str, Filter] = {}
    if scale > 1:
        found["bicubic"] = lambda x: enlarged(x, scale, channels)
    else:
        found["the input as it is"] = lambda x: enlarged(x, 1, channels)
        if rows.dataset.fields[rows.dataset.inputs[0]].input_shape[0] == channels:
            found["a Gaussian filter"] = lambda x: blurred(x, x.new_ones(len(x)), 3, "replicate")
            found["a median filter"] = middle
    return [(name, _measure(apply, of, held_out, metric), False) for name, apply in found.items()]


def middle(x: Tensor) -> Tensor:
    """The median of each pixel and its eight neighbours."""
    padded = F.pad(x, (1, 1, 1, 1), "replicate")
    H, W = x.shape[2:]
    return torch.stack([padded[:, :, i : i + H, j : j + W] for i in range(3) for j in range(3)]).median(0).values


def _measure(apply: Filter, of: Rows, held_out: np.ndarray, metric: str) -> Callable[[Budget], Sequence[Metric]]:
    def measured(budget: Budget) -> Sequence[Metric]:
        data, target = of.dataset, of.dataset.target or ""
        prepare = Preparer(data.fields, data.inputs, target, torch.device("cpu"))
        columns = [*data.inputs, target, frames_of(data.inputs[0])]
        measures = of.task.measured_by(False, metric)
        for start in range(0, len(held_out), AT_ONCE):
            part = torch.from_numpy(held_out[start : start + AT_ONCE])
            batch = prepare(part, {n: of.store.columns[n].gather(part.to(of.store.device)) for n in columns})
            for one in measures:
                one.update(apply(batch.input), batch.target, part)
        return measures

    return measured
