"""What the models for tables share: numbers and categories of a row to one vector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.core.shapes import Float
from flambeau.fields import Row

MOST_CATEGORY = 32


class PiecewiseLinear(nn.Module):
    """Each number by how far it reaches into each of some bins, and from there to a vector of its own weights.

    Gorishniy, Rubachev, Babenko, "On embeddings for numerical features in tabular deep learning", 2022,
    arXiv:2203.05556. Numbers come as quantiles of a normal distribution, so the bins are that distribution's quantiles.

    Args:
        features: D.
        width: E, numbers of each vector.
        bins: how many.

    Shapes: (B, D) to (B, D, E).
    """

    edges: Tensor

    def __init__(self, features: int, width: int, bins: int):
        super().__init__()
        if bins < 2:
            raise UsageError(f"{bins} bins do not fit", expected="2 or more")
        shares = torch.linspace(0, 1, bins + 1, dtype=torch.float64).clamp(0.005, 0.995)
        self.register_buffer("edges", torch.special.ndtri(shares).float(), persistent=False)
        self.weight = nn.Parameter(torch.empty(features, bins + 1, width))
        self.bias = nn.Parameter(torch.zeros(features, width))
        nn.init.normal_(self.weight, std=(bins + 1) ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        low, high = self.edges[:-1], self.edges[1:]
        inside = ((x[:, :, None] - low) / (high - low)).clamp(0, 1)
        inside = torch.cat((inside, x[:, :, None]), 2)  # beyond the last edge the number itself goes on
        # one matrix product a feature: (D, B, bins) by (D, bins, E)
        out = torch.baddbmm(self.bias[:, None], inside.transpose(0, 1), self.weight)
        return out.relu().transpose(0, 1)


class RowEmbedding(nn.Module):
    """The numbers of a row, each as itself or as a vector, beside a vector for each category, whose
    width follows its size K: 1.6·K^0.56, 32 at most.

    Args:
        shape: (D, K1, K2, …), as an InputSpec of the kind `table` has it.
        number_width: E; 0 to take each number as it is.
        bins: of `PiecewiseLinear`.

    Shapes: Row, or numbers (B, D) alone, to (B, `width`).
    """

    def __init__(self, shape: Sequence[int], number_width: int = 0, bins: int = 16):
        super().__init__()
        features, *sizes = shape
        self.numbers = PiecewiseLinear(features, number_width, bins) if number_width and features else None
        widths = [min(MOST_CATEGORY, round(1.6 * size**0.56)) for size in sizes]
        self.categories = nn.ModuleList(nn.Embedding(k, w) for k, w in zip(sizes, widths, strict=True))
        for table in self.categories:
            nn.init.normal_(table.weight, std=0.3)  # type: ignore[arg-type]
        self.width = features * (number_width or 1) + sum(widths)

    def forward(self, row: Row | Float[Tensor, "B D"]) -> Float[Tensor, "B D2"]:
        numbers, codes = row if isinstance(row, tuple) else (row, None)
        parts = [numbers if self.numbers is None else self.numbers(numbers).flatten(1)]
        parts += [table(codes[:, i]) for i, table in enumerate(self.categories)]  # type: ignore[index]
        return torch.cat(parts, 1) if len(parts) > 1 else parts[0]
