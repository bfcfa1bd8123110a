"""What the models that fit themselves have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from flambeau.core.shapes import Float
from flambeau.fields import Row

NEVER = -20.0
"""The logit of a class that no training row has."""
LEAST = 1e-7
"""The least probability that has a logit."""


@dataclass(frozen=True)
class Examples:
    """Rows that a model is fitted to.

    Attributes:
        batches: iterates over them, in the same order each time: an input as the model is called with, the prepared
            targets, and a weight for each sample, float (B).
        count: how many samples there are.
        numbers: whether targets are numbers, and not classes or labels.
        levels: of quantiles that are asked for, where the output has those of each number.
    """

    batches: Callable[[], Iterator[tuple[Any, Tensor, Tensor]]]
    count: int
    numbers: bool
    levels: Sequence[float] = ()

    def drawn(self, most: int | None = None) -> Iterator[tuple[Any, Tensor, Tensor, Tensor]]:
        """Batches, and which of their rows are kept, bool (B): about `most` of all, drawn from more."""
        share = 1.0 if most is None else most / max(1, self.count)
        random = np.random.default_rng(0)
        for inputs, targets, weights in self.batches():
            kept = torch.ones(len(targets), dtype=torch.bool)
            if share < 1:
                kept = torch.from_numpy(random.random(len(targets)) < share)
            yield inputs, targets.cpu(), weights.cpu(), kept

    def gathered(
        self, features: Callable[[Any], Tensor], most: int | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Features (N, …), targets (N, …) and weights (N), of about `most` rows."""
        x, y, w = [], [], []
        for inputs, targets, weights, kept in self.drawn(most):
            with torch.no_grad():
                x.append(features(inputs).cpu()[kept])
            y.append(targets[kept])
            w.append(weights[kept])
        return torch.cat(x).numpy(), torch.cat(y).numpy(), torch.cat(w).double().numpy()


class FittedModel(nn.Module):
    """A model that is fitted to all training rows at once, in place of epochs.

    It has no parameters: what it learns are buffers, whose shapes follow from the data, so that a run keeps it as it
    keeps any other. Its output is that of a network for the same target: logits (B, K), or numbers (B, K).
    """

    learns_in: ClassVar[str] = "fitted at once to all training rows"

    def fit(self, train: Examples, valid: Examples | None) -> str:
        """Learns from training rows.

        Args:
            valid: rows that choose how far it goes, such as a penalty; None where there are none.

        Returns:
            what was chosen, a clause.
        """
        raise NotImplementedError

    def keep(self, **arrays: Any) -> None:
        """Puts arrays in the place of its buffers."""
        for name, array in arrays.items():
            before = getattr(self, name)
            setattr(self, name, torch.as_tensor(array).to(before.device, before.dtype).contiguous())

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *others: Any) -> None:
        make_room(self, {n.removeprefix(prefix): v for n, v in state_dict.items() if n.startswith(prefix)})
        super()._load_from_state_dict(state_dict, prefix, *others)


def make_room(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Lets the buffers of a model that fits itself have the shapes that those of a state have; others stay."""
    if not isinstance(model, FittedModel):
        return
    for name, buffer in model.named_buffers(recurse=False):
        if name in state and state[name].shape != buffer.shape and state[name].ndim == buffer.ndim:
            setattr(model, name, buffer.new_zeros(state[name].shape))


def flat(inputs: Any) -> Float[Tensor, "B D"]:
    """A prepared batch as one vector a sample: of rows of tables the numbers."""
    return inputs.flatten(1) if isinstance(inputs, Tensor) else inputs.numbers


def with_codes(inputs: Any, sizes: tuple[int, ...]) -> Float[Tensor, "B D2"]:
    """The same, and of rows of tables a 1 at the code of each category too, which has so many as `sizes` says."""
    if not isinstance(inputs, Row) or not sizes:
        return flat(inputs)
    parts = [inputs.numbers]
    for place, size in enumerate(sizes):
        codes = torch.arange(size, device=inputs.codes.device)
        parts.append((inputs.codes[:, place, None] == codes).to(inputs.numbers.dtype))
    return torch.cat(parts, 1)
