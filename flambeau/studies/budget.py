"""A training that ends within a time: epochs, and where these would be too few batch, size and model, by measured
steps."""

from __future__ import annotations

import math
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor

from flambeau.baselines import LIMIT
from flambeau.core.errors import FlambeauError, UsageError
from flambeau.core.printable import duration
from flambeau.core.reporter import QUIET, Reporter
from flambeau.learner import Learner
from flambeau.learner.feeds import FieldFeed
from flambeau.learner.plan import Decision
from flambeau.learner.preflight import seconds_of_training
from flambeau.models import FittedModel
from flambeau.models.auto import CHEAPER
from flambeau.objectives import Objective
from flambeau.studies.base import variant
from flambeau.techniques import Technique
from flambeau.training import Source, Trainer
from flambeau.training.engine import Engine
from flambeau.training.interrupts import Interrupted

STEPS = 40  # that are timed, at most
SHARE = 0.03  # of the budget that the steps of one candidate may take
RIVALS = 0.05  # of the budget that each simple rival may be fitted for
SEARCHING = 0.25  # of the budget, after which no other candidate is tried
RESERVE = 0.05  # for the report, and what else comes at the end
MOST = 3  # times the epochs that would be chosen without a budget: more would hardly help
LEAST = 1 / 3  # of them, below which something cheaper is looked for
SMALLEST = 16  # pixels a side
SITTING, MANY = "15m", 1000
"""The time that a training takes on a processor where nothing is said of its epochs; rows, of fewer it takes less."""
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds_of(text: str | float) -> float:
    """Seconds from `10m`, `1.5h`, `90s` or `1h30m`.

    >>> seconds_of("10m"), seconds_of("1h30m"), seconds_of(90)
    (600.0, 5400.0, 90.0)

    Raises:
        UsageError: it is none of these.
    """
    parts = re.findall(r"(\d+(?:\.\d*)?|\.\d+)\s*([smhd]?)", str(text).lower())
    whole = re.fullmatch(r"\s*(?:(?:\d+(?:\.\d*)?|\.\d+)\s*[smhd]?\s*)+", str(text).lower())
    found = sum(float(number) * UNITS[unit or "s"] for number, unit in parts) if whole else 0.0
    if found <= 0:
        raise UsageError(f"'{text}' is not a time", expected="such as 10m, 90s or 1h30m")
    return found


@dataclass(frozen=True)
class Cost:
    """What a training takes, in seconds: a step, one pass over the validation rows, what else is done at the end of an
    epoch; and how many steps an epoch has."""

    step: float
    validation: float
    saving: float
    steps: int

    @property
    def epoch(self) -> float:
        """Of one epoch."""
        return self.step * self.steps + self.validation + self.saving


class Timed(Technique):
    """Notes when steps and evaluations end. Costs a wait for the device a step."""

    name = "timed"

    def __init__(self, engine: Engine):
        self.engine, self.steps, self.evaluations = engine, list[list[float]](), list[float]()

    def _now(self) -> float:
        if self.engine.device.type != "cpu":
            self.engine.synchronise()
        return time.perf_counter()

    def on_epoch_start(self, objective: Objective, epoch: int) -> None:
        self.steps.append([self._now()])

    def on_step_end(self, objective: Objective, step: int) -> None:
        self.steps[-1].append(self._now())

    def on_evaluation(self, objective: Objective, starts: bool) -> None:
        self.evaluations.append(self._now())


class First:
    """The first batches of a source, as many as a time allows, and two at least."""

    def __init__(self, source: Source, seconds: float):
        self.source, self.seconds = source, seconds

    def count(self, epoch: int = 0) -> int:
        return min(STEPS, self.source.count(epoch))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Any]]:
        began = time.perf_counter()
        for i, batch in enumerate(islice(self.source.epoch(epoch, start), STEPS)):
            if i >= 2 and time.perf_counter() - began > self.seconds:
                return
            yield batch


