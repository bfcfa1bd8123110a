"""What `auto` stands for: settings chosen by rules from the data and the model, each with its reason.

Rules only, never timings or trials: the same data and machine always give the same choices.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
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
from flambeau.techniques import made
from flambeau.training import optimizers, schedule
from flambeau.training.loggers import LOGGERS
from flambeau.training.settings import Settings

Listed = tuple[tuple[int, int], ...]
"""(rows, epochs): so many epochs below so many training rows; half as many as the last beyond."""
EPOCHS: Listed = ((1_000, 40), (3_000, 30), (10_000, 20), (30_000, 12), (200_000, 10))
EPOCHS_PRETRAINED: Listed = ((1_000, 12), (3_000, 8), (10_000, 6), (200_000, 4))
EPOCHS_AUDIO: Listed = ((1_000, 20), (3_000, 10), (10_000, 8), (30_000, 6), (200_000, 4))
EPOCHS_TEXT: Listed = ((3_000, 15), (10_000, 10), (30_000, 6), (200_000, 4))  # learned by heart sooner than pictures
# Devlin et al. 2018, "BERT": 2 to 4, of more rows
EPOCHS_TEXT_PRETRAINED: Listed = ((1_000, 10), (3_000, 5), (10_000, 4), (200_000, 3))
BATCH = (16, 128)
BATCH_QUICK = (32, 256)  # so little work a sample that larger batches pay
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
        tuned_rate: the learning rate from pretrained weights.
        backbone: the share of it for pretrained layers, and why.
        alone: whether this holds only where it is the one input.
    """

    epochs: Listed | None = EPOCHS
    tuned: Listed | None = None
    batch: tuple[int, int] | None = BATCH
    max_tokens: tuple[int, str] | None = None
    tuned_rate: float | None = None
    backbone: tuple[float, str] | None = None
    alone: bool = False


PACES: dict[str, Pace] = {
    # phrases are many, and an epoch takes seconds; a token costs next to nothing
    "ngrams": Pace(((3_000, 15), (30_000, 10), (200_000, 4)), max_tokens=(1 << 17, TOKENS_WHY)),
    "tags": Pace(((1_000, 40), (3_000, 25), (10_000, 15), (200_000, 8))),  # as many samples as words
    "tokens": Pace(None, max_tokens=TOKENS, tuned_rate=5e-4),
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
"""By model or kind of field; of several, each setting is that of the first listed here, `max_tokens` the largest."""


def training_settings(
    asked: Settings, num_train: int, pretrained: bool, decide: Callable[..., None], kinds: Collection[str] = (),
    num_inputs: int = 1, model: str = "", loader_batch: int | None = None,
) -> Settings:  # fmt: skip
    """The settings with None replaced.

    Args:
        decide: told of each decision: the setting's name, its value and why, and what was asked for in its place.
        kinds: of the fields; none for a user's own data.
        num_inputs: how many of them are inputs.
        model: its name, where it is named.
        loader_batch: samples in a batch of a user's own DataLoader.
    """
    paces = [
        pace for name, pace in PACES.items() if (name == model or name in kinds) and (num_inputs == 1 or not pace.alone)
    ]
    chosen: dict[str, Any] = {}

    def first(attribute: str, default: Any) -> Any:
        return next((value for pace in paces if (value := getattr(pace, attribute)) is not None), default)

    def choose(name: str, value: Any, why: str, instead: Any = None) -> None:
        if getattr(asked, name) is None or instead is not None:
            chosen[name] = value
            decide(f"training.{name}", value, why, instead)

    rows, start = f"{num_train:,} training samples", "pretrained weights" if pretrained else "fresh weights"
    wanted = loader_batch or asked.batch_size or default_batch_size(num_train, *first("batch", BATCH))
    size, given = min(wanted, num_train), asked.batch_size or loader_batch
    if size < wanted and given:
        choose("batch_size", size, f"{wanted} asked, but there are only {rows}", given)
    elif loader_batch and given != loader_batch:
        choose("batch_size", size, f"the DataLoader's, not the {given} that is set", given)
    else:
        choose("batch_size", size, "the DataLoader's" if loader_batch else rows)
    listed = first("tuned", EPOCHS_PRETRAINED) if pretrained else first("epochs", EPOCHS)
    epochs = next((e for limit, e in listed if num_train < limit), listed[-1][1] // 2)
    choose("epochs", epochs, f"{rows}, {start}")
    sgd = asked.optimizer.lower() == "sgd"
    rate = (0.01 if sgd else first("tuned_rate", 1e-3)) if pretrained else (0.1 if sgd else 3e-3)
    choose("learning_rate", rate, f"{asked.optimizer} with {start}")
    tuned = first("backbone", (0.1, "pretrained layers need small steps only"))
    choose("backbone_lr_scale", *(tuned if pretrained else (1.0, "all layers are fresh")))
    if budgets := [pace.max_tokens for pace in paces if pace.max_tokens is not None]:
        choose("max_tokens", *max(budgets))
    return replace(asked, **chosen)


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
    schedule.named(recipe.training.schedule)
    optimizers.named(recipe.training.optimizer)
    optimizers.named(recipe.training.then.get("optimizer", "adamw"))
    if recipe.training.sampler is not None:
        samplers.sampler(recipe.training.sampler)
    for logger in recipe.training.loggers:
        LOGGERS[logger]
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
