"""Who takes part in a tournament: the simple models and the networks that are usual for the data, and the folds that
they are judged on."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np

from flambeau.core.errors import FlambeauError
from flambeau.data.dataset import Dataset
from flambeau.data.grouping import PRESENT
from flambeau.data.split import NEAR, TRAIN, UNUSED, VALID, Split
from flambeau.fields import Views
from flambeau.learner import Learner, choices
from flambeau.learner.feeds import FieldFeed
from flambeau.learner.plan import given
from flambeau.models import InputSpec, auto
from flambeau.models.spec import OWN
from flambeau.objectives.tasks import task_of
from flambeau.recipe import Recipe
from flambeau.techniques import name_of

NETWORK, FROZEN = "network", "frozen"
USUAL = {"number", "category", "date", "text", "audio", "history", "image"}
"""Kinds of inputs on which simple models are strong, and cheap beside a network."""
MOST_PICTURES = 5_000
"""Of more of them a network is taken to be the better one."""
FOLDS, FEW = 4, 500
"""How many folds there are, and the most rows that are dealt into them."""
MOST_PIXELS = 8_000_000
"""Of all pictures, that are trained on in folds."""


class Entrant(NamedTuple):
    """A simple model that takes part.

    Attributes:
        model: its name in the catalogue.
        inputs: the columns that it reads, where the data has several inputs and it reads one; else none.
    """

    model: str
    inputs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What it is called."""
        many = len(self.inputs)
        return f"{self.model} of {many} columns" if many > 1 else " of ".join((self.model, *self.inputs))

    def of(self, data: Dataset) -> Dataset:
        """The data as it reads it."""
        return data.narrowed(self.inputs) if self.inputs else data


class Entrants(NamedTuple):
    """Who takes part.

    Attributes:
        simple: the simple models that stand beside the network by their folders, the cheapest first.
        networks: the networks by their folders, the usual one first: what each sets otherwise in the recipe.
        folds: the data once for each fold, where they are judged on folds.
        why: where there are none: why.
    """

    simple: dict[str, Entrant]
    networks: dict[str, dict[str, Any]]
    folds: list[Dataset]
    why: str = ""

    @classmethod
    def none(cls, why: str) -> Entrants:
        """Nobody."""
        return cls({}, {}, [], why)


def entrants(learner: Learner) -> Entrants:
    """Who takes part beside the network that a learner would train."""
    recipe, data = learner.recipe, learner.data
    if data is None or recipe.own_parts or recipe.objective.name != "supervised" or data.target is None:
        return Entrants.none("it is of labelled data with fields, learned without parts of your own")
    if recipe.model.name != "auto":
        return Entrants.none(f"the model {recipe.model.name} is named")
    feed = learner.feed.unfitted()
    assert isinstance(feed, FieldFeed)
    feed.look(recipe)
    inputs, output = feed.dataset.inputs, task_of(feed.dataset.fields[data.target]).output_spec
    if PRESENT in inputs:
        return Entrants.none("some rows lack one of the inputs, which only a network takes")
    if len(inputs) > 1 and all(feed.dataset.fields[name].kind == "text" for name in inputs):
        return Entrants.none("texts are compared, and one of them alone says little")
    simple, large = dict[str, Entrant](), False
    for number, name in enumerate(inputs):
        field = feed.dataset.fields[name]
        spec = InputSpec.of([field])
        columns = tuple(field.gathers or [name]) if len(inputs) > 1 else ()
        for model in auto.fitted(spec, field.kind, output):
            simple[f"{model}.{number}" if columns else model] = Entrant(model, columns)
        large |= spec.form.pictures and len(data) * int(np.prod(spec.size)) > MOST_PIXELS
    if not simple:
        return Entrants.none("no simple model takes such an input and gives such an answer")
    folds = [] if large else dealt(data)
    if not folds and not (data.split == VALID).any():
        found = "there are no validation rows to judge by, and these rows are too many, or too large, for folds"
        return Entrants.none(found)
    return Entrants(simple, _networks(recipe, feed.dataset), folds)


def _networks(recipe: Recipe, data: Dataset) -> dict[str, dict[str, Any]]:
    """What the networks set otherwise, by their folders; the usual one alone where no validation rows tell them apart
    on the way, or the inputs are joined."""
    found: dict[str, dict[str, Any]] = {NETWORK: {}}
    if len(data.inputs) > 1 or not (data.split == VALID).any():
        return found
    field = data.fields[data.inputs[0]]
    if recipe.model.pretrained:
        if field.kind == "image" and not any(name_of(key) == "freeze" for key in recipe.techniques):
            found[FROZEN] = {"techniques": {**recipe.techniques, "freeze": {}}}
        return found
    spec, output = InputSpec.of([field]), task_of(data.fields[data.target or ""]).output_spec
    usual, _ = auto.choose(spec, int((data.split == TRAIN).sum()), None, field.kind, output)
    for name in auto.BESIDE.get(usual, ()):
        if name in OWN.suited(spec.kind, output):
            found[name] = {"model.name": name}
    return found


def dealt(data: Dataset) -> list[Dataset]:
    """The data once for each fold of the rows that train and validate, where these are few: the fold is its test then,
    and of the others as large a share validates as before. None of many rows, and of rows that hang
    together in time or by groups."""
    said = data.source.get("split") or {}
    rows = np.flatnonzero(np.isin(data.split, (TRAIN, VALID)))
    hang = said.get("by") or said.get("method") == "time" or data.made is not None or "made" in data.source
    if hang or any(isinstance(data.columns[name], Views) for name in data.inputs):
        return []
    if not 2 * FOLDS <= len(rows) <= FEW:
        return []
    firsts = data.firsts_alike if data.together == NEAR else data.firsts_seen[0]
    _, index, inverse = np.unique(firsts[rows], return_index=True, return_inverse=True)
    keys = [(data.keys or range(len(data)))[row] for row in rows.tolist()]
    one_class = data.target is not None and data.fields[data.target].one_class
    labels = [data.columns[data.target or ""][row] for row in rows.tolist()] if one_class else None
    share = float((data.split[rows] == VALID).mean())
    found = []
    for number in range(FOLDS):
        split = Split("auto", share, folds=FOLDS, fold=number)
        fold = copy.copy(data)
        fold.split = np.full(len(data), UNUSED, np.int8)
        fold.split[rows] = split.with_copies(split.assign(keys, labels), index[inverse], labels)
        found.append(fold)
    return found


def is_usual(learner: Learner) -> bool:
    """Whether a tournament is what a learner's settings mean where nothing is said of a model: the data is of a kind
    that simple models are strong on, rivals are wanted, and nothing that is asked for is of a network's steps."""
    recipe, data = learner.recipe, learner.data
    if data is None or not recipe.baseline or recipe.own_parts:
        return False
    kinds = {data.fields[name].kind for name in data.inputs}
    if not kinds <= USUAL or ("image" in kinds and len(data) > MOST_PICTURES):
        return False
    try:
        choices.check_fitted(recipe, given(recipe).keys())
        return bool(entrants(learner).simple)
    except FlambeauError:  # a training tells what is wrong, in its own order
        return False
