"""Assembly: fields suited to the weights that a recipe asks for, and the model that it names, made to fit the data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from torch import Tensor, nn

from flambeau.core.errors import UsageError, shown
from flambeau.core.registry import in_words
from flambeau.core.reporter import Reporter
from flambeau.data.dataset import Dataset
from flambeau.data.grouping import PRESENT, optional
from flambeau.fields import Image, Table, Text, Tokens
from flambeau.fields.language.tokenizers import HF, WORDS
from flambeau.learner import mismatches
from flambeau.models import (
    FUSION,
    OWN,
    Built,
    InputSpec,
    OutputSpec,
    auto,
    build,
    fuse,
    is_pair,
    is_vectors,
    max_positions,
    recommended_size,
    starts_pretrained,
    takes_waves,
)
from flambeau.objectives import OBJECTIVES, Context, Objective, defaults, losses, made
from flambeau.objectives.names import METRICS
from flambeau.objectives.tasks import task_of
from flambeau.recipe import ModelChoice, Recipe

MELS_PRETRAINED = 128
CUTTING = ("tokens", "lower", "max_vocabulary", "min_count", "characters")  # settings that a vocabulary depends on
CHARACTERS = 2048  # of a text, for a model that looks at words and characters
PIECES = (1_500, 30_000)  # of words, for a model that compares texts: at least and at most
ROWS_A_PIECE = 4


def suit_model(recipe: Recipe, inputs: Sequence[str], rows: int, reasons: list[str], reporter: Reporter) -> None:
    """Pictures in the size, texts in the tokens, that the pretrained weights were trained with; sounds and texts as the
    model takes them: into the recipe's fields. For texts alone the model is chosen here.

    Args:
        inputs: names of the input fields; none where the model is the user's own.
        rows: how many the data has.
    """
    named = bool(inputs)
    _suit_texts(recipe, inputs, rows, reasons, reporter)
    several = recipe.model.options.get("encoders") or {}
    if not isinstance(several, Mapping) or not all(isinstance(own, Mapping) for own in several.values()):
        raise UsageError(
            f"encoders={shown(several)} does not fit", expected="settings by input, such as {photo: {name: lenet}}"
        )
    for name, field in recipe.fields.items():
        own = {k: v for k, v in several.get(name, {}).items() if k in ("name", "pretrained")}
        choice = ModelChoice(**own) if several else recipe.model
        kind = field.get("kind")
        if named and kind in ("text", "tokens") and choice.name.startswith(HF):
            _suit_tokens(choice.name, name, field, reasons)
        elif named and kind in ("text", "tokens") and is_vectors(choice.pretrained):
            _check_words(name, str(field.get("tokens")))
        size = recommended_size(choice.name, choice.pretrained) if named else None
        if size is not None and kind == "image" and field.get("size") is None:
            field["size"] = [size, size]
            reasons.append(f"size {size} of {name}: that of the pretrained weights")
        if kind == "audio" and field.get("features") is None:
            waves = named and takes_waves(choice.name)
            field["features"] = "wave" if waves else "log-mel"
            reasons.append(f"features {field['features']} of {name}: what the model takes")
        if size is not None and kind == "audio" and field.get("mels") is None:
            field["mels"] = MELS_PRETRAINED
            reasons.append(f"mels {MELS_PRETRAINED} of {name}: as fine as the pretrained weights know pictures")


def _may_compare(recipe: Recipe, inputs: Sequence[str]) -> bool:
    """Whether two texts are cut in the same way, and nothing was said of encoders for each."""
    cut = [{name: recipe.fields[n].get(name) for name in CUTTING} for n in inputs]
    return cut[0] == cut[1] and not {"encoders", "fusion"} & set(recipe.model.options)


def alike(recipe: Recipe, inputs: Sequence[str]) -> Sequence[str]:
    """The inputs that must have one vocabulary: two texts of which the model asks which words both have."""
    two = is_pair([recipe.fields.get(name, {}).get("kind") for name in inputs])
    return inputs if two and _compares(recipe.model) else ()


def _compares(choice: ModelChoice) -> bool:
    """Whether a model of ours takes two texts."""
    return "texts" in OWN.kinds.get(choice.name, ())


def _suit_texts(recipe: Recipe, inputs: Sequence[str], rows: int, reasons: list[str], reporter: Reporter) -> None:
    """The model of one text or of two, where none is named, and the tokens that it wants: how texts are cut depends on
    the model."""
    kinds = [recipe.fields.get(name, {}).get("kind") for name in inputs]
    two = is_pair(kinds) and _may_compare(recipe, inputs)
    if recipe.model.name == "auto" and (two or kinds == ["text"]):
        _choose(recipe, InputSpec("texts", (1, 1)) if two else InputSpec("text", (1,)), 0, "text", reasons, reporter)
    fields = [recipe.fields[name] for name in inputs]
    if recipe.model.name == "ngrams" and kinds == ["text"]:
        (field,) = fields
        if field.get("tokens", "auto") in ("auto", *WORDS) and field.get("characters") is None:
            field["characters"] = CHARACTERS
            reasons.append(f"characters {CHARACTERS} of {inputs[0]}: ngrams looks at words and characters")
    undecided = all(field.get("tokens") == "auto" for field in fields)
    if two and recipe.model.name == "pair" and undecided and not recipe.model.pretrained and find_spec("tokenizers"):
        pieces = max(PIECES[0], min(PIECES[1], rows // ROWS_A_PIECE))
        for field in fields:
            field.update(tokens="bpe", max_vocabulary=min(pieces, field["max_vocabulary"]))
        reasons.append(f"tokens: {pieces:,} pieces of words, for two texts may share a name that is new")


def _suit_tokens(model: str, name: str, field: dict[str, Any], reasons: list[str]) -> None:
    positions = max_positions(model)
    if field.get("tokens") == "auto":
        field["tokens"] = model
        reasons.append(f"tokens of {name}: those of {model}")
    elif not str(field.get("tokens")).startswith(HF):
        raise UsageError(
            f"{model} reads the pieces of its own tokeniser, and {name} is cut into {field['tokens']}",
            fix=f"leave fields.{name}.tokens out, or choose another model",
        )
    if positions is not None and field.get("max_length", positions + 1) > positions:
        field["max_length"] = positions
        reasons.append(f"max_length {positions} of {name}: the most that {model} can take")


def _check_words(name: str, tokens: str) -> None:
    """Raises UsageError where word vectors are given for tokens that are pieces of words."""
    if tokens == "bpe" or tokens.startswith(HF):
        raise UsageError(
            f"word vectors need tokens that are words, and {name} is cut into {tokens}",
            fix=f"use --set fields.{name}.tokens=words",
        )


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
    for option, value in (defaults(choice.name) | choice.options).items():
        setattr(choice, option, value)  # the recipe has it in words
    built = made(choice.name, context, choice.options)
    reasons.append(f"objective: {built.describe()}")
    if choice.metric == "auto" and target is not None and "target" in takes:
        reasons.append(f"metric {built.monitor}: {built.task.why}")
    if choice.loss != "auto":
        choice.loss = in_words(losses.LOSSES, choice.loss, losses.AFTER)
    choice.metrics = [in_words(METRICS, metric, 1) for metric in choice.metrics]
    if data is not None:
        choice.metric = built.monitor
    return built


def named_model(
    recipe: Recipe, data: Dataset, output: int | OutputSpec, num_train: int, reasons: list[str], reporter: Reporter
) -> Built:
    """The model that a recipe names, or one chosen for the data; the recipe gets what was chosen."""
    fields = [data.fields[name] for name in data.inputs if name != PRESENT]
    field = fields[0]
    reads_both = recipe.model.name.startswith(HF) or _compares(recipe.model)
    if len(fields) > 1 and not (reads_both and is_pair([f.kind for f in fields])):
        return _fused_model(recipe, data, output, num_train, reasons, reporter)
    spec = InputSpec.of(fields)
    if recipe.model.name == "auto":
        _choose(recipe, spec, num_train, field.kind, reasons, reporter, OutputSpec.of(output))
    choice = recipe.model
    pretrained = starts_pretrained(choice.name, choice.pretrained)
    vocabulary = field.vocabulary if isinstance(field, (Text, Tokens)) else ()
    # a configuration kept from an earlier build stands for the source of the weights, which are wanted here
    options = {k: v for k, v in choice.options.items() if k != "config" or not pretrained}
    if spec.kind == "texts":
        _suit_pair(choice.name, data, options)
    built = build(choice.name, spec, output, pretrained=choice.pretrained, vocabulary=vocabulary, **options)
    choice.options |= built.options
    for note in built.notes:
        reasons.append(note)
        reporter.say(note)
    if built.wanted is not None and isinstance(field, Image):
        wanted = built.wanted.for_channels(field.channels)
        field.mean, field.std = list(wanted.mean), list(wanted.std)
        reasons.append("normalisation: that of the pretrained weights")
    if pretrained:
        # a random head would send noise through the weights that are worth keeping; from zero it sends none
        for parameter in built.head_parameters():
            nn.init.zeros_(parameter)
    return built


def _suit_pair(name: str, data: Dataset, options: dict[str, Any]) -> None:
    """How a pretrained model's tokeniser puts two texts together, into the options; other models need one vocabulary.

    Raises:
        UsageError: the texts are cut in different ways.
    """
    first, second = (field for field in (data.fields[n] for n in data.inputs) if isinstance(field, Text))
    if (first.vocabulary, first.tokenizer) != (second.vocabulary, second.tokenizer):
        raise UsageError(
            f"{name} compares words, and {' and '.join(n for n in data.inputs if n != PRESENT)} are cut differently",
            fix=f"give both the same settings, or use the model {FUSION}",
        )
    if name.startswith(HF) and first.joint is not None:
        options.setdefault("joint", first.joint)


def _choose(
    recipe: Recipe,
    spec: InputSpec,
    num_train: int,
    kind: str,
    reasons: list[str],
    reporter: Reporter,
    output: OutputSpec | None = None,
) -> None:
    name, why = auto.choose(spec, num_train, recipe.model.pretrained, kind, output)
    recipe.model = recipe.model.model_copy(update={"name": name})
    reasons.append(f"model {why}")
    reporter.say(reasons[-1])


def _fused_model(
    recipe: Recipe, data: Dataset, output: int | OutputSpec, num_train: int, reasons: list[str], reporter: Reporter
) -> Built:
    """An encoder for each of several inputs."""
    choice, names = recipe.model, [n for n in data.inputs if n != PRESENT]
    if choice.name not in ("auto", FUSION):
        tables = {n: f" ({', '.join(f.columns)})" for n, f in data.fields.items() if isinstance(f, Table)}
        raise UsageError(
            f"{choice.name} takes {'two texts' if _compares(choice) else 'one input'}; the data has {len(names)}: "
            f"{', '.join(n + tables.get(n, '') for n in names)}",
            fix=f"choose one with inputs=, or set model.options.encoders.{names[0]}.name={choice.name}",
        )
    if choice.pretrained:
        raise UsageError(
            f"pretrained={shown(choice.pretrained)} is for one model, and each of the {len(names)} inputs has its own",
            fix=f"set model.options.encoders.{names[0]}.pretrained={choice.pretrained}",
        )
    specs = {n: InputSpec(data.fields[n].input_kind, data.fields[n].input_shape) for n in names}
    vocabularies = {n: f.vocabulary for n, f in data.fields.items() if isinstance(f, Text)}
    others = optional(data.inputs, data.fields) if PRESENT in data.inputs else ()
    built, encoders, wanted_by = fuse(specs, output, num_samples=num_train, vocabularies=vocabularies,
                           optional=others, present=PRESENT, **choice.options)  # fmt: skip
    for name, recommended in wanted_by.items():
        field = data.fields[name]
        if recommended is not None and isinstance(field, Image):
            wanted = recommended.for_channels(field.channels)
            field.mean, field.std = list(wanted.mean), list(wanted.std)
    told = ", ".join(f"{n} by {c['name']}" for n, c in encoders.items())
    reasons.append(f"model {FUSION}: an encoder for each input: {told}")
    reporter.say(reasons[-1])
    recipe.model = choice.model_copy(update={"name": FUSION, "options": {**choice.options, "encoders": encoders}})
    return built
