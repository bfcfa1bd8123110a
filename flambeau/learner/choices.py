"""What `auto` stands for: settings chosen by rules from the data and the model, each with its reason.

Rules only, never timings or trials: the same data and machine always give the same choices.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flambeau.core.errors import UsageError
from flambeau.core.registry import check_options
from flambeau.data import samplers
from flambeau.data.dataset import Dataset
from flambeau.models import check_name, starts_pretrained
from flambeau.objectives import OBJECTIVES, losses
from flambeau.objectives.metrics import called
from flambeau.objectives.tasks import task_of
from flambeau.recipe import Recipe
from flambeau.techniques import TECHNIQUES, adapters, made, name_of
from flambeau.training import loggers, optimizers, schedule
from flambeau.training.settings import AUTO, USUAL, Settings

Listed = tuple[tuple[int, int], ...]
"""(rows, epochs): so many epochs below so many training rows; half as many as the last beyond."""
EPOCHS: Listed = ((1_000, 40), (3_000, 30), (10_000, 20), (30_000, 12), (200_000, 10))
EPOCHS_PRETRAINED: Listed = ((1_000, 12), (3_000, 8), (10_000, 6), (200_000, 4))
EPOCHS_AUDIO: Listed = ((1_000, 20), (3_000, 10), (10_000, 8), (30_000, 6), (200_000, 4))
EPOCHS_TEXT: Listed = ((3_000, 15), (10_000, 10), (30_000, 6), (200_000, 4))  # learned by heart sooner than pictures
# Devlin et al. 2018, "BERT": 2 to 4, of more rows
EPOCHS_TEXT_PRETRAINED: Listed = ((1_000, 10), (3_000, 5), (10_000, 4), (200_000, 3))
EPOCHS_MASK: Listed = ((300, 40), (1_000, 25), (3_000, 16), (10_000, 10), (30_000, 6), (200_000, 4))
BATCH = (16, 128)
BATCH_QUICK = (32, 256)  # so little work a sample that larger batches pay
FITTED = {"epochs": 1, "keep": "last", "precision": "float32", "channels_last": False}
"""Settings of a model that fits itself."""
OF_FITTED = ("batch_size", "max_tokens", "seed", "device", "loggers")
"""Settings that such a model may be given."""
STEADY = "constant warmup=0.05"
SAMPLES = (1 << 25, "the most samples of whole clips in a batch")  # a gigabyte while they are cut up
TOKENS_WHY = "texts of like length together, so that little of a batch is padding"
TOKENS = (8192, TOKENS_WHY)  # padded tokens in a batch of texts


@dataclass(frozen=True)
class Pace:
    """How what is of a kind is trained where nothing is said of it; None for as other kinds are.

    Attributes:
        epochs, tuned: from fresh and from pretrained weights.
        batch: the least and the most samples in a batch.
        max_tokens: the most padded tokens, or samples of sound, in a batch, and why.
        rate, tuned_rate: the learning rate from fresh and from pretrained weights, of Adam and its kin.
        backbone: the share of it for pretrained layers, and why.
        head_first: the share of the epochs in which, from pretrained weights, the head learns alone.
        alone: whether this holds only where it is the one input.
    """

    epochs: Listed | None = EPOCHS
    tuned: Listed | None = None
    batch: tuple[int, int] | None = BATCH
    max_tokens: tuple[int, str] | None = None
    rate: float | None = None
    tuned_rate: float | None = None
    backbone: tuple[float, str] | None = None
    head_first: float | None = None
    alone: bool = False


PACES: dict[str, Pace] = {
    # on two cores an epoch of a million characters takes `nano` a minute, and ten minutes are enough to wait
    "corpus on cpu": Pace(((300, 40), (1_000, 20), (3_000, 10), (6_000, 6), (10_000, 4), (20_000, 2), (200_000, 1)),
                          batch=None),
    # many windows side by side: see `models.language.recurrent.WINDOW`; 1e-2 does not leave how frequent tokens are
    **dict.fromkeys(("gru-lm", "lstm-lm", "awd-lstm"), Pace(None, batch=(32, 64), rate=5e-3)),
    # the paper's rate, of recurrent layers: at 2e-3 eight epochs left 30 % of 1,500 training sentences wrong
    **dict.fromkeys(
        ("ulmfit of gru-lm", "ulmfit of lstm-lm", "ulmfit of awd-lstm"), Pace(None, batch=None, tuned_rate=1e-2)
    ),
    # one layer group more learns in each epoch
    "ulmfit": Pace(((3_000, 30), (200_000, 10)), ((300, 40), (1_000, 24), (3_000, 14), (10_000, 10), (200_000, 6)),
                   batch=(8, 64), max_tokens=(1 << 15, TOKENS_WHY), tuned_rate=2e-3),
    # samples are windows; small text is learned by heart, and of much text each token is read once or twice
    "corpus": Pace(((300, 40), (1_000, 20), (3_000, 10), (10_000, 6), (30_000, 4), (200_000, 2)),
                   ((1_000, 3), (200_000, 2)), batch=(8, 32), rate=2e-3, tuned_rate=2e-4),
    # Rafailov et al. 2023, and Tunstall et al. 2023, "Zephyr": few epochs at a low rate, of an adapter a higher one
    "preferences": Pace(None, ((1_000, 3), (200_000, 1)), batch=(8, 16), tuned_rate=5e-5),
    # a head of several layers: it learns first, on activations that are computed once
    "boxes": Pace(((1_000, 60), (3_000, 40), (10_000, 24), (200_000, 12)),
                  ((1_000, 40), (3_000, 30), (10_000, 20), (200_000, 10)), head_first=0.5),
    # phrases are many, and an epoch takes seconds; a token costs next to nothing
    "ngrams": Pace(((3_000, 15), (30_000, 10), (200_000, 4)), max_tokens=(1 << 17, TOKENS_WHY)),
    "tags": Pace(((1_000, 40), (3_000, 25), (10_000, 15), (200_000, 8))),  # as many samples as words
    # a patch of a tile is another each time; nothing is normalised, and at 3e-3 a training blew up halfway
    "picture": Pace(((50, 400), (150, 200), (500, 100), (2_000, 40), (10_000, 12)), batch=(16, 16), rate=1e-3),
    "tokens": Pace(None, max_tokens=TOKENS, tuned_rate=5e-4),
    "mask": Pace(EPOCHS_MASK, EPOCHS_MASK, batch=(8, 32), tuned_rate=2e-3,
                 backbone=(0.3, "a decoder is fresh, and its encoder sees what classifiers did not look at")),
    "image": Pace(),
    "text": Pace(EPOCHS_TEXT, EPOCHS_TEXT_PRETRAINED, max_tokens=TOKENS, tuned_rate=5e-4),
    "audio": Pace(
        EPOCHS_AUDIO, EPOCHS_AUDIO, max_tokens=SAMPLES,
        backbone=(1.0, "pictures of sounds are far from what the weights were trained on"),
    ),
    "series": Pace(((300, 200), (1_000, 100), (3_000, 50), (10_000, 25), (200_000, 10))),
    # windows overlap
    "history": Pace(((1_000, 40), (3_000, 20), (10_000, 10), (30_000, 6), (200_000, 3)), batch=BATCH_QUICK),
    "table": Pace(((1_000, 60), (3_000, 30), (10_000, 24), (100_000, 16), (1_000_000, 6)), batch=BATCH_QUICK,
                  alone=True),
}  # fmt: skip
"""By model or kind of field, on a device; of several, each setting is that of the first listed here, `max_tokens` the
largest."""


def paces_of(
    kinds: Collection[str], num_inputs: int, model: str, device: str = "", of: str | None = None
) -> list[Pace]:
    """What holds for a model and kinds of fields on a device, the strongest first.

    Args:
        of: what the model is made of, by name, where it is an option of its own.
    """
    names = {
        name + where
        for name in (model, f"{model} of {of}", *kinds)
        for where in ("", f" on {device.partition(':')[0]}")
    }
    return [pace for name, pace in PACES.items() if name in names and (num_inputs == 1 or not pace.alone)]


def _first(paces: Collection[Pace], attribute: str, default: Any = None) -> Any:
    return next((value for pace in paces if (value := getattr(pace, attribute)) is not None), default)


def _epochs(paces: Collection[Pace], num_train: int, pretrained: bool) -> int:
    listed = _first(paces, "tuned", EPOCHS_PRETRAINED) if pretrained else _first(paces, "epochs", EPOCHS)
    return next((epochs for limit, epochs in listed if num_train < limit), max(1, listed[-1][1] // 2))


def usual_techniques(
    asked: Settings, num_train: int, pretrained: bool, paces: Collection[Pace]
) -> dict[str, dict[str, Any]]:
    """The techniques that are taken where none is named, with their settings; see `paces_of`."""
    share = _first(paces, "head_first") if pretrained else None
    if share is None:
        return {}
    epochs = round(share * (asked.epochs or _epochs(paces, num_train, pretrained)))
    return {"fine_tune": {"head_epochs": epochs, "lowest": 0.1}, "ema": {}} if epochs else {"ema": {}}


def take_adapter(recipe: Recipe, decide: Callable[..., None]) -> None:
    """Puts `lora` in the place of weights that are an adapter, or a run that kept one: it is gone on from, upon the
    model that it is for.

    Args:
        decide: as of `take_suggestions`.
    """
    choice = recipe.model
    found = adapters.found_in(Path(choice.pretrained)) if isinstance(choice.pretrained, str) else None
    if found is None:
        return
    folder, base = found
    if choice.name == "auto" and base:
        choice.name = f"hf:{base}"
        decide("model.name", choice.name, f"{folder} is an adapter for it")
    choice.pretrained = None
    recipe.techniques = {**recipe.techniques, "lora": {"start": str(folder), **recipe.techniques.get("lora", {})}}


def take_suggestions(
    recipe: Recipe, suggested: Mapping[str, tuple[Any, str]], given: Collection[str], decide: Callable[..., None]
) -> None:
    """Puts what suits an objective, see `Objective.suggests`, in place of what was left open in a recipe.

    Args:
        given: names of the settings that were asked for.
        decide: told of each decision: the setting's name, its value and why.
    """
    training = recipe.training
    for name, (value, why) in suggested.items():
        if name.startswith("objective."):
            continue  # looked at where its options are
        if name == "techniques":
            if not recipe.techniques and not recipe.own_parts:
                recipe.techniques = dict(value)
        elif name == "phases" or f"training.{name}" not in given:
            if name == "phases":
                left = {p: {k: v for k, v in own.items() if f"training.{k}" not in given} for p, own in value.items()}
                value = {phase: own for phase, own in left.items() if own}
                phases = dict.fromkeys([*value, *training.phases])
                value = {phase: {**value.get(phase, {}), **training.phases.get(phase, {})} for phase in phases}
            setattr(training, name, value)
            decide(f"training.{name}", value, why)


def choose_epoch(recipe: Recipe) -> bool:
    """Whether validation rows choose the epoch whose weights are kept, as far as a recipe tells it before the plan."""
    name, options = recipe.objective.name, recipe.objective.options
    suggested = OBJECTIVES[name].suggests(options, 0) if name in OBJECTIVES else {}
    keep = recipe.training.keep
    return (suggested.get("keep", (USUAL["keep"], ""))[0] if keep == AUTO else keep) != "last"


def check_fitted(recipe: Recipe, given: Collection[str]) -> None:
    """Whether what is asked for beside a model that fits itself has a meaning there.

    Args:
        given: names of the settings that were asked for.

    Raises:
        UsageError: it is of steps, which there are none of.
    """
    name, training = recipe.model.name, recipe.training
    told = f"{name} is fitted to all training rows at once, so"
    if recipe.model.pretrained:
        raise UsageError(f"{told} no weights are begun with", fix="leave pretrained out")
    if recipe.objective.name != "supervised" or recipe.objective.loss != "auto":
        asked = recipe.objective.name if recipe.objective.name != "supervised" else f"the loss {recipe.objective.loss}"
        raise UsageError(f"{told} {asked} is not what it learns by", fix="leave it out, or name another model")
    if recipe.augment not in ("auto", "none"):
        raise UsageError(f"{told} no input is augmented", fix="leave augment out")
    for key in recipe.techniques:
        if not (name_of(key) in TECHNIQUES and TECHNIQUES[name_of(key)].overridden("row_weights")):
            raise UsageError(f"{told} {key} has no step to act in", fix="leave it out, or name another model")
    if "optimizer" in recipe.own_parts or "schedule" in recipe.own_parts:
        raise UsageError(f"{told} there is nothing to optimise", fix="leave optimizer and schedule out")
    for setting in given:
        section, _, short = setting.partition(".")
        if section == "training" and short not in OF_FITTED and (short, getattr(training, short)) not in FITTED.items():
            raise UsageError(f"{told} {short}={getattr(training, short)} has no meaning", fix="leave it out")


def fitted_settings(
    asked: Settings, num_train: int, decide: Callable[..., None], paces: Collection[Pace] = ()
) -> Settings:
    """The settings of a model that fits itself: how it is measured; see `training_settings`."""
    chosen: dict[str, Any] = dict(FITTED)
    decide("training.epochs", 1, "the model is fitted to all training rows at once")
    if asked.batch_size is None:
        chosen["batch_size"] = min(num_train, default_batch_size(num_train, *_first(paces, "batch", BATCH)))
        decide("training.batch_size", chosen["batch_size"], f"{num_train:,} training samples")
    budgets = [pace.max_tokens for pace in paces if pace.max_tokens is not None]
    if budgets and asked.max_tokens is None:
        chosen["max_tokens"], why = max(budgets)
        decide("training.max_tokens", chosen["max_tokens"], why)
    return replace(asked, **chosen)


def training_settings(
    asked: Settings, num_train: int, pretrained: bool, decide: Callable[..., None], paces: Collection[Pace] = (),
    loader_batch: int | None = None,
) -> Settings:  # fmt: skip
    """The settings with None replaced.

    Args:
        decide: told of each decision: the setting's name, its value and why, and what was asked for in its place.
        paces: as `paces_of` gives them; none for a user's own data.
        loader_batch: samples in a batch of a user's own DataLoader.
    """
    chosen: dict[str, Any] = {}

    def choose(name: str, value: Any, why: str, instead: Any = None) -> None:
        if getattr(asked, name) in (None, AUTO) or instead is not None:
            chosen[name] = value
            decide(f"training.{name}", value, why, instead)

    rows, start = f"{num_train:,} training samples", "pretrained weights" if pretrained else "fresh weights"
    wanted = loader_batch or asked.batch_size or default_batch_size(num_train, *_first(paces, "batch", BATCH))
    size, given = min(wanted, num_train), asked.batch_size or loader_batch
    if size < wanted and given:
        choose("batch_size", size, f"{wanted} asked, but there are only {rows}", given)
    elif loader_batch and given != loader_batch:
        choose("batch_size", size, f"the DataLoader's, not the {given} that is set", given)
    else:
        choose("batch_size", size, "the DataLoader's" if loader_batch else rows)
    choose("epochs", _epochs(paces, num_train, pretrained), f"{rows}, {start}")
    choose("optimizer", USUAL["optimizer"], "learns well of most data, and no other is suggested")
    optimizer = chosen.get("optimizer", asked.optimizer)
    sgd = optimizer.lower() == "sgd"
    adam = _first(paces, "tuned_rate", 1e-3) if pretrained else _first(paces, "rate", 3e-3)
    rate = (0.01 if pretrained else 0.1) if sgd else adam
    choose("learning_rate", rate, f"{optimizer} with {start}")
    if optimizer.lower() == "schedulefree" and asked.schedule == AUTO:
        chosen["schedule"] = STEADY
        decide("training.schedule", STEADY, "schedulefree keeps a mean in place of a rate that falls")
    tuned = _first(paces, "backbone", (0.1, "pretrained layers need small steps only"))
    choose("backbone_lr_scale", *(tuned if pretrained else (1.0, "all layers are fresh")))
    if budgets := [pace.max_tokens for pace in paces if pace.max_tokens is not None]:
        choose("max_tokens", *max(budgets))
    usual = {name: value for name, value in USUAL.items() if getattr(asked, name) in (None, AUTO)}
    return replace(asked, **{**usual, **chosen})


def check_names(recipe: Recipe, *, model: bool = True) -> None:
    """Looks up what a recipe calls by name, so that a wrong name is told before anything long begins.

    Args:
        model: whether the model is called by name too.

    Raises:
        UsageError: there is none of that name, and it gives the nearest; or two do not go together.
    """
    if model and recipe.model.name != "auto":
        check_name(recipe.model.name)
    if recipe.objective.loss != "auto":
        losses.named(recipe.objective.loss)
    for metric in recipe.objective.metrics:
        called(metric)
    objective, takes = recipe.objective.name, OBJECTIVES[recipe.objective.name].takes
    check_options(f"the objective {objective}", recipe.objective.options, OBJECTIVES[objective].settings)
    named = {"model": recipe.model.name, "loss": recipe.objective.loss, "metric": recipe.objective.metrics or "auto"}
    for part, asked in named.items():
        if asked != "auto" and part not in takes:
            raise UsageError(
                f"the objective {objective} has a {part} of its own, and {asked} was given", fix=f"leave the {part} out"
            )
    for settings in (recipe.training, *map(recipe.training.of_phase, recipe.training.phases)):
        schedule.named(settings.schedule)
        optimizers.named(settings.optimizer)
    optimizers.named(recipe.training.then.get("optimizer", AUTO))
    if recipe.training.sampler is not None:
        samplers.sampler(recipe.training.sampler)
    for logger in recipe.training.loggers:
        loggers.check(logger)
    techniques = [made(name, settings) for name, settings in recipe.techniques.items()]
    start = recipe.model
    if model and starts_pretrained(start.name, start.pretrained):
        for technique in techniques:
            if technique.fresh:
                raise UsageError(
                    f"{technique.name} draws weights anew, and {start.name} starts from pretrained ones",
                    fix="leave one of both out",
                )


def check_metric(recipe: Recipe, data: Dataset) -> None:
    """Looks up the measure of the model, where the target's kind is known already.

    Raises:
        UsageError: there is none of that name for such a target.
    """
    target = data.fields[data.target] if data.target else None
    if target is None or target.kind == recipe.fields[data.target or ""]["kind"]:
        task = task_of(target)
        task.measure(recipe.objective.metric)
        task.measured_by(False, recipe.objective.metric, recipe.objective.metrics)


def default_batch_size(num_train: int, least: int = 16, most: int = 128) -> int:
    """The power of two from `least` to `most` that gives about 40 steps an epoch or more.

    >>> [default_batch_size(n) for n in (100, 1_500, 5_000, 60_000)]
    [16, 32, 64, 128]
    """
    size = least
    while size < most and size * 2 * 40 <= num_train:
        size *= 2
    return size
