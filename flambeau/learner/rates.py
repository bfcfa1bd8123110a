"""The learning rate that is looked for: for who asks, and for a training whose recipe says `learning_rate: find`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from flambeau.core.files import write_json
from flambeau.learner.feeds import FieldFeed
from flambeau.run import Run
from flambeau.training import RateCurve, find_lr, initialise
from flambeau.training.settings import FIND

if TYPE_CHECKING:
    from flambeau.learner.learner import Learner


def find(learner: Learner, **options: Any) -> RateCurve:
    """The curve of a learner that is built; options as for `flambeau.training.find_lr.find`."""
    feed, begin = learner.feed, None
    if isinstance(feed, FieldFeed) and learner.trainer is None:
        begin = functools.partial(initialise, source=feed.source("train"), prepare=feed.prepare)
    curve = find_lr.find(
        learner.objective, learner.engine, learner.recipe.training, train=feed.training, prepare=feed.prepare,
        random=feed.random, techniques=learner.techniques, own=learner.own_steps, reporter=learner.reporter,
        begin=begin, **options,
    )  # fmt: skip
    learner.reporter.say(str(curve))
    return curve


def settle(learner: Learner, run: Run | None, resume: bool) -> None:
    """Before the first step: puts a learning rate in the place of `find`, and says which; where a training is resumed,
    the one that it began with. The first of several processes looks for all."""
    if learner.processes.first:
        _settle(learner, run, resume)
    training = learner.recipe.training
    training.learning_rate = learner.processes.same(training.learning_rate)


def _settle(learner: Learner, run: Run | None, resume: bool) -> None:
    training = learner.recipe.training
    if training.learning_rate != FIND:
        return
    begun = run.recipe.training.learning_rate if run is not None and resume else FIND
    if begun != FIND:
        training.learning_rate = begun
        return
    curve = find(learner)
    training.learning_rate = curve.suggestion
    learner.recipe.reasons.append(f"learning_rate {curve.suggestion:g}: found in {len(curve.rates)} steps on a copy, "
                                  f"where the loss has fallen; it falls most at {curve.steepest:.2g}")  # fmt: skip
    if run is not None:
        write_json(run.path / find_lr.FILE, curve.to_dict())
        learner.recipe.save(run.path / "recipe.yaml")