def cost_of(learner: Learner, seconds: float) -> Cost:
    """Measures a learner that is built, over an epoch of at most some steps that warms up and one that is timed; the
    learner is trained by it, and of no use afterwards.

    Args:
        seconds: that the steps of each may take, about.
    """
    feed, settings = learner.feed, learner.recipe.training
    valid, timed = feed.sources.get("valid"), Timed(learner.engine)
    settings.epochs, settings.loggers = 2, []
    steps = math.ceil(feed.training.count(0) / settings.accumulate)
    held = First(valid, seconds) if valid is not None else None
    with tempfile.TemporaryDirectory(prefix="flambeau-budget-") as folder:
        Trainer(
            learner.objective, learner.engine, settings, train=First(feed.training, seconds), valid=held,
            prepare=feed.prepare, random=feed.random, techniques=[*learner.techniques, timed], folder=Path(folder),
            own=learner.own_steps,
        ).fit()  # fmt: skip
        ended = time.perf_counter()
    marks = timed.steps[1]
    step = (marks[-1] - marks[0]) / max(1, len(marks) - 1)
    measured = timed.evaluations[-1] - timed.evaluations[-2] if timed.evaluations else 0.0
    share = valid.count(0) / max(1, held.count(0)) if valid is not None and held is not None else 1.0
    return Cost(step, measured * share, max(0.0, ended - marks[-1] - measured), steps)


class Bars(Reporter):
    """Shows progress, and says nothing."""

    def say(self, text: str, style: str | None = None) -> None:
        pass


def in_a_sitting(learner: Learner, time: str | float = SITTING) -> Learner:
    """The learner itself; or, where it would train for longer on a processor and its epochs are left open, one that is
    planned to be done in that time, and what it leaves out is said. One of which a single epoch takes longer stays as
    it is."""
    data, recipe = learner.data, learner.recipe
    if data is None or recipe.own_parts or recipe.training.epochs is not None:
        return learner
    if len(data) < MANY and not any(data.fields[name].kind == "corpus" for name in data.inputs):  # a row may be a book
        return learner
    try:
        probe = _built(learner, {}, Bars(learner.reporter.quiet))
        batch, usual = probe.first_batch, probe.recipe.training.epochs
        if batch is None or probe._frozen or probe.engine.device.type != "cpu" or probe.processes.count > 1:
            return learner
        if isinstance(probe.objective.model, FittedModel):
            return learner
        seconds = seconds_of_training(probe, batch, probe.feed.training, seconds_of(time))
        if seconds <= seconds_of(time):
            return learner
        planned = within(learner, time, most=1)
    except Interrupted:
        raise
    except FlambeauError:  # a training tells what is wrong, in its own order
        return learner
    changed = [f"{one.name} {one.value}" for one in planned.decided if one.name not in ("training.epochs", "baseline")]
    if planned.recipe.training.epochs == usual and not changed:
        return learner  # its steps are quicker than a first batch told
    whole = f"{usual} epochs would take about {round(seconds / 60)} min: for all of them --epochs {usual}"
    fitting = ", with ".join([str(planned.recipe.training.epochs), *changed])
    learner.reporter.say(f"{whole}; within {round(seconds_of(time) / 60)} min fit {fitting}")
    planned.decided = tuple(
        replace(one, why=f"{one.why}; {whole}") if one.name == "training.epochs" else one for one in planned.decided
    )
    return planned


