"""A time to be done in, and the largest batch that fits: what is decided, and why."""

from __future__ import annotations

import signal

import pytest
import sklearn.datasets
import torch
from torch import nn

import flambeau as fb
from flambeau.core.errors import UsageError
from flambeau.studies import budget
from flambeau.studies.budget import Cost, in_a_sitting, within
from flambeau.training.interrupts import Interrupted


@pytest.fixture(scope="module")
def data() -> fb.Dataset:
    digits = sklearn.datasets.load_digits()
    return fb.Dataset.from_arrays(digits.images[:400] / 16, digits.target[:400])


def learner(data, **options):
    return fb.Learner(data, quiet=True, run=False, baseline=False, **options)


def test_steps_are_measured_and_epochs_planned_by_them(data):
    asked = learner(data, model="mlp")
    planned = within(asked, "20s")

    plan = planned.plan()
    (epochs,) = (decision for decision in plan.decisions if decision.name == "training.epochs")
    assert 1 <= epochs.value <= 120 and "an epoch takes" in epochs.why and " ms" in epochs.why
    planned.fit(check=False)
    assert planned.trainer.state.epoch == epochs.value
    assert str(epochs) in planned.recipe.reasons
    assert asked.recipe.training.epochs is None and "training.epochs" not in plan.given


@pytest.mark.parametrize(
    ("slow", "asked", "expected"),
    [
        (lambda probe: True, {}, {"model.name": "mlp"}),  # what is cheapest, where nothing suffices
        (lambda probe: False, {}, {}),
        (lambda probe: probe.recipe.training.batch_size < 32, {}, {"training.batch_size": 32}),
        (lambda probe: probe.recipe.model.name == "lenet", {}, {"model.name": "mlp"}),
        (lambda probe: True, {"model": "lenet", "batch_size": 16}, {}),  # what is asked for stays
    ],
)
def test_what_is_cheaper_is_taken_where_epochs_would_be_too_few(slow, asked, expected, data, monkeypatch):
    """Times that are given, so that the choice is seen alone."""
    monkeypatch.setattr(budget, "CHEAPER", {"lenet": "mlp"})
    seen = []

    def cost_of(probe, seconds):
        seen.append(probe)
        return Cost(step=(100.0 if slow(probe) else 1e-3) / len(seen), validation=0.0, saving=0.0, steps=10)

    monkeypatch.setattr(budget, "cost_of", cost_of)
    planned = within(learner(data, **{**asked, "augment": "none"}), 6000)
    decided = {decision.name: decision.value for decision in planned.decided if "fields" not in decision.name}
    decided.pop("training.epochs")
    assert decided == expected


def test_a_time_that_is_too_short_or_none_is_told(data, monkeypatch):
    with pytest.raises(UsageError, match="such as 10m"):
        within(learner(data), "soon")
    monkeypatch.setattr(budget, "cost_of", lambda probe, seconds: Cost(10.0, 0.0, 0.0, 10))
    with pytest.raises(UsageError, match="one epoch does not fit into 30s: an epoch takes 1 min 40 s"):
        within(learner(data, model="mlp"), "30s")
    with pytest.raises(UsageError, match="7 epochs do not fit"):
        within(learner(data, model="mlp", epochs=7), "5m")
    assert within(learner(data, model="mlp", epochs=7), "30m").recipe.training.epochs == 7


class Bounded(nn.Module):
    """Learns from 50 samples at most at once."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(64, 10)

    def forward(self, x):
        if self.training and len(x) > 50:
            raise torch.OutOfMemoryError("out of memory")
        return self.last(x.flatten(1))


def test_the_largest_batch_that_fits_is_found_and_said(data):
    found = learner(data, model=Bounded(), batch_size="largest", epochs=1)
    found.fit(check=False)
    assert found.recipe.training.batch_size == 32 and found.trainer.notes == []
    assert any(reason.startswith("batch_size 32: the largest power of two") for reason in found.recipe.reasons)
    whole = learner(data, model="mlp", batch_size="largest", epochs=1).build()
    assert whole.recipe.training.batch_size == 256  # of 280 rows


def test_a_largest_batch_is_refused_where_tokens_bound_it():
    data = fb.Dataset({"x": ["a b c d", "e f g"] * 40, "y": ["u", "v"] * 40}, target="y",
                      fields={"x": fb.fields.Text()})  # fmt: skip
    with pytest.raises(UsageError, match="bounded by tokens"):
        learner(data, model="textcnn", batch_size="largest").build()


def test_the_command_plans_by_a_budget(flambeau, digits_folder, tmp_path):
    command = flambeau("train", digits_folder, "--model", "mlp", "--budget", "30s", "--dry-run", "--json", cwd=tmp_path)
    assert command.status == 0, command.err
    (epochs,) = (d for d in command.json["decisions"] if d["name"] == "training.epochs")
    assert "30s" in epochs["why"] or "times the usual" in epochs["why"]
    assert flambeau("train", digits_folder, "--budget", "soon", cwd=tmp_path).told.startswith("'soon' is not a time")
    assert "no such option" in flambeau("find-lr", digits_folder, "--budget", "3m", cwd=tmp_path).told


def interrupted(*_):
    raise Interrupted("stopped", signal.SIGINT)


def test_what_would_take_longer_than_a_sitting_is_planned_for_one_and_says_so(data, monkeypatch, capsys):
    """A step that is said to take ten seconds, and a batch that says so of the training."""
    monkeypatch.setattr(budget, "MANY", 100)
    whole = learner(data, model="lenet")
    assert in_a_sitting(whole) is whole  # seconds, as it is

    monkeypatch.setattr(budget, "seconds_of_training", lambda *_: 4000.0)
    monkeypatch.setattr(budget, "cost_of", lambda *_: Cost(step=10.0, validation=0.0, saving=0.0, steps=10))
    asked = fb.Learner(data, model="lenet", run=False, baseline=False)
    planned = in_a_sitting(asked)
    assert 1 <= planned.recipe.training.epochs <= 8 and asked.recipe.training.epochs is None
    (why,) = (one.why for one in planned.decided if one.name == "training.epochs")
    assert "epochs would take about 67 min: for all of them --epochs" in why
    said = capsys.readouterr().err
    assert f"within 15 min fit {planned.recipe.training.epochs}" in said

    monkeypatch.setattr(budget, "cost_of", lambda *_: Cost(step=1e-3, validation=0.0, saving=0.0, steps=10))
    assert in_a_sitting(asked) is asked  # its steps are quicker than its first batch
    monkeypatch.setattr(budget, "cost_of", interrupted)
    with pytest.raises(Interrupted):
        in_a_sitting(asked)
    for left in (learner(data, model="lenet", epochs=30), learner(data, model="ridge")):
        assert in_a_sitting(left) is left  # what was asked for, and what has no epochs
    monkeypatch.setattr(budget, "cost_of", lambda *_: Cost(step=1000.0, validation=0.0, saving=0.0, steps=10))
    assert in_a_sitting(asked) is asked  # no epoch fits
