"""Embeddings: what a model makes of a value before its last layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from flambeau.core.errors import ModelError, UsageError
from flambeau.data.batch import Batch
from flambeau.data.custom import batch_length, to_device
from flambeau.models.weights import find_head
from flambeau.objectives import Objective
from flambeau.objectives.generative import Generative
from flambeau.predictor.generating import codes
from flambeau.training.engine import Engine

if TYPE_CHECKING:
    from flambeau.predictor.base import Predictor


def head_of(objective: Objective) -> nn.Module:
    """The first layer of a model's head, or its last linear or convolution layer where none is known as its head.

    Raises:
        ModelError: it has neither.
    """
    head = {id(parameter) for parameter in objective.head_parameters()}
    for module in objective.model.modules():
        if any(id(parameter) in head for parameter in module.parameters(recurse=False)):
            return module
    if found := find_head(objective.model):
        return objective.model.get_submodule(found[0])
    raise ModelError("the model has no linear or convolution layer, so nothing comes before its last one")


def whole(predictor: Predictor) -> None:
    """Raises UsageError where a predictor's answers are the joint ones of several models or views."""
    if predictor.parts != [predictor] or predictor.views:
        raise UsageError("an ensemble has no one vector for a value", fix="take one of its members, under members/")


def embed(objective: Objective, engine: Engine, batches: Iterable[Batch]) -> np.ndarray:
    """What goes into the head for each sample, float32 (B, F); of feature maps (B, F, H, W) their mean. Of a generative
    model its code.

    Raises:
        UsageError: a generative model gives no codes.
        ModelError: nothing goes there, or something for each token or step.
    """
    if isinstance(objective, Generative):
        return codes(objective, engine, batches)
    seen: list[Tensor] = []
    made: list[np.ndarray] = []

    def catch(module: nn.Module, inputs: Any) -> None:
        seen[:] = [value for value in inputs if isinstance(value, Tensor)][:1]

    handle = head_of(objective).register_forward_pre_hook(catch)
    objective.model.eval()
    try:
        with torch.inference_mode(), engine.autocast():
            for batch in batches:
                seen.clear()
                objective.predict(batch)
                made.append(vectors(seen, len(batch)))
    finally:
        handle.remove()
    return np.concatenate(made) if made else np.zeros((0, 0), np.float32)


def of_values(predictor: Predictor, values: Any, batch_size: int) -> np.ndarray:
    """Those of raw values; see `Predictor.embed`."""
    whole(predictor)
    objective, engine = predictor.objective, predictor.engine
    if not predictor.fields:
        return embed(
            objective, engine, [Batch(to_device(values, engine.device), None, torch.arange(batch_length(values)))]
        )
    listed, many = predictor.listed(values)
    encoded = (encoded for _, encoded in predictor.encoded(listed, many, batch_size))
    vectors = embed(
        objective, engine, (predictor.prepare(torch.arange(len(rows)), predictor.gather(rows)) for rows in encoded)
    )
    return vectors if many else vectors[0]


def vectors(seen: list[Tensor], size: int) -> np.ndarray:
    """One vector for each of `size` samples, float32 (B, F), of what went into a head. Raises ModelError."""
    value = seen[0] if seen else None
    if value is not None and value.ndim == 3:
        raise ModelError(
            f"the model has a vector of {value.shape[2]} numbers for each token or step, and none for a row",
            fix="embed by a run that answers rows, such as a classifier trained with --pretrained RUN",
        )
    if value is None or value.ndim not in (2, 4) or len(value) != size:
        shape = "nothing" if value is None else f"a tensor {tuple(value.shape)}"
        raise ModelError(
            f"what goes into the model's head is {shape}", expected=f"one vector for each of {size} samples"
        )
    return (value if value.ndim == 2 else value.mean((2, 3))).float().cpu().numpy()
