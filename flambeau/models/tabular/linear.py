"""A linear model: a weight for each number and each category. The baseline of every table."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from flambeau.core.shapes import Float
from flambeau.fields import Row
from flambeau.models.spec import OWN


@OWN.register("linear", kinds=("table", "number"), of=lambda spec: (spec.shape,))
class Linear(nn.Module):
    """Weights of D numbers, and K outputs for each code of each category, summed.

    Args:
        shape: (D, K1, K2, …), as an InputSpec of the kind `table` has it.
        num_outputs: K.

    Shapes: Row, or numbers (B, D) alone, to (B, K).
    """

    def __init__(self, shape: Sequence[int], num_outputs: int):
        super().__init__()
        self.head = nn.Linear(shape[0], num_outputs)
        self.categories = nn.ModuleList(nn.Embedding(size, num_outputs) for size in shape[1:])
        for table in self.categories:
            nn.init.zeros_(table.weight)  # type: ignore[arg-type]

    def forward(self, row: Row | Float[Tensor, "B D"]) -> Float[Tensor, "B K"]:
        numbers, codes = row if isinstance(row, tuple) else (row, None)
        out = self.head(numbers)
        for i, table in enumerate(self.categories):
            out = out + table(codes[:, i])  # type: ignore[index]
        return out
