"""Assembly: the objective and the model that a planned recipe names, made to fit the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.core.registry import in_words
from flambeau.core.reporter import Reporter
from flambeau.data.dataset import Dataset
from flambeau.data.grouping import PRESENT, optional
from flambeau.fields import Field
from flambeau.learner import mismatches
from flambeau.models import (
    FUSION,
    Built,
    InputSpec,
    OutputSpec,
    Recommended,
    auto,
    build,
    compares,
    fuse,
    starts_pretrained,
    takes_several,
)
from flambeau.objectives import OBJECTIVES, Context, Objective, losses, made
from flambeau.objectives.names import METRICS
from flambeau.objectives.tasks import task_of
from flambeau.recipe import Recipe


def summary_of(model: nn.Module, data: Dataset | None) -> Any:
    """Layers, shapes, parameters, FLOPs and memory of a model of some data.

    Raises:
        UsageError: the data has several inputs that are not one.
    """
    from flambeau.models import summary

    fields = [data.fields[name] for name in data.inputs if name != PRESENT] if data else []
    if len(fields) != 1 and not InputSpec.together([field.input_kind for field in fields]):
        raise UsageError("a summary needs data with one input field, or with two texts")
    return summary(model, InputSpec.of(fields))


def objective(
    recipe: Recipe, data: Dataset | None, num_train: int, reasons: list[str], reporter: Reporter, *,
    model: nn.Module | None, loss: Callable[..., Tensor] | None, metrics: Sequence[Any],
) -> Objective:  # fmt: skip
    """The objective that a recipe names; the recipe gets the metric that models are chosen by.

    Args:
        model, loss, metrics: a user's own, where there are any.

    Raises:
        UsageError, ModelError: it does not go with the data or the model.
    """
    choice, takes = recipe.objective, OBJECTIVES[recipe.objective.name].takes
    target = data.fields[data.target] if data is not None and data.target else None
    if model is not None:
        mismatches.check_model(model)
        if "model" not in takes:
            raise UsageError(f"the objective {choice.name} has a model of its own", fix="leave model= out")
    elif data is None:
        raise UsageError("your own data needs a model of your own", fix="give model=, an nn.Module")
    elif target is None and "target" in takes:
        raise UsageError("the data has no target", fix="give target=, or an objective that needs none")

    def build_model(output: int | OutputSpec | None = None) -> nn.Module | Built:
        if model is not None:
            return model
        assert data is not None
        return named_model(recipe, data, output or task_of(target).output_spec, num_train, reasons, reporter)

    fields, inputs = (data.fields, data.inputs) if data is not None else ({}, [])
    context = Context(
        fields,
        inputs,
        target,
        build_model,
        choice.loss if loss is None else loss,
        choice.metric,
        [*choice.metrics, *metrics],
    )
    built = made(choice.name, context, choice.options)
    built.group_patterns = recipe.model.groups
    reasons.append(f"objective: {built.describe()}")
    if choice.loss != "auto":
        choice.loss = in_words(losses.LOSSES, choice.loss, losses.AFTER)
    choice.metrics = [in_words(METRICS, metric, 1) for metric in choice.metrics]
    if data is not None:
        choice.metric = built.monitor
    return built


def named_model(
    recipe: Recipe, data: Dataset, output: int | OutputSpec, num_train: int, reasons: list[str], reporter: Reporter
) -> Built:
    """The model that a recipe names; one chosen for the data where an objective wants what the plan did not know of."""
    names = [name for name in data.inputs if name != PRESENT]
    fields, choice = [data.fields[name] for name in names], recipe.model
    if len(fields) > 1 and not takes_several(choice.name):
        return _fused_model(recipe, data, output, num_train, reasons, reporter)
    spec = InputSpec.of(fields)
    if choice.name == "auto":
        choice.name, why = auto.choose(spec, num_train, choice.pretrained, fields[0].kind, OutputSpec.of(output))
        reasons.append(f"model {choice.name}, because {why}")
        reporter.say(reasons[-1])
    pretrained = starts_pretrained(choice.name, choice.pretrained)
    # a configuration kept from an earlier build stands for the source of the weights, which are wanted here
    options = {k: v for k, v in choice.options.items() if k != "config" or not pretrained}
    if len({(tuple(field.vocabulary), field.tokenizer) for field in fields}) > 1:
        raise UsageError(
            f"{choice.name} compares words, and {' and '.join(names)} are cut differently",
            fix=f"give both the same settings, or use the model {FUSION}",
        )
    if len(fields) > 1 and not compares(choice.name) and fields[0].joint is not None:
        options.setdefault("joint", fields[0].joint)
    built = build(choice.name, spec, output, pretrained=choice.pretrained, vocabulary=fields[0].vocabulary, **options)
    choice.options |= built.options
    for note in built.notes:
        reasons.append(note)
        reporter.say(note)
    if _standardise(fields[0], built.wanted):
        reasons.append("normalisation: that of the pretrained weights")
    if pretrained and built.from_zero and not OBJECTIVES[recipe.objective.name].whole:
        # a random head would send noise through the weights that are worth keeping; from zero it sends none
        for parameter in built.head_parameters():
            nn.init.zeros_(parameter)
    return built


def _standardise(field: Field, wanted: Recommended | None) -> bool:
    """Prepares a field's values as pretrained weights want them; whether they want it and it can."""
    if wanted is None:
        return False
    wanted = wanted.for_channels(field.input_shape[0])
    return field.standardise_as(wanted.mean, wanted.std)


def _fused_model(
    recipe: Recipe, data: Dataset, output: int | OutputSpec, num_train: int, reasons: list[str], reporter: Reporter
) -> Built:
    """An encoder for each of several inputs."""
    choice, fields = recipe.model, {n: data.fields[n] for n in data.inputs if n != PRESENT}
    built, encoders, wanted = fuse(
        {name: InputSpec.of([field]) for name, field in fields.items()},
        output,
        num_samples=num_train,
        vocabularies={name: field.vocabulary for name, field in fields.items()},
        optional=optional(data.inputs, data.fields) if PRESENT in data.inputs else (),
        present=PRESENT,
        **choice.options,
    )
    for name, recommended in wanted.items():
        _standardise(fields[name], recommended)
    told = ", ".join(f"{n} by {c['name']}" for n, c in encoders.items())
    reporter.say(f"model {FUSION}: an encoder for each input: {told}")
    recipe.model = choice.model_copy(update={"name": FUSION, "options": {**choice.options, "encoders": encoders}})
    return built
