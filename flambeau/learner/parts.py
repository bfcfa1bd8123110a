"""What a Learner is given by argument, written into its recipe; parts that only Python can make are named there."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from torch import nn

from flambeau.core import plugins
from flambeau.core.errors import UsageError, shown
from flambeau.core.reporter import Reporter
from flambeau.data.dataset import Dataset
from flambeau.fields import Field
from flambeau.objectives import OBJECTIVES
from flambeau.objectives.tasks import task_of
from flambeau.recipe import ObjectiveChoice, Recipe
from flambeau.techniques import TECHNIQUES, Technique, keyed

OF_PICTURES = ("size", "colour")


class Beside(TypedDict, total=False):
    """What a Learner takes beside a recipe; see there."""

    run: str | Path | bool | None
    size: int | Sequence[int] | None
    colour: str | None
    tokens: str | None
    cache: str | Path | None
    cache_limit: int | None
    threads: int | None
    quiet: bool
    reporter: Reporter | None


def write(
    recipe: Recipe, model: Any, loss: Any, metrics: Sequence[Any], objective: Any, augment: Any, techniques: Any
) -> None:
    """What has a name, into the recipe.

    Raises:
        UsageError: the augmentation is none.
    """
    for name, part, wanted in (("model", model, "a name or an nn.Module"), ("loss", loss, "a name or a function")):
        if inspect.isclass(part):
            raise UsageError(f"{name}={part.__name__} is a class", expected=wanted, fix=f"give {part.__name__}(…)")
    if model is not None and not isinstance(model, (str, nn.Module)):
        raise UsageError(f"model={shown(model)} does not fit", expected="a name or an nn.Module")
    if loss is not None and not isinstance(loss, str | Mapping) and not callable(loss):
        expected = "a name, {name: …, option: …}, or a function (output, target)"
        raise UsageError(f"loss={shown(loss)} does not fit", expected=expected)
    if isinstance(model, str):
        recipe.model = recipe.model.model_copy(update={"name": model})
    if isinstance(loss, str | Mapping):
        recipe.objective = recipe.objective.model_copy(update={"loss": loss})
    if by_name := [metric for metric in metrics if isinstance(metric, str | Mapping)]:
        recipe.objective = recipe.objective.model_copy(update={"metrics": by_name})
    if isinstance(objective, (str, Mapping)):
        named = {"name": objective} if isinstance(objective, str) else dict(objective)
        recipe.objective = Recipe.from_dict({"objective": recipe.objective.model_dump() | named}).objective
    if augment is not None and not isinstance(augment, (str, Mapping)):
        raise UsageError(f"augment={shown(augment)} does not fit", expected="auto, none, light, strong or settings")
    if augment is not None:
        recipe.augment = augment if isinstance(augment, str) else dict(augment)
    if techniques is not None:
        recipe.techniques = keyed(techniques)


def write_fields(recipe: Recipe, data: Dataset) -> None:
    """Where the data is from and its fields, changed by what the recipe says of them."""
    recipe.data = data.source
    objective = recipe.objective
    reads = OBJECTIVES[objective.name].reads if objective.name in OBJECTIVES else {}
    kept = {n: f.chosen() for n, f in data.fields.items()}
    for name in data.inputs:
        if (kind := reads.get(kept[name]["kind"])) is not None:
            kept[name] = {"kind": kind}
            data.reasons = {**data.reasons, name: f"{kind}: {objective.name} learns what it is like"}
    for name, given in recipe.fields.items():
        same = name in kept and given.get("kind", kept[name]["kind"]) == kept[name]["kind"]
        kept[name] = {**kept[name], **given} if same else given
    recipe.fields = kept


def write_objective(recipe: Recipe, data: Dataset) -> None:
    """The way of training that the target wants, or an input that is alone, where none was named."""
    if recipe.objective.name != ObjectiveChoice().name:
        return
    if data.target is not None:
        recipe.objective.name = task_of(Field.from_dict(recipe.fields[data.target])).objective
    elif len(data.inputs) == 1:
        recipe.objective.name = data.fields[data.inputs[0]].alone or recipe.objective.name


def write_all(recipe: Recipe, data: Dataset | None, settings: Mapping[str, Any]) -> None:
    """Settings of all columns of a kind: the size of pictures, what texts are cut into; None leaves one as it is.

    Raises:
        UsageError: there are no such columns, or a setting does not fit.
    """
    for setting, value in settings.items():
        if value is None:
            continue
        fields = {name: Field.from_dict(given) for name, given in recipe.fields.items()} if data else {}
        holders = {n: f for n, f in fields.items() if setting in f.settings and (f.leads or setting not in OF_PICTURES)}
        if not holders:
            what = f"pictures to set a {setting} for" if setting in OF_PICTURES else f"texts to set {setting} for"
            raise UsageError(f"the data has no {what}")
        for name, field in holders.items():
            checked = Field.from_dict({"kind": field.kind, setting: value})
            recipe.fields[name] = {**recipe.fields[name], setting: checked.chosen()[setting]}


def write_own(recipe: Recipe, own: Mapping[str, Any], techniques: Sequence[Technique]) -> None:
    """The names of parts of the user's own; a recipe can do no more than name them."""
    recipe.own_parts = {name: _qualified(part) for name, part in own.items() if part is not None}
    recipe.plugins = plugins.names()
    custom = [t for t in techniques if t.name not in TECHNIQUES]
    if custom:
        recipe.own_parts["techniques"] = ", ".join(_qualified(t) for t in custom)


def dataset_of(recipe: Recipe) -> Dataset:
    """The data that a recipe describes, with its fields.

    Raises:
        UsageError: the training had parts of the user's own, which a recipe can only name.
    """
    plugins.need(recipe.plugins, recipe.data.get("path"))
    if recipe.own_parts:
        named = ", ".join(f"{k} {v}" for k, v in recipe.own_parts.items())
        raise UsageError(
            f"this training has parts of your own ({named})",
            fix="make the same Learner in Python and call fit(resume=True)",
        )
    data = Dataset.from_source({k: v for k, v in recipe.data.items() if k != "fingerprint"})
    for name, given in recipe.fields.items():
        if name in data.fields and given.get("kind"):
            data.fields[name] = Field.from_dict(given)
    return data


def _qualified(part: Any) -> str:
    kind = part if isinstance(part, type) or hasattr(part, "__qualname__") else type(part)
    return f"{kind.__module__}.{kind.__qualname__}"
