"""What an evaluation looks at beside its metrics: parts of the rows, and each series of several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.data.dataset import Dataset
from flambeau.data.slicing import slicings
from flambeau.fields import Views
from flambeau.objectives import Objective
from flambeau.objectives.metrics import Metric
from flambeau.objectives.per_series import PerSeries
from flambeau.objectives.slices import BySlice
from flambeau.understand.groups import Groups


def observers(
    objective: Objective, dataset: Dataset, rows: np.ndarray, asked: Sequence[str] = (),
    last: Callable[[], Tensor | None] = lambda: None,
) -> list[Callable[[], Metric]]:  # fmt: skip
    """What to observe of an evaluation; see `Objective.observers`.

    Args:
        rows: those that are measured, int64.
        asked: what they are parted by, see `flambeau.data.slicing`; all that suits if nothing is asked for.
        last: gives the embeddings of the batch that is measured, which rows are grouped by.

    Raises:
        DataError: there is nothing of such a name. UsageError: the target has no measure of single rows.
    """
    task = objective.task
    found: list[Callable[[], Metric]] = []
    if asked and not task.tells_rows:
        if dataset.target is None:
            raise UsageError("without a target no row is right or wrong, so nothing can be sliced",
                             fix="leave slices out; flambeau predict names the oddest rows")  # fmt: skip
        raise UsageError("this target has no measure of single rows, so nothing can be sliced", fix="leave slices out")
    if task.tells_rows:
        parts = slicings(dataset, rows, list(asked) or None)
        found += [partial(BySlice, task, parts)] if parts else []
        found.append(partial(Groups, task, last, dataset, rows, parts))
    target = dataset.columns.get(dataset.target or "")
    if isinstance(target, Views) and len(target.names) > 1:
        found.append(partial(PerSeries, task.field, target, dataset.rows("train")))
    return found
