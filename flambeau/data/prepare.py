"""From gathered columns to a Batch on the device, each field preparing its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from flambeau.data.batch import Batch
from flambeau.data.store.store import Gathered
from flambeau.fields import Field, Ragged


class Preparer:
    """Called with (rows, gathered, training, generator).

    Args:
        fields: by column name.
        inputs: the columns that the model sees: one is passed as it is, several as a dict.
        target: the column of the target, if any.
        device: where batches go.
    """

    def __init__(self, fields: Mapping[str, Field], inputs: Sequence[str], target: str | None, device: torch.device):
        self.fields, self.inputs, self.target, self.device = dict(fields), list(inputs), target, device
        self._single = self.inputs[0] if len(self.inputs) == 1 else None

    @property
    def random(self) -> bool:
        """Whether preparing a training batch draws random numbers."""
        return any(self.fields[name].random for name in self.inputs)

    def __call__(
        self, rows: Tensor, gathered: Gathered, training: bool = False, generator: torch.Generator | None = None
    ) -> Batch:
        if self._single is not None:
            prepared: Any = self._input(self._single, gathered, training, generator)
        else:
            prepared = {name: self._input(name, gathered, training, generator) for name in self.inputs}
        target = None
        if self.target is not None and self.target in gathered:
            target = self._prepare(self.target, gathered, training, None)
        return Batch(prepared, target, rows)

    def _input(self, name: str, gathered: Gathered, training: bool, generator: torch.Generator | None) -> Any:
        value = self._prepare(name, gathered, training, generator)
        return value[:, None] if isinstance(value, Tensor) and value.ndim == 1 else value  # a layer takes (B, 1)

    def _prepare(self, name: str, gathered: Gathered, training: bool, generator: torch.Generator | None) -> Any:
        value = gathered[name]
        # uint8 crosses to the device, floats are made there
        if (value.values if isinstance(value, Ragged) else value).device != self.device:
            value = value.to(self.device, non_blocking=True)
        return self.fields[name].prepare(value, training, generator)
