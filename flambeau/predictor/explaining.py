"""Explaining what a Predictor answers: raw value in, what its parts weighed out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from flambeau.core.errors import UsageError
from flambeau.predictor.base import Predictor
from flambeau.understand.explanation import Explaining, Explanation


class PredictorExplaining:
    """Called with a raw value, it explains what a predictor answers.

    Args:
        predictor: of one model.
        method, options: as `Predictor.explain` takes them.
        target: the class that is explained; the likeliest if not given.
        seed: what random methods depend on.

    Raises:
        UsageError: there is no such method, option or class; or it is an ensemble.
    """

    def __init__(
        self, predictor: Predictor, method: str = "auto", target: str | None = None, seed: int = 0, **options: Any
    ):
        if len(predictor.parts) > 1:
            raise UsageError("an ensemble is several models", fix="explain one of its members: RUN/members/0")
        fields = {name: predictor.fields[name] for name in predictor.inputs}
        objective = predictor.objective
        self.explaining = Explaining(objective.task, objective.model, fields, predictor.target or "", method, options)
        if target is not None:
            self.explaining.number_of(target)
        self.predictor, self.target, self.seed = predictor, target, seed

    def __call__(self, value: Any, encoded: Mapping[str, np.ndarray] | None = None) -> Explanation:
        """Of one raw value.

        Args:
            encoded: its columns, where they are there already.

        Raises:
            DataError: it cannot be read. UsageError: the method has no meaning for the model.
        """
        predictor = self.predictor
        with torch.inference_mode(False):
            gathered = predictor.gather([predictor.encode(value) if encoded is None else encoded])
            batch = predictor.prepare(torch.arange(1), gathered)
        prediction = predictor.decode(predictor.forward(batch)[0], 0.0, value)
        return self.explaining(batch, predictor.by_input(value), prediction, self.target, self.seed)
