"""What may be given to a Learner by name beside its own arguments, for type checkers and editors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import nn

from flambeau.core.registry import Asked
from flambeau.learner.parts import Beside
from flambeau.objectives import Objective
from flambeau.recipe import Recipe
from flambeau.techniques import Technique


class Given(TypedDict, total=False):
    """Settings of a recipe: those of a training (see `flambeau.training.settings.Settings`), and a few more. A setting
    of a part is said by its whole name: `recipe.with_settings({"model.options.width": 4})`."""

    epochs: int | None
    batch_size: int | str | None
    largest_batch: bool
    max_tokens: int | None
    accumulate: int
    optimizer: str | Callable[..., torch.optim.Optimizer]
    optimizer_options: Mapping[str, Any]
    learning_rate: float | str | None
    backbone_lr_scale: float | None
    weight_decay: float | None
    schedule: str | Mapping[str, Any] | Callable[..., Any]
    warmup: float
    precision: str
    channels_last: bool | None
    compile: bool
    device: str
    seed: int
    keep: str
    checkpoint_minutes: float
    sampler: str | Mapping[str, Any] | None
    loggers: Sequence[Asked]
    frozen_views: int
    watch: str | Sequence[str]
    monitors: bool
    log_every: int
    phases: Mapping[str, Mapping[str, Any]]
    every: int
    then: Mapping[str, Any]
    # of the recipe's other sections
    pretrained: bool | str | Path | None
    options: Mapping[str, Any]
    groups: Sequence[str]
    metric: str
    baseline: bool | float
    fields: Mapping[str, Mapping[str, Any]]


class OfLearner(Beside, Given, total=False):
    """All that a Learner takes behind its data."""

    model: str | nn.Module | None
    loss: Asked | Callable[..., torch.Tensor] | None
    metrics: Sequence[Any]
    objective: str | Mapping[str, Any] | Objective | None
    augment: str | Mapping[str, Any] | Callable[..., Any] | Sequence[Callable[..., Any]] | None
    techniques: str | Sequence[str | Technique | Mapping[str, Any]] | Mapping[str, Any] | None
    recipe: Recipe | None
