"""The nearest neighbours: Cover & Hart, "Nearest neighbor pattern classification", 1967."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.core.shapes import Float
from flambeau.fields import Row
from flambeau.models.fitted.base import LEAST, Examples, FittedModel, flat, with_codes
from flambeau.models.spec import OWN, InputSpec

TRIED = (1, 3, 5, 10, 20, 40)
"""How many neighbours are asked, of which validation rows choose."""
MOST_CELLS, MOST_ROWS = 20_000_000, 20_000  # that are kept, each in the run
AT_ONCE = 256


@OWN.register("nearest", kinds=("table", "number", "series"), fitted=True)
class Nearest(FittedModel):
    """What the nearest training rows are, by Euclidean distance of their numbers and of the codes of their categories:
    the mean of their numbers, or their share of each class or label, by the weights of the rows.

    Args:
        spec: a table (D, K1, …), numbers (D,) or series (C, T).
        num_outputs: K.
        neighbours: how many; chosen by validation rows if not given.

    Attributes:
        rows: float32 (N, D); answers: float32 (N, K); weights: float32 (N).
        asked: of its length, how many neighbours.
        kind: int64 (1), 0 for numbers, 1 for classes, 2 for labels.

    Shapes: Row, or (B, D), or (B, C, T), to (B, K).

    Raises:
        UsageError: no neighbour is asked.
    """

    rows: Tensor
    answers: Tensor
    weights: Tensor
    asked: Tensor
    kind: Tensor

    def __init__(self, spec: InputSpec, num_outputs: int, neighbours: int | None = None):
        super().__init__()
        if neighbours is not None and neighbours < 1:
            raise UsageError(f"neighbours={neighbours} do not fit", expected="1 or more")
        sizes = spec.form.choices(spec.shape)
        width = spec.shape[0] + sum(sizes) if spec.kind == "table" else int(np.prod(spec.shape))
        self.sizes, self.num_outputs, self.neighbours = tuple(sizes), num_outputs, neighbours
        self.register_buffer("rows", torch.zeros(1, width))
        self.register_buffer("answers", torch.zeros(1, num_outputs))
        self.register_buffer("weights", torch.ones(1))
        self.register_buffer("asked", torch.zeros(1))
        self.register_buffer("kind", torch.zeros(1, dtype=torch.int64))

    def vectors(self, inputs: Row | Tensor) -> Float[Tensor, "B D"]:
        """What distances are of: two codes of a category are as far apart as two numbers that differ by 1."""
        if not self.sizes:
            return flat(inputs).float()
        numbers = inputs.numbers.shape[1]  # type: ignore[union-attr]
        all_of_it = with_codes(inputs, self.sizes).float()
        return torch.cat((all_of_it[:, :numbers], all_of_it[:, numbers:] * 0.5**0.5), 1)

    def forward(self, inputs: Row | Tensor) -> Float[Tensor, "B K"]:
        mean = self._mean(self.vectors(inputs), self.asked.shape[0]).float()
        shares = mean.clamp(LEAST, 1 - LEAST)
        logits = torch.where(self.kind == 2, shares.log() - (1 - shares).log(), mean.clamp_min(LEAST).log())
        return torch.where(self.kind > 0, logits, mean)

    def _mean(self, x: Tensor, count: int) -> Tensor:
        """What the nearest of (B, D) answer in the mean, float64 (B, K)."""
        known, asked = self.rows.double(), x.double()
        distance = known.square().sum(1) - 2 * (asked @ known.T)  # and the square of what is asked, alike for all
        nearest = distance.topk(count, dim=1, largest=False).indices
        weights = self.weights[nearest].double()[..., None]
        return (self.answers[nearest].double() * weights).sum(1) / weights.sum(1)

    def fit(self, train: Examples, valid: Examples | None) -> str:
        most = min(MOST_ROWS, max(1000, MOST_CELLS // self.rows.shape[1]))
        x, y, w = train.gathered(self.vectors, most)
        kind = 0 if train.numbers else 1 if y.ndim == 1 else 2
        answers = np.eye(self.num_outputs, dtype=np.float32)[y] if kind == 1 else y.reshape(len(y), -1)
        self.keep(rows=x, answers=answers, weights=w, kind=np.asarray([kind]))
        count = min(self.neighbours or (1 if valid is None else self._chosen(valid, kind)), len(x))
        self.keep(asked=np.zeros(count))
        drawn = f", of {len(x):,} of {train.count:,} rows" if len(x) < train.count else ""
        chosen = " chosen by validation rows" if self.neighbours is None and valid is not None else ""
        return f"{count} neighbour{'s' * (count > 1)}{chosen}{drawn}"

    def _chosen(self, valid: Examples, kind: int) -> int:
        """How many of TRIED have the least squared error of numbers or shares on validation rows."""
        x, y, _ = valid.gathered(self.vectors, MOST_ROWS)
        truth: Any = np.eye(self.num_outputs, dtype=np.float32)[y] if kind == 1 else y.reshape(len(y), -1)
        wanted, errors = torch.from_numpy(truth), {}
        for count in (count for count in TRIED if count <= len(self.rows)):
            parts = [self._mean(part, count) for part in torch.from_numpy(x).split(AT_ONCE)]
            errors[count] = float((torch.cat(parts) - wanted).square().mean())
        return min(errors, key=lambda count: errors[count])


__all__ = ["Nearest"]
