"""One batch as models, objectives and techniques see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor


@dataclass(slots=True)
class Batch:
    """Prepared samples on the device.

    Attributes:
        input: what the model is called with: a tensor (B, …) or Ragged; a dict by column name of several inputs; a
            tuple where the user's own data gives several.
        target: (B, …), None where there is none.
        rows: dataset rows, int64 (B).
    """

    input: Any
    target: Any
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)


class Several(NamedTuple):
    """The input of a batch that is seen in several ways: a batch for each."""

    batches: list[Batch]
