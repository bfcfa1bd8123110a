"""What a pretrained network gives before anything is trained: a linear model of it is a rival of its fine-tuning
(Kornblith, Shlens & Le 2019, "Do better ImageNet models transfer better?", arXiv:1805.08974)."""

from __future__ import annotations

import functools

import numpy as np
import torch

from flambeau.baselines.rows import Features, Rows
from flambeau.core.errors import FlambeauError
from flambeau.core.randomness import isolated
from flambeau.core.reporter import QUIET
from flambeau.learner import assembly
from flambeau.learner.feeds import FieldFeed
from flambeau.objectives import Objective
from flambeau.predictor.embedding import embed
from flambeau.recipe import Recipe
from flambeau.techniques import name_of
from flambeau.training.engine import Engine


def features_of(feed: FieldFeed, recipe: Recipe, engine: Engine) -> Features | None:
    """What goes into the head of the network that a recipe's training of pictures began with, float32 (B, F); None
    where it began with no pretrained weights, where these stayed as they were, or nothing goes into a head."""
    alone = [feed.dataset.fields[name].kind for name in feed.dataset.inputs] == ["image"]
    frozen = any(name_of(key) == "freeze" for key in recipe.techniques)
    if not recipe.model.pretrained or recipe.own_parts or not alone or frozen:
        return None

    @functools.cache
    def began() -> Objective:
        own = recipe.model_copy(deep=True)
        with isolated(0):
            objective = assembly.objective(own, feed.dataset, len(feed.rows["train"]), [], QUIET,
                                           model=None, loss=None, metrics=())  # fmt: skip
        engine.place(objective.model)
        return objective

    def features(_: Rows | None, chosen: np.ndarray) -> np.ndarray:
        source = feed.in_order(torch.from_numpy(chosen))
        batches = (feed.prepare(index, gathered, False, None) for index, gathered in source.epoch(0))
        return embed(began(), engine, batches)

    try:
        features(None, feed.rows["train"][:1].cpu().numpy())
    except FlambeauError:
        return None
    return features
