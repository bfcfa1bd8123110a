"""From gathered columns to a Batch on the device, each field preparing its own; what has a place in a picture follows
it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.data.batch import Batch
from flambeau.data.store.store import Gathered
from flambeau.fields import Field
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
        self._remakes = target in self._followers and self.fields[target or ""].remakes

    @property
    def random(self) -> bool:
        """Whether preparing a training batch draws random numbers."""
        return self._remakes or any(self.fields[name].random for name in self.inputs)

    def input_bounds(self) -> tuple[Tensor, Tensor] | None:
        """`Field.input_bounds` of the input, where it is one."""
        return None if self._single is None else self.fields[self._single].input_bounds

    def train_at(self, share: float) -> bool:
        """Prepares inputs for training at `share` of their side from now on; whether there is one that has a side."""
        return any([self.fields[name].train_at(share) for name in self.inputs])

    def __call__(
        self, rows: Tensor, gathered: Gathered, training: bool = False, generator: torch.Generator | None = None
    ) -> Batch:
        picture, placement, moving = None, None, dict[str, Any]()
        if self._leader is not None:
            frames = self._here(gathered[frames_of(self._leader)])
            value = self._here(gathered[self._leader])
            moving = {name: self._here(gathered[name]) for name in self._followers if name in gathered}
            boxes = (self.fields[name].things(part) for name, part in moving.items()) if training else ()
            things = next((found for found in boxes if found is not None), None)
            picture, placement = self.fields[self._leader].lead(value, frames, training, generator, things)

        def prepared(name: str, generator: torch.Generator | None = generator) -> Any:
            if placement is not None and name == self._leader:
                return picture
            if placement is not None and name in moving:
                value = self.fields[name].follow(moving[name], placement)
            else:
                value = self._here(gathered[name])
            return self.fields[name].prepare(value, training, generator)

        values = {name: prepared(name) for name in self.inputs}
        if self.target is not None and self.target in gathered:
            values[self.target] = prepared(self.target, None)
        if training and self._leader is not None:
            followers = {name: (self.fields[name], values[name]) for name in moving}
            values |= self._mixed(values, followers, generator)
            if self._remakes and self.target in values and generator is not None:
                target = self.fields[self.target].remake
                values[self._leader], values[self.target] = target(values[self._leader], values[self.target], generator)
        inputs = {name: _as_input(values[name]) for name in self.inputs}
        return Batch(inputs if self._single is None else inputs[self._single], values.get(self.target or ""), rows)

    def _mixed(self, values: dict[str, Any], followers: Any, generator: torch.Generator | None) -> dict[str, Any]:
        assert self._leader is not None
        picture, mixed = self.fields[self._leader].mixed(values[self._leader], followers, generator)
        if picture is not values[self._leader] and (apart := values.keys() - followers.keys() - {self._leader}):
            raise UsageError(f"pictures are mixed, and {sorted(apart)[0]} has no place in them",
                             fix="leave mosaic and copy_paste out of the augmentation")  # fmt: skip
        return {self._leader: picture, **mixed}

    def _here(self, value: Any) -> Any:
        # uint8 crosses to the device, floats are made there
        if value.device != self.device:
            value = value.to(self.device, non_blocking=True)
        return value


def _as_input(value: Any) -> Any:
    return value[:, None] if isinstance(value, Tensor) and value.ndim == 1 else value  # a layer takes (B, 1)
