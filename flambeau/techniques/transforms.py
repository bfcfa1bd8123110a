"""A user's own transforms. Not in the registry: a recipe can name them, only Python can make them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from flambeau.data.batch import Batch
from flambeau.techniques.base import Technique


class Transforms(Technique):
    """Applies callables, in order, to the input of each training batch (a float tensor (B, …) as the model sees it)."""

    name = "transforms"

    def __init__(self, transforms: Sequence[Callable[..., Any]]):
        self.transforms = list(transforms)

    def on_batch(self, batch: Batch, generator: torch.Generator) -> Batch:
        for transform in self.transforms:
            batch.input = transform(batch.input)
        return batch
