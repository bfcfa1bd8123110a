"""The road from a language model to a classifier (ULMFiT): what a run of a language model decides of a training that
begins with it, and the stage before the first step, in which it goes on with the training rows' texts. A pretrained
model of transformers goes the same way: as a masked language model, where it is an encoder.

The stage is a run in the folder `language` of the run: killed in it, a resume goes on with it.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flambeau.core.errors import RunError, UsageError, shown
from flambeau.core.printable import quoted
from flambeau.data.dataset import Dataset
from flambeau.data.split import NAMES, TRAIN, VALID
from flambeau.fields import Corpus, Text
from flambeau.fields.language.raw_texts import usable
from flambeau.fields.language.tokenizers import HF, corpus_of
from flambeau.learner.feeds import FieldFeed
from flambeau.learner.plan import Decision
from flambeau.models.spec import Adopts
from flambeau.models.text.huggingface import PREFIX, is_masked
from flambeau.models.weights import load_weights, read_weights
from flambeau.objectives import OBJECTIVES
from flambeau.objectives.language import LanguageModel, OfTexts
from flambeau.recipe import Recipe
from flambeau.run import Run
from flambeau.techniques.continued_pretraining import ContinuedPretraining

if TYPE_CHECKING:
    from flambeau.learner.learner import Learner

FOLDER = "language"
CLASSIFIER = "ulmfit"
STAGE = ContinuedPretraining.name
TECHNIQUES: dict[str, dict[str, Any]] = {
    "gradual_unfreezing": {"batch_norm": "train"},
    "discriminative_rates": {"layer_decay": 0.4},
}
"""Taken where none is named: the rates of the paper, 1 / 2.6."""


def language_run(pretrained: Any) -> tuple[Run, Corpus] | None:
    """The run of a language model that weights are to come from, and its tokens; None where they come from elsewhere.

    Raises:
        RunError: its training is unfinished.
    """
    if not isinstance(pretrained, (str, Path)) or not (Path(pretrained) / "recipe.yaml").is_file():
        return None
    run, corpus = Run(pretrained), corpus_of(pretrained)
    if corpus is None:
        return None
    if not run.finished:
        raise RunError("the language model is not trained to its end", where=run.path,
                       fix=f"finish it with: flambeau resume {quoted(run.path)}")  # fmt: skip
    return run, corpus


def write(recipe: Recipe, data: Dataset) -> tuple[Decision, ...]:
    """Writes into a recipe what follows from a language model that it begins with.

    Raises:
        UsageError: the data or the model does not go with it. RunError: its training is unfinished.
    """
    known = language_run(recipe.model.pretrained)
    if known is None:
        if recipe.techniques.get(STAGE, {"epochs": 0}).get("epochs") != 0:
            _check_text(recipe, data, _of_transformers(recipe))
        return ()
    run, corpus = known
    theirs, decided = run.recipe.model, list[Decision]()

    def decide(holder: dict[str, Any], key: str, name: str, value: Any) -> None:
        if holder.get(key) in (None, "auto", {}) or key not in holder:
            holder[key] = value
            decided.append(Decision(name, value, f"that of {run.path}"))

    column = _check_text(recipe, data, str(run.path))
    ours, name = recipe.fields[column], run.recipe.objective.name
    if (asked := ours.get("tokens")) not in (None, "auto") and not asked.startswith(HF):
        raise UsageError(f"{run.path} knows its own tokens, and {column} is cut into {asked}", fix="leave tokens out")
    if data.fields[column].alone == recipe.objective.name and OBJECTIVES[name].reads == LanguageModel.reads:
        recipe.objective.name = name  # of texts alone: the one that goes on
        decided.append(Decision("objective.name", name, f"that of {run.path}"))
    if recipe.objective.name == name:
        choice = vars(recipe.model)
        decide(choice, "name", "model.name", theirs.name)
        if recipe.model.name != theirs.name:
            raise UsageError(f"{run.path} is of the model {theirs.name}, and {recipe.model.name} is asked for",
                             fix="leave the model out")  # fmt: skip
        decide(choice, "options", "model.options", theirs.options)
        decide(ours, "tokens", f"fields.{column}.tokens", f"{HF}{run.path}")
        decide(ours, "context", f"fields.{column}.context", corpus.length)
        return tuple(decided)
    kind = OBJECTIVES[name]
    assert issubclass(kind, OfTexts)
    classifier, options = kind.classifier(theirs.name, theirs.options, corpus.length)
    if recipe.model.name not in ("auto", classifier):
        raise UsageError(f"{run.path} is a language model, and {recipe.model.name} is none",
                         fix=f"leave the model out, which is then {classifier}")  # fmt: skip
    decide(vars(recipe.model), "name", "model.name", classifier)
    for option, value in options.items():
        decide(recipe.model.options, option, f"model.options.{option}", value)
    if classifier == CLASSIFIER:
        decide(ours, "tokens", f"fields.{column}.tokens", f"{HF}{run.path}")
        if set(recipe.techniques) <= {STAGE}:
            recipe.techniques |= {name: dict(settings) for name, settings in TECHNIQUES.items()}
    recipe.techniques.setdefault(STAGE, {})
    return tuple(decided)


def _check_text(recipe: Recipe, data: Dataset, model: str) -> str:
    """The column of texts that a language model is to read.

    Raises:
        UsageError: there is not one, or what is trained is a language model itself.
    """
    (column, *others) = data.inputs
    if others or not isinstance(data.fields[column], (Text, Corpus)):
        told = ", ".join(f"{name} ({data.fields[name].kind})" for name in data.inputs)
        raise UsageError(f"{model} is a language model, which reads one text; the inputs are {told}",
                         fix="name the column of texts: --input")  # fmt: skip
    if STAGE in recipe.techniques and issubclass(OBJECTIVES[recipe.objective.name], OfTexts):
        raise UsageError(f"{STAGE} is of classifiers, and this is a language model that goes on", fix="leave it out")
    return column


def _of_transformers(recipe: Recipe) -> str:
    """The name of the pretrained model of transformers that a training begins with.

    Raises:
        UsageError: it begins with none.
    """
    choice = recipe.model
    if not choice.name.startswith(PREFIX):
        raise UsageError(f"{STAGE} goes on with a language model, and the training begins with none",
                         fix="give pretrained=, the folder of its run, or model='hf:FOLDER'")  # fmt: skip
    if choice.pretrained not in (None, True):
        raise UsageError(f"{STAGE} goes on with the weights of {choice.name}, and pretrained={shown(choice.pretrained)}"
                         " is asked for", fix="leave pretrained out")  # fmt: skip
    return choice.name


def _begun_with(recipe: Recipe) -> tuple[str, dict[str, Any], Corpus]:
    """The language model that the stage goes on with: its name, the settings of a training that does so, and how it
    reads texts."""
    if (known := language_run(recipe.model.pretrained)) is not None:
        run, corpus = known
        settings = {"objective.name": run.recipe.objective.name, "pretrained": str(run.path)}
        return f"the language model of {run.path}", settings, Corpus(f"{HF}{run.path}", corpus.length)
    name = _of_transformers(recipe)
    masked = is_masked(name.removeprefix(PREFIX))
    if masked is None:
        raise UsageError(f"{name} is no language model: transformers has no head for it", fix=f"leave {STAGE} out")
    objective = "masked-language-model" if masked else "language-model"
    return name, {"objective.name": objective, "model.name": name}, Corpus()


def go_on(learner: Learner, folder: Path | None) -> None:
    """Trains the language model on with the training rows' texts, where a training begins so; what is built afterwards
    has its weights.

    Raises:
        UsageError: there is no language model, or what would take its weights is built already.
    """
    asked, feed = learner.recipe, learner.feed
    stage = next((one for one in asked.techniques if one.partition("@")[0] == STAGE), None)
    settings = asked.techniques[stage] if stage is not None else {"epochs": 0}
    if settings.get("epochs") == 0:
        return
    name, begun, field = _begun_with(asked)
    if not isinstance(feed, FieldFeed):
        raise UsageError(f"{STAGE} reads the texts of a Dataset, and the data is your own", fix="make a Dataset of it")
    if learner._built:
        raise UsageError(f"the learner is built already, and {STAGE} comes before", fix="make a new one and fit it")
    data = feed.dataset
    where = folder / FOLDER if folder is not None else Path(tempfile.mkdtemp(prefix="flambeau-")) / FOLDER
    learner.began_with = where
    if (done := Run(where)).measured:
        return
    (column, *_) = data.inputs
    texts = [usable(value) for value in data.columns[column]]
    rows = [row for row, text in enumerate(texts) if text is not None and data.split[row] in (TRAIN, VALID)]
    described = Dataset({column: [texts[row] for row in rows]}, inputs=[column], fields={column: field},
                        split=[NAMES[data.split[row]] for row in rows])  # fmt: skip
    training = {name: getattr(asked.training, name) for name in ("seed", "device", "precision")}
    training |= {name: value for name, value in settings.items() if value is not None}
    recipe = Recipe(baseline=False).with_settings({**begun, **training})
    learner.reporter.say(f"{name} goes on with the texts of {len(rows):,} rows", style="bold")
    type(learner)(
        described, recipe=recipe, run=done.path, reporter=learner.reporter, cache=feed.encoding.cache,
    ).fit(resume=True, check=False)  # fmt: skip


def adopt(learner: Learner) -> list[str]:
    """Puts the weights that a stage before ended with into the model, where there was one, and says so."""
    model, where = learner.objective.model, learner.began_with
    if where is None:
        return []
    assert isinstance(model, Adopts)
    load_weights(model, read_weights(where), head=(), where=where, convert=model.adopted)
    if learner.run is None and learner.processes.first:  # nothing of this training is kept
        shutil.rmtree(where.parent, ignore_errors=True)
    return [f"weights: those of the language model that went on with the training rows' texts, {where.name}"]


def told(run: Run) -> list[dict[str, Any]]:
    """The stages of a run, plain JSON: what each began with, its epochs, and what it reached; none of any other run."""
    inner = Run(run.path / FOLDER)
    if not inner.measured:
        return []
    choice, evaluation = inner.recipe, inner.evaluation
    first = Run(str(choice.model.pretrained))
    stages = [("pretraining", first)] if first.measured else []
    return [
        {"stage": name, "run": str(one.path), "model": one.recipe.model.name, "epochs": one.recipe.training.epochs,
         "split": one.evaluation.get("split"), "metrics": one.evaluation.get("metrics", {})}
        for name, one in [*stages, (STAGE, inner)]
    ] if evaluation else []  # fmt: skip
