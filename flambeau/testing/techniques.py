"""What every technique promises."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from flambeau.core.errors import UsageError
from flambeau.data.batch import Batch
from flambeau.techniques import HOOKS, Technique
from flambeau.testing.small import Stop, fit_until_stopped, identical, trainer, weights
from flambeau.training import Trainer

MakeTechnique = Callable[[], Technique]


def check_technique(make: MakeTechnique) -> None:
    """Checks all that a technique promises; `make` gives a fresh one, with settings that do something in ten steps."""
    for check in TECHNIQUE_CHECKS:
        check(make)


def to_dict_builds_it_again(make: MakeTechnique) -> None:
    technique = make()
    kind, state = type(technique), json.loads(json.dumps(technique.to_dict()))
    assert kind(**state).to_dict() == state and set(state) == set(kind.settings)
    assert kind().to_dict().keys() == state.keys(), "it has defaults that work"


def a_training_with_it_is_the_same_every_time(make: MakeTechnique) -> None:
    first, second = (_trained_with(make) for _ in range(2))
    first.fit()
    torch.manual_seed(12345)
    second.fit()
    assert identical(weights(first), weights(second))


def _trained_with(make: MakeTechnique, folder: Path | None = None, stop: int | None = None, **options: Any) -> Trainer:
    return trainer(None, folder, techniques=[make(), Stop(stop)], **options)


def it_does_something(make: MakeTechnique) -> None:
    technique = make()
    assert technique.before is not any(technique.overridden(hook) for hook in HOOKS)


def a_training_with_it_resumes_bit_identically(make: MakeTechnique) -> None:
    """Stopped by a crash in the middle of an epoch and at its end, and gone on with by a fresh one."""
    for step in (3, 5, 7):
        with tempfile.TemporaryDirectory() as folder:
            whole, broken = _trained_with(make), _trained_with(make, Path(folder), step, checkpoint_minutes=0)
            whole.fit()
            fit_until_stopped(broken)
            resumed = _trained_with(make, Path(folder), checkpoint_minutes=0)
            torch.manual_seed(4321)
            resumed.fit(resume=True)
            assert identical(weights(whole), weights(resumed)), f"stopped at step {step}"
            assert [line.get("valid") for line in whole.history] == [line.get("valid") for line in resumed.history]


def it_leaves_the_objective_as_it_found_it(make: MakeTechnique) -> None:
    training = _trained_with(make)
    objective = training.objective
    before = {k: v for k, v in vars(objective).items() if not k.startswith("_")}
    training.fit()
    after = {k: v for k, v in vars(objective).items() if not k.startswith("_")}
    assert after.keys() == before.keys()
    assert all(after[k] is before[k] for k in before)


def it_trains_with_other_targets_or_says_at_once_why_not(make: MakeTechnique) -> None:
    for target in ("number", "multilabel"):
        training = None
        try:
            training = _trained_with(make, kind=target)
            training.fit()
        except UsageError as error:
            assert (training is None or training.state.step == 0) and error.fix


def what_a_batch_becomes_depends_on_the_generator_alone(make: MakeTechnique) -> None:
    technique = make()
    training = trainer(techniques=[technique])
    technique.on_fit_start(training.objective)

    def batch(seed: int) -> Batch:
        rows, gathered = next(iter(training.train.epoch(0)))
        return technique.on_batch(training.prepare(rows, gathered, False, None), torch.Generator().manual_seed(seed))

    state = torch.get_rng_state()
    first = batch(1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.input, batch(1).input) and torch.equal(first.target, batch(1).target)


TECHNIQUE_CHECKS = (
    to_dict_builds_it_again,
    it_does_something,
    a_training_with_it_is_the_same_every_time,
    a_training_with_it_resumes_bit_identically,
    it_leaves_the_objective_as_it_found_it,
    it_trains_with_other_targets_or_says_at_once_why_not,
    what_a_batch_becomes_depends_on_the_generator_alone,
)
