"""What is said of an evaluation: its headline, and the model beside the cheapest rivals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flambeau import baselines
from flambeau.core.files import write_json
from flambeau.learner import stages
from flambeau.learner.feeds import FieldFeed
from flambeau.learner.probe import features_of
from flambeau.models import OWN
from flambeau.objectives import Objective
from flambeau.objectives.intervals import unrelated, winner
from flambeau.objectives.names import higher_is_better
from flambeau.production import statistics
from flambeau.recipe import Recipe
from flambeau.run import Run
from flambeau.techniques import not_kept
from flambeau.training.engine import Engine
from flambeau.training.measure import some
from flambeau.training.memory import is_out_of_memory
from flambeau.understand.permutation_importance import importance

if TYPE_CHECKING:
    from flambeau.learner.learner import Learner

PORTRAYED, LOOKED_THROUGH = 8, 1000
"""Batches, at most about twice as many, of held-out rows that are shown, and of training rows that are compared."""
MEASURED = {
    "test": "test rows", "valid": "validation rows, which chose the epoch, so this is optimistic",
    "train": "rows, measured on what it trained on", "all": "rows",
    "out_of_fold": "rows, the mean over the folds, each measured on rows that its model did not see",
}  # fmt: skip
"""What an evaluation was made on, by split."""


def measured_on(result: Mapping[str, Any], chose: str | None = "the epoch") -> str:
    """What an evaluation was made on: "150 test rows". `chose`: what validation rows chose, if anything."""
    count = f"{result['samples']:,} " if result.get("samples") else ""
    if result["split"] != "valid" or chose == "the epoch":
        return f"{count}{MEASURED[result['split']]}"
    return f"{count}validation rows" + (f", which chose {chose}, so this is optimistic" if chose else "")


def chosen(run: Run) -> str | None:
    """What validation rows chose in a run: the model of a tournament, the settings of one that is fitted at once, or
    the epoch; None for nothing."""
    recipe = run.recipe
    if "tournament" in run.evaluation:
        return "the model"
    if recipe.model.name in OWN.fitted:
        return "its settings"
    return "the epoch" if recipe.training.keep != "last" else None


def figures(result: Mapping[str, Any]) -> str:
    """The metrics of an evaluation in a line, the measure of the model first, with 95 % intervals."""
    first, intervals = result.get("metric"), result.get("intervals", {})
    names = sorted(result["metrics"], key=lambda name: (name != first, name == "loss"))
    parts = []
    for name in names:
        low, high = intervals.get(name, (None, None))
        kind = "95 % interval " if name == first else ""
        chance = "" if low is None else f" ({kind}{low:.4g} to {high:.4g})"
        parts.append(f"{name} {result['metrics'][name]:.4f}{chance}")
    return "  ".join(parts)


def headline(result: Mapping[str, Any], epoch: int | None = None, chose: str | None = None) -> str:
    """Which epoch's weights are kept, and what was measured on what: the last line of a training. `chose`: what
    validation rows did, where it was not the epoch."""
    kept = "" if epoch is None else f"epoch {epoch} is kept; "
    chose = chose if epoch is None else "the epoch"
    return f"{kept}{measured_on(result, chose)}: {figures(result)}"


def verdict(rivals: list[dict[str, Any]], metrics: Mapping[str, float], metric: str) -> str | None:
    """One line that puts the best rival beside the model, and who wins; a difference that may be chance is a tie."""
    best = best_of(rivals, metric)
    if best is None or metric not in metrics:
        return None
    theirs, ours = best["metrics"][metric], metrics[metric]
    line = f"baseline {theirs:.4g} in {best['seconds']:.1f} s ({best['name']}); this model {ours:.4g} ({metric})"
    wins = winner(best, metrics, metric)
    if difference := best.get("differences", {}).get(metric):
        value, low, high = difference
        line += f"; the difference is {value:+.4g} ({low:+.4g} to {high:+.4g})"
    said = {"model": "this model wins", "baseline": "the baseline wins", "tie": "a tie"}
    return f"{line}: {said[wins]}"


def unrelated_line(rivals: list[dict[str, Any]], metrics: Mapping[str, float], metric: str) -> str | None:
    """That the labels may have nothing to do with the inputs, where nothing shows that they do."""
    constant = unrelated(rivals, metrics, metric)
    if constant is None:
        return None
    others = ", ".join(rival["name"] for rival in rivals if not rival.get("constant"))
    return (f"neither this model nor {others} is better than the {constant} by more than chance: the labels may have "
            "nothing to do with the inputs; look at some rows, and at how labels and inputs were joined")  # fmt: skip


def best_of(rivals: list[dict[str, Any]], metric: str) -> dict[str, Any] | None:
    """The strongest rival by a metric; None where none has it."""
    there = [rival for rival in rivals if metric in rival["metrics"]]
    sign = 1 if higher_is_better(metric) else -1
    return max(there, key=lambda rival: sign * rival["metrics"][metric], default=None)


def rivals(
    objective: Objective, engine: Engine, feed: FieldFeed, recipe: Recipe, split: str, reporter: Any
) -> list[baselines.Baseline]:
    """What simple rivals reach on one split, in the time that the recipe gives each."""
    limit = baselines.LIMIT if isinstance(recipe.baseline, bool) else recipe.baseline
    train, held_out = (feed.rows[part].numpy() for part in ("train", split))
    return baselines.baselines(
        feed.dataset, feed.store, train, held_out, reporter, metric=objective.monitor, task=objective.task, limit=limit,
        pretrained=features_of(feed, recipe, engine) if objective.task.rivals == "classical" else None,
    )  # fmt: skip


def put_beside(
    result: Mapping[str, Any], objective: Objective, engine: Engine, feed: FieldFeed, recipe: Recipe, reporter: Any
) -> dict[str, Any]:
    """Simple rivals and what each input brings, for `evaluation.json`: on the rows that `result` was measured on, just
    before. The model is saved: nothing may lose it."""
    found: dict[str, Any] = {}
    try:
        if portrait := portrayed(objective, engine, feed, result["split"]):
            found["portrait"] = portrait
        if recipe.baseline and objective.task.has_rivals:
            metrics, without = result["metrics"], objective.without_groups()
            measured = rivals(objective, engine, feed, recipe, result["split"], reporter)
            found["baselines"] = [rival.beside(metrics, without) for rival in measured]
            line = verdict(found["baselines"], metrics, objective.monitor)
            if line:
                reporter.say(line, style="yellow" if line.endswith("the baseline wins") else "bold")
            if line := unrelated_line(found["baselines"], metrics, objective.monitor):
                reporter.say(line, style="yellow")
        found["shuffled"] = importance(
            objective, engine, feed.dataset, feed.store, feed.rows[result["split"]], feed.prepare, 256, reporter
        )
    except (RuntimeError, MemoryError, ImportError) as error:
        if not (is_out_of_memory(error) or isinstance(error, ImportError)):
            raise
        reporter.say("memory ran out while simple rivals were fitted; the model is whole", style="yellow")
    return found


def portrayed(objective: Objective, engine: Engine, feed: FieldFeed, split: str) -> dict[str, Any]:
    """What the report shows of what the model makes; see `Objective.portrait`. Codes have the labels of their rows."""
    held_out = some(feed.source(split), feed.prepare, PORTRAYED)
    objective.model.eval()
    with engine.autocast():
        found = objective.portrait(held_out, some(feed.source("train"), feed.prepare, LOOKED_THROUGH))
    for place in found.get("language", {}).get("surprising", ()):
        place["place"] = feed.dataset.place(place.pop("row"))
    if codes := found.pop("codes", None):
        data = feed.dataset
        target = data.target if data.target in data.columns else None
        points = [
            {"x": x, "y": y, "label": data.fields[target].caption(data.columns[target][row]) if target else "",
             "place": data.place(row)}
            for row, (x, y) in zip(codes["rows"], codes["places"], strict=True)
        ]  # fmt: skip
        found["codes"] = {"method": codes["method"], "points": points}
    return found


def take_weights(learner: Learner, run: Run) -> None:
    """Goes on where a training was killed while it was measured: its final weights, and where it stood."""
    assert learner.trainer is not None
    objective = learner.objective
    run.load_model(objective.model, not_kept(objective.model, learner.techniques))
    for technique in learner.techniques:
        technique.on_done(objective)
    learner.trainer.state = run.progress


def write_down(learner: Learner, run: Run, result: Mapping[str, Any]) -> None:
    """Writes what a training ended with: weights, fields and the evaluation, then what is put beside it."""
    data, objective, feed = learner.data, learner.objective, learner.feed
    if data is not None:
        run.save_fields(data.fields, data.inputs, data.target)
    if went := stages.told(run):
        result = {**result, "stages": went}
    write_json(run.path / "evaluation.json", {**result, "pending": True})
    if not run.finished:
        run.save_model(objective.model, objective.calibration, not_kept(objective.model, learner.techniques))
    if isinstance(feed, FieldFeed):
        beside = put_beside(result, objective, learner.engine, feed, learner.recipe, learner.reporter)
        result = {**result, **beside}
        good = feed.store.good.numpy()
        statistics.write(run, learner.predictor, feed.dataset, feed.store, feed.prepare, good, learner.reporter)
    write_json(run.path / "evaluation.json", result)
