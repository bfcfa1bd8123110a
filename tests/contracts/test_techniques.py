"""What every technique promises: each test runs for every technique in TECHNIQUES, in a small real training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small import Stop, Stopped, identical, network, stored, supervised, terminated_at, trainer, weights
from tricks import IMPOSSIBLE, NEUTRAL, SETTINGS

from flambeau.core.errors import UsageError
from flambeau.core.registry import made
from flambeau.data.batch import Batch
from flambeau.objectives import Objective
from flambeau.techniques import HOOKS, TECHNIQUES, Technique
from flambeau.testing import TECHNIQUE_CHECKS, check_technique
from flambeau.training import Interrupted


def test_every_technique_has_settings_here() -> None:
    assert set(SETTINGS) == set(TECHNIQUES), "give the new one settings in support/tricks.py"
    assert set(IMPOSSIBLE) == {name for name, technique in TECHNIQUES.items() if technique.settings}


CASES = [pytest.param(n, s, id=f"{n}-{i}") for n, listed in SETTINGS.items() for i, s in enumerate(listed)]
each = pytest.mark.parametrize(("name", "settings"), CASES)
each_with_effect = pytest.mark.parametrize(
    ("name", "settings"), [c for c in CASES if c.values[1] not in NEUTRAL.values()]
)
each_on_batches = pytest.mark.parametrize(
    ("name", "settings"), [c for c in CASES if TECHNIQUES[str(c.values[0])].overridden("on_batch")]
)


def make(name: str, settings: dict[str, Any]) -> Technique:
    return TECHNIQUES[name](**settings)


@each
@pytest.mark.parametrize("check", TECHNIQUE_CHECKS, ids=lambda check: check.__name__)
def test_it_holds_what_every_technique_promises(
    name: str, settings: dict[str, Any], check: Callable[..., None]
) -> None:
    check(lambda: make(name, settings))


class Broken(Technique):
    """Breaks one promise at a time."""

    name = "broken"
    settings = ("how",)

    def __init__(self, how: str = ""):
        self.how, self.count = how, 0

    def to_dict(self) -> dict[str, Any]:
        return {} if self.how == "is not told of" else super().to_dict()

    def on_batch(self, batch: Batch, generator: torch.Generator) -> Batch:
        self.count += 1
        noise = torch.rand(()) if self.how == "global randomness" else self.count * (self.how == "forgets its state")
        return Batch(batch.input + noise, batch.target, batch.rows)

    def on_fit_end(self, objective: Objective) -> None:
        if self.how == "leaves something behind":
            objective.left = True  # type: ignore[attr-defined]


@pytest.mark.parametrize("how", ["is not told of", "global randomness", "forgets its state", "leaves something behind"])
def test_a_broken_promise_is_seen(how: str) -> None:
    with pytest.raises(AssertionError):
        check_technique(lambda: Broken(how))
    check_technique(Broken)


@pytest.mark.parametrize(("name", "setting"), [("l2", "strength"), ("clip_value", "value"), ("mixup", "alpha")])
def test_a_word_where_a_number_is_wanted_is_told_as_one(name: str, setting: str) -> None:
    with pytest.raises(UsageError, match=f"^{setting}='abc' of the technique {name} does not fit; expected a number"):
        made(TECHNIQUES, name, {setting: "abc"})


@each
def test_to_dict_builds_it_again(name: str, settings: dict[str, Any]) -> None:
    technique = make(name, settings)
    state = json.loads(json.dumps(technique.to_dict()))
    assert state == settings
    assert make(name, state).to_dict() == state
    assert TECHNIQUES[name].name == name, "the recipe knows it by this name"
    assert TECHNIQUES[name]().to_dict().keys() == settings.keys(), "it has defaults that work"


@each_with_effect
def test_it_does_something(name: str, settings: dict[str, Any]) -> None:
    """Else nothing here would prove anything."""
    plain, with_it = trainer(keep="last", epochs=8), trainer(keep="last", epochs=8, techniques=[make(name, settings)])
    # a rate at which the validation gets worse now and then
    plain.settings.learning_rate = with_it.settings.learning_rate = 0.3 if name == "early_stopping" else 0.01
    plain.fit()
    with_it.fit()
    assert not identical(weights(plain), weights(with_it))


@pytest.mark.parametrize("name", NEUTRAL)
def test_where_it_has_nothing_to_do_the_weights_are_as_without_it(name: str) -> None:
    plain, with_it = trainer(), trainer(techniques=[make(name, NEUTRAL[name])])
    plain.fit()
    with_it.fit()
    assert identical(weights(plain), weights(with_it))


@pytest.mark.parametrize("name", SETTINGS)
def test_it_costs_nothing_at_hooks_that_it_does_not_use(name: str) -> None:
    technique = make(name, SETTINGS[name][0])
    without, hooks = (trainer(techniques=some, monitors=False).hooks for some in ([], [technique]))
    assert not any(without[h] for h in ("on_batch", "on_criterion", "on_gradients", "on_step_end"))
    own = [kind for kind in type(technique).__mro__ if issubclass(kind, Technique) and kind is not Technique]
    used = {h for h in HOOKS if len(hooks[h]) > len(without[h])}
    assert bool(used) is not technique.before and used == {h for h in HOOKS if any(h in vars(kind) for kind in own)}


@each
@pytest.mark.parametrize("step", [3, 5, 7])
@pytest.mark.parametrize("how", ["SIGTERM", "crash"])
def test_a_training_with_it_resumes_bit_identically(
    name: str, settings: dict[str, Any], step: int, how: str, tmp_path: Path
) -> None:
    """Stopped in the middle of an epoch and at its end, by a signal, and by a crash right after a checkpoint."""
    whole = trainer(techniques=[make(name, settings), Stop()], folder=tmp_path / "whole", checkpoint_minutes=0)
    whole.fit()
    stop = terminated_at(step) if how == "SIGTERM" else Stop(step)
    broken = trainer(techniques=[make(name, settings), stop], folder=tmp_path / "run", checkpoint_minutes=0)
    with pytest.raises(Interrupted if how == "SIGTERM" else Stopped):
        broken.fit()
    resumed = trainer(
        supervised(seed=99), techniques=[make(name, settings), Stop()], folder=tmp_path / "run", checkpoint_minutes=0
    )
    torch.manual_seed(4321)
    resumed.fit(resume=True)
    assert identical(weights(whole), weights(resumed))
    assert [line.get("valid") for line in whole.history] == [line.get("valid") for line in resumed.history]
    assert [line.get("train_loss") for line in whole.history] == [line.get("train_loss") for line in resumed.history]
    assert whole.state == resumed.state


@each
def test_it_leaves_the_objective_as_it_found_it(name: str, settings: dict[str, Any]) -> None:
    objective = supervised()
    before = {k: v for k, v in vars(objective).items() if not k.startswith("_")}
    trainer(objective, techniques=[make(name, settings)]).fit()
    after = {k: v for k, v in vars(objective).items() if not k.startswith("_")}
    assert after.keys() == before.keys()
    assert all(after[k] is before[k] for k in before)
    # and what is measured afterwards is what the same weights measure without it
    plain = supervised()
    plain.model.load_state_dict(objective.model.state_dict())
    assert measured(objective) == measured(plain)


@each
def test_an_interrupted_training_goes_on_in_the_same_process(
    name: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    """As in a notebook: the same objects, fitted again after Ctrl-C."""
    whole = trainer(techniques=[make(name, settings), Stop()])
    whole.fit()
    stop = terminated_at(3)
    again = trainer(techniques=[make(name, settings), stop], folder=tmp_path)
    with pytest.raises(Interrupted):
        again.fit()
    stop.step = None
    again.fit(resume=True)
    assert identical(weights(whole), weights(again))
    plain = supervised()
    plain.model.load_state_dict(again.objective.model.state_dict())
    assert measured(again.objective) == measured(plain)


def measured(objective: Any) -> dict[str, float]:
    from flambeau.training import evaluate

    prepared = trainer(objective)
    assert prepared.valid is not None
    return evaluate(objective, prepared.engine, prepared.valid, prepared.prepare)


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_settings_that_do_not_fit_are_refused(name: str) -> None:
    with pytest.raises(UsageError) as error:
        make(name, IMPOSSIBLE[name])
    assert error.value.expected


def test_a_name_that_does_not_exist_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'mixup'"):
        TECHNIQUES["mixap"]


def test_the_small_network_is_the_same_for_everybody() -> None:
    assert identical(weights(network()), weights(network()))
    assert len(stored()[1].good) == 200
