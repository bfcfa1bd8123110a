"""From gathered columns to a Batch on the device, each field preparing its own; what has a place in a picture follows
it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from flambeau.data.batch import Batch
from flambeau.data.store.store import Gathered
from flambeau.fields import Field, Ragged
from flambeau.fields.placement import following, frames_of


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
        self._leader, self._followers = following(self.fields, self.inputs, target)

    @property
    def random(self) -> bool:
        """Whether preparing a training batch draws random numbers."""
        return any(self.fields[name].random for name in self.inputs)

    def input_bounds(self) -> tuple[Tensor, Tensor] | None:
        """`Field.input_bounds` of the input, where it is one."""
        return None if self._single is None else self.fields[self._single].input_bounds

    def train_at(self, share: float) -> bool:
        """Prepares inputs for training at `share` of their side from now on; whether there is one that has a side."""
        return any([self.fields[name].train_at(share) for name in self.inputs])

    def __call__(
        self, rows: Tensor, gathered: Gathered, training: bool = False, generator: torch.Generator | None = None
    ) -> Batch:
        picture, placement = None, None
        if self._leader is not None:
            frames = self._here(gathered[frames_of(self._leader)])
            value = self._here(gathered[self._leader])
            picture, placement = self.fields[self._leader].lead(value, frames, training, generator)

        def prepared(name: str, generator: torch.Generator | None = generator) -> Any:
            if placement is not None and name == self._leader:
                return picture
            value = self._here(gathered[name])
            if placement is not None and name in self._followers:
                value = self.fields[name].follow(value, placement)
            return self.fields[name].prepare(value, training, generator)

        if self._single is not None:
            inputs: Any = _as_input(prepared(self._single))
        else:
            inputs = {name: _as_input(prepared(name)) for name in self.inputs}
        target = prepared(self.target, None) if self.target is not None and self.target in gathered else None
        return Batch(inputs, target, rows)

    def _here(self, value: Any) -> Any:
        # uint8 crosses to the device, floats are made there
        if (value.values if isinstance(value, Ragged) else value).device != self.device:
            value = value.to(self.device, non_blocking=True)
        return value


def _as_input(value: Any) -> Any:
    return value[:, None] if isinstance(value, Tensor) and value.ndim == 1 else value  # a layer takes (B, 1)