def within(learner: Learner, budget: str | float, began: float | None = None, most: float = MOST) -> Learner:
    """A learner as another one that is not built yet, planned to be done in a time, its preparation included: with so
    many epochs as fit, or where these are too few with a larger batch, smaller pictures or a cheaper model, as far as
    none of these was asked for. What is decided is among the plan's decisions, with its reason. It is meant to
    finish within 15 % of the time (benchmarks/budget.py); earlier where three times the usual epochs are done.

    Args:
        began: when the time began, as `time.perf_counter` has it; now, if not given.
        most: times the usual epochs, at most.

    Raises:
        UsageError: the time is none, or not one epoch fits. DataError, ModelError: as `Learner.build`.
    """
    seconds, began = seconds_of(budget), time.perf_counter() if began is None else began
    if not isinstance(learner.feed, FieldFeed):
        raise UsageError("a budget needs a Dataset", fix="make one of your data, or give epochs=")
    asked, best, rivals = learner.recipe.training.epochs, None, None
    for settings in _candidates(learner, first := _built(learner, {})):
        if isinstance(first.objective.model, FittedModel):
            raise UsageError(f"a budget is of epochs, and {first.recipe.model.name} is fitted at once",
                             fix="leave the budget out")  # fmt: skip
        if first.processes.count > 1:
            raise UsageError("a budget is planned by one process", fix="find the epochs with one, by --dry-run")
        if rivals is None:
            limit = min(LIMIT, seconds * RIVALS)
            rivals = _seconds_of_rivals(first, limit)
        probe = _built(learner, settings) if settings else first
        usual = probe.recipe.training.epochs or 1
        tried = _told(settings, probe)
        cost = cost_of(probe, seconds * SHARE)
        left = seconds * (1 - RESERVE) - (time.perf_counter() - began) - 3 * cost.validation - rivals
        fits = int(left / cost.epoch)
        if best is None or fits / usual > best[0] / best[1]:
            best = fits, usual, cost, settings, tried
        if fits >= (asked or math.ceil(usual * LEAST)) or time.perf_counter() - began > seconds * SEARCHING:
            break
    assert best is not None
    fits, usual, cost, settings, tried = best
    each = f"an epoch takes {duration(cost.epoch)}, {cost.steps} steps of {cost.step * 1000:.3g} ms"
    if fits < (asked or 1):
        many = f"{asked} epochs do" if asked else "one epoch does"
        raise UsageError(f"{many} not fit into {budget}: {each}", fix="give more time, fewer rows or a smaller model")
    epochs = asked or min(fits, round(most * usual))
    why = f"else fewer epochs would fit into {budget}"
    decided = [Decision(name, value, why) for name, value in tried]
    if not asked:
        why = (
            f"{most} times the usual {usual}, of {fits} that fit" if epochs < fits else f"as many as fit into {budget}"
        )
        decided.append(Decision("training.epochs", epochs, f"{why}: {each}"))
    if learner.recipe.baseline and limit < LIMIT:
        settings = {**settings, "baseline": limit}
        decided.append(Decision("baseline", limit, f"seconds that a simple rival may take of {budget}"))
    planned = variant(learner, {**settings, "epochs": epochs}, learner.asked_run)
    planned.decided = tuple(decided)
    return planned


def _seconds_of_rivals(learner: Learner, limit: float) -> float:
    """What fitting the simple rivals takes, each for so many seconds at most, which is done at the end."""
    began = time.perf_counter()
    if learner.recipe.baseline:
        learner.recipe.baseline = limit
        learner.baselines("valid" if learner.feed.sources.get("valid") is not None else None)
    return time.perf_counter() - began


def _built(learner: Learner, settings: dict[str, Any], reporter: Reporter = QUIET) -> Learner:
    probe = variant(learner, settings, False)
    probe.reporter = reporter
    return probe.build()


def _candidates(learner: Learner, built: Learner) -> Iterator[dict[str, Any]]:
    """What is tried, the least change first."""
    yield {}
    asked, chosen = learner.recipe, built.recipe
    if asked.training.batch_size is None and not chosen.training.max_tokens:
        yield {"batch_size": 2 * (chosen.training.batch_size or 1)}
    sizes: list[dict[str, Any]] = [{}]
    assert built.data is not None and learner.data is not None
    sides = {
        name: getattr(field, "size")  # noqa: B009 -- a setting that it names
        for name, field in built.data.fields.items()
        if field.leads and "size" in field.settings and not asked.fields.get(name, {}).get("size")
    }
    for share in (0.75, 0.5):
        smaller = {
            f'fields."{name}".size': [round(side * share) for side in size]
            for name, size in sides.items()
            if min(size) * share >= SMALLEST
        }
        if smaller:
            sizes.append(smaller)
            yield smaller
    if asked.model.name == "auto" and learner.own_model is None and (cheaper := CHEAPER.get(chosen.model.name)):
        yield {"model.name": cheaper}
        if len(sizes) > 1:
            yield {"model.name": cheaper, **sizes[-1]}


def _told(settings: dict[str, Any], probe: Learner) -> list[tuple[str, Any]]:
    """What of a candidate differs, by the settings' full names."""
    full = {"batch_size": "training.batch_size"}
    values = {"batch_size": probe.recipe.training.batch_size, "model.name": probe.recipe.model.name}
    return [(full.get(name, name.replace('"', "")), values.get(name, value)) for name, value in settings.items()]
