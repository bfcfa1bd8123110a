"""Where a model looked as it answered wrong: class activation maps for the report; one forward and backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from flambeau.core.errors import UsageError
from flambeau.data.batch import Batch
from flambeau.data.dataset import Dataset
from flambeau.data.store.store import collate
from flambeau.fields.heat import as_img
from flambeau.objectives import Objective
from flambeau.objectives.averaged import Averaged
from flambeau.objectives.prediction import Prediction
from flambeau.understand.explanation import Explaining

SIDE = 160  # pixels, as the pictures of a report


def heat_of_mistakes(
    objective: Objective, dataset: Dataset, mistakes: Sequence[dict[str, Any]], device: torch.device
) -> list[str]:
    """Of each mistake what spoke for what was predicted, as an <img>; empty where no layer of the model has places."""
    target = dataset.target or ""
    if (
        not (mistakes and dataset.target)
        or len(dataset.inputs) != 1
        or isinstance(objective, Averaged)
        or not dataset.fields[target].classes
    ):
        return []
    name = dataset.inputs[0]
    field, drawn = dataset.fields[name], []
    try:
        explaining = Explaining(objective.task, objective.model, {name: field}, target, "grad_cam")
        for mistake in mistakes:
            value = dataset.columns[name][mistake["row"]]
            with torch.inference_mode(False):
                gathered = collate([field.encode(value)], field.encoding).to(device)
                batch = Batch(field.prepare(gathered), None, torch.arange(1))
            said = Prediction(mistake["predicted"])
            picture = explaining(batch, {name: value}, said, mistake["predicted"]).heat.picture
            if picture is None:
                return []
            picture.thumbnail((SIDE, SIDE))
            drawn.append(as_img(picture, "heat"))
    except (UsageError, RuntimeError):
        # a model may have no such layer, or none that a gradient comes to: a report does not fail for that
        return []
    return drawn
