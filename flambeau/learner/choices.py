"""What `auto` stands for: settings chosen by rules from the data and the model, each with its reason.

Rules only, never timings or trials: the same data and machine always give the same choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau.core.errors import UsageError
from flambeau.core.registry import check_options
from flambeau.core.reporter import Reporter
from flambeau.data import samplers
from flambeau.data.dataset import Dataset
from flambeau.models import check_name
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
EPOCHS_OF: dict[str, Listed] = {
    "ngrams": ((3_000, 15), (30_000, 10), (200_000, 4)),  # phrases are many, and an epoch takes seconds
    "tags": ((1_000, 40), (3_000, 25), (10_000, 15), (200_000, 8)),  # each sentence is as many samples as it has words
    "image": EPOCHS,
    "text": ((3_000, 15), (10_000, 10), (30_000, 6), (200_000, 4)),  # learned by heart sooner than pictures
    "audio": ((1_000, 20), (3_000, 10), (10_000, 8), (30_000, 6), (200_000, 4)),
    "series": ((300, 200), (1_000, 100), (3_000, 50), (10_000, 25), (200_000, 10)),
    "history": ((1_000, 40), (3_000, 20), (10_000, 10), (30_000, 6), (200_000, 3)),  # windows overlap
}
"""By model or kind of field; of several, the first listed here."""
EPOCHS_TABLE: Listed = ((1_000, 60), (3_000, 30), (10_000, 24), (100_000, 16), (1_000_000, 6))
EPOCHS_PRETRAINED: Listed = ((1_000, 12), (3_000, 8), (10_000, 6), (200_000, 4))
EPOCHS_PRETRAINED_OF: dict[str, Listed] = {
    "audio": EPOCHS_OF["audio"],
    "text": ((1_000, 10), (3_000, 5), (10_000, 4), (200_000, 3)),  # Devlin et al. 2018, "BERT": 2 to 4, of more rows
}
SAMPLES = 1 << 25  # of padded sounds in a batch, where whole clips are kept: a gigabyte while it is cut up
TOKENS = 8192  # padded tokens in a batch of texts
TOKENS_OF = {"ngrams": 1 << 17}  # where a token costs next to nothing


def training_settings(
    asked: Settings, num_train: int, pretrained: bool, reporter: Reporter, kinds: Sequence[str] = (), model: str = ""
) -> tuple[Settings, list[str]]:
    """The settings with None replaced, and the reasons.

    Args:
        kinds: of the fields, the inputs' and then the target's; none for a user's own data.
        model: its name, where it is named.
    """
    text, sound, table = bool({"text", "tokens"} & set(kinds)), "audio" in kinds, tuple(kinds[:-1]) == ("table",)
    chosen: dict[str, Any] = {}
    reasons: list[str] = []

    def choose(name: str, value: Any, why: str) -> None:
        if getattr(asked, name) is None and name not in chosen:
            chosen[name] = value
            reasons.append(f"{name} {value}: {why}")

    quick = table or "history" in kinds  # so little work a sample that larger batches pay
    size = default_batch_size(num_train, 32, 256) if quick else default_batch_size(num_train)
    choose("batch_size", size, f"{num_train:,} training samples")
    fresh = next((listed for name, listed in EPOCHS_OF.items() if name in (model, *kinds)), EPOCHS)
    fresh = EPOCHS_TABLE if table else fresh
    tuned = next((listed for kind, listed in EPOCHS_PRETRAINED_OF.items() if kind in kinds), EPOCHS_PRETRAINED)
    listed = tuned if pretrained else fresh
    epochs = next((e for limit, e in listed if num_train < limit), listed[-1][1] // 2)
    start = "pretrained weights" if pretrained else "fresh weights"
    choose("epochs", epochs, f"{num_train:,} training samples, {start}")
    sgd = asked.optimizer.lower() == "sgd"
    rate = (0.01 if sgd else 5e-4 if text else 1e-3) if pretrained else (0.1 if sgd else 3e-3)
    choose("learning_rate", rate, f"{asked.optimizer} with {start}")
    if pretrained and sound:
        choose("backbone_lr_scale", 1.0, "pictures of sounds are far from what the weights were trained on")
    choose("backbone_lr_scale", 0.1 if pretrained else 1.0,
           "pretrained layers need small steps only" if pretrained else "all layers are fresh")  # fmt: skip
    if sound:
        choose("max_tokens", SAMPLES, "the most samples of whole clips in a batch")
    if text:
        budget = TOKENS_OF.get(model, TOKENS)
        choose("max_tokens", budget, "texts of like length together, so that little of a batch is padding")
    batch_size = asked.batch_size or chosen["batch_size"]
    if batch_size > num_train:
        chosen["batch_size"] = num_train
        reasons.append(f"batch_size {num_train}: {batch_size} asked, but there are only {num_train} training samples")
        reporter.say(reasons[-1], style="yellow")
    return Settings(**{**vars(asked), **chosen}), reasons


def check_names(recipe: Recipe, *, model: bool = True) -> None:
    """Looks up what a recipe calls by name, so that a wrong name is told before anything long begins.

    Args:
        model: whether the model is called by name too.

    Raises:
        UsageError: there is none of that name; it gives the nearest.
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
    if recipe.training.sampler is not None:
        samplers.sampler(recipe.training.sampler)
    for logger in recipe.training.loggers:
        LOGGERS[logger]
    for name, settings in recipe.techniques.items():
        made(name, settings)


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
