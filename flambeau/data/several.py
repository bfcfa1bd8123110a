"""One batch for several that see it each its own way: other columns of the same rows, or other views of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.core.randomness import mix
from flambeau.core.reporter import QUIET, Reporter
from flambeau.data.batch import Batch, Several
from flambeau.data.dataset import Dataset
from flambeau.data.grouping import PRESENT
from flambeau.data.prepare import Preparer
from flambeau.data.store.encode import EncodeOptions, encode
from flambeau.data.store.store import Gathered, Store
from flambeau.fields import TTA, Field

Prepare = Callable[[Tensor, Any, bool, torch.Generator | None], Batch]


class SeveralPreparer:
    """Called as a `Preparer`; gives a batch whose input is `Several`.

    Args:
        parts: how each prepares, and the store that it gathers from; None for what is gathered already.
    """

    random = False

    def __init__(self, parts: Sequence[tuple[Prepare, Store | None]]):
        self.parts = list(parts)

    def __call__(
        self, rows: Tensor, gathered: Any, training: bool = False, generator: torch.Generator | None = None
    ) -> Batch:
        batches = [
            prepare(rows, gathered if store is None else store.gather(rows.to(store.device)), training, generator)
            for prepare, store in self.parts
        ]
        return Batch(Several(batches), batches[0].target, batches[0].rows)


class ViewPreparer(Preparer):
    """Prepares one view of each sample, whether in training or not.

    Args:
        fields, inputs, target, device: as for `Preparer`.
        tta: which views, their number known.
        number: of the view, from 0.
        parts: what this view is of, of values that are longer than a model sees at once.
    """

    def __init__(
        self, fields: Mapping[str, Field], inputs: Sequence[str], target: str | None, device: torch.device, tta: TTA,
        number: int, parts: Store | None = None,
    ):  # fmt: skip
        seen = {name: fields[name] for name in inputs}
        super().__init__({**fields, **tta.fields(seen, number)}, inputs, target, device)
        self.tta, self.number, self.parts = tta, number, parts
        self._generator = torch.Generator(device)

    def __call__(
        self, rows: Tensor, gathered: Gathered, training: bool = False, generator: torch.Generator | None = None
    ) -> Batch:
        if self.parts is not None:
            gathered = {**gathered, **self.parts.gather(rows.to(self.parts.device))}
        if self.tta.name is not None or self.number == 0:
            return super().__call__(rows, gathered)
        seed = mix(self.tta.seed, "view", self.number, int(rows[0]))  # the same whatever was measured before
        return super().__call__(rows, gathered, True, self._generator.manual_seed(seed))


def views_of_parts(
    dataset: Dataset, rows: np.ndarray, tta: TTA, options: EncodeOptions | None = None, reporter: Reporter = QUIET
) -> list[Store | None] | None:
    """For each view a store of the inputs of which some row has parts; None where no row has. Rows that cannot be read
    are not looked at.

    Args:
        dataset: as a predictor reads it, its fields fitted.
        rows: that can be read, int64.
    """
    fields = {name: dataset.fields[name] for name in dataset.inputs if name != PRESENT}
    cut: dict[str, dict[int, list[Any]]] = {}
    for row in rows.tolist() if tta.name is None else ():
        for name, field in fields.items():
            parts = field.parts_of(dataset.columns[name][row], tta.count)
            if len(parts) > 1:
                cut.setdefault(name, {})[row] = parts
    if not cut:
        return None
    stores: list[Store | None] = [None]
    for number in range(1, tta.count):
        view = copy.copy(dataset)
        view.inputs, view.target, view.fields = [*cut], None, {name: fields[name] for name in cut}
        view.columns = {
            name: [of_row[i][number] if i in of_row else value for i, value in enumerate(dataset.columns[name])]
            for name, of_row in cut.items()
        }
        stores.append(encode(view, options, reporter))
    return stores
