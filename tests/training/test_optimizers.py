"""Optimisers by name, with the groups that fine-tuning and weight decay want; schedules; settings."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from small import Stop, Stopped, identical, stored, trainer, weights
from torch import nn

from flambeau.core.errors import UsageError
from flambeau.objectives import Supervised
from flambeau.techniques import Technique
from flambeau.training import Settings, Trainer, optimizers, schedule
from flambeau.training.interrupts import Interrupts
from flambeau.training.optimizers import build, known
from flambeau.training.own import OwnSteps
from flambeau.training.schedulefree import ScheduleFree


def model() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def groups(optimizer: torch.optim.Optimizer) -> dict[int, tuple[float, float]]:
    """(rate, decay) of each parameter by identity."""
    return {id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}


def test_biases_and_norms_are_not_decayed() -> None:
    net = model()
    found = groups(build("adamw", list(net.parameters()), 0.1, 0.05))
    for p in net.parameters():
        assert found[id(p)] == (0.1, 0.05 if p.ndim > 1 else 0.0)
    assert len(found) == len(list(net.parameters()))


def test_the_head_learns_at_the_full_rate_and_the_body_at_its_share() -> None:
    net = model()
    head = list(net[3].parameters())
    found = groups(build("sgd", list(net.parameters()), 0.1, 0.05, head=head, backbone_lr_scale=0.1))
    for p in net.parameters():
        full = any(p is h for h in head)
        assert found[id(p)] == (pytest.approx(0.1 if full else 0.01), 0.05 if p.ndim > 1 else 0.0)


def test_frozen_parameters_are_left_out() -> None:
    net = model()
    net[0].requires_grad_(False)
    assert not any(id(p) in groups(build("adamw", list(net.parameters()), 0.1, 0.05)) for p in net[0].parameters())


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_what_learns_from_a_later_step_on_does_so_as_if_it_were_the_first(name: str) -> None:
    """As when a layer is unfrozen: the fused kernel of torch's SGD fails there."""
    both, alone = (nn.ParameterList([nn.Parameter(torch.ones(3, 3)) for _ in range(2)]) for _ in range(2))
    mixed, apart = (build(name, list(weights), 0.1, 0.0) for weights in (both, alone))
    for step in range(3):
        both[0].grad = torch.full((3, 3), step + 1.0)
        both[1].grad = alone[1].grad = torch.full((3, 3), 2.0) if step else None
        mixed.step()
        apart.step()
    assert torch.equal(both[1], alone[1]) and not torch.equal(both[1], torch.ones(3, 3))


def test_defaults_and_options() -> None:
    sgd = build("SGD", list(model().parameters()), 0.1, 0.0)
    assert sgd.defaults["momentum"] == 0.9 and sgd.defaults["nesterov"] and sgd.defaults["fused"]
    plain = build("sgd", list(model().parameters()), 0.1, 0.0, options={"momentum": 0.0, "nesterov": False})
    assert plain.defaults["momentum"] == 0.0


@pytest.mark.parametrize("name", sorted(known().keys() - {"sparseadam", "muon"}))
def test_any_optimiser_of_torch_steps(name: str) -> None:
    net = nn.Linear(3, 2)
    before = net.weight.detach().clone()
    optimizer = build(name, list(net.parameters()), 0.1, 0.01)
    net(torch.ones(4, 3)).square().mean().backward()
    optimizer.step()
    assert not torch.equal(before, net.weight)


def test_a_class_of_any_package_is_called_by_its_path() -> None:
    assert isinstance(build("torch.optim.adagrad.Adagrad", list(model().parameters()), 0.1, 0.0), torch.optim.Adagrad)


def test_muon_moves_the_matrices_between_the_first_layer_and_the_head() -> None:
    net = nn.Sequential(nn.Embedding(9, 8), nn.Linear(8, 8), nn.Linear(8, 6), nn.Linear(6, 2))
    made = build("muon", list(net.parameters()), 0.1, 0.05, head=list(net[3].parameters()), outer=[net[0].weight])
    of_muon = [p for g in made.param_groups if g.get("hidden") for p in g["params"]]
    assert [p.shape for p in of_muon] == [(8, 8), (6, 8)]
    copied = net[1].weight.detach().clone().requires_grad_()
    alone = torch.optim.Muon([copied], lr=0.1, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    net(torch.arange(9)).square().mean().backward()
    assert net[1].weight.grad is not None
    copied.grad = net[1].weight.grad.clone()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    made.step()
    alone.step()
    assert torch.equal(net[1].weight, copied)
    assert not any(torch.equal(p, before[name]) for name, p in net.named_parameters())
    with pytest.raises(UsageError, match="the model has no matrix between its first and its last layer"):
        build("muon", list(nn.Linear(3, 2).parameters()), 0.1, 0.0)


# -- schedule-free --------------------------------------------------------------------------------------------------


def test_schedule_free_steps_are_those_of_the_paper() -> None:
    """Algorithm 1 of arXiv:2405.15682, with x, y and z apart, in float64."""
    y = nn.Parameter(torch.linspace(-1, 2, 6, dtype=torch.float64).reshape(2, 3))
    made = ScheduleFree([y], weight_decay=0.1)
    x, z, square, weights = y.detach().clone(), y.detach().clone(), torch.zeros_like(y), 0.0
    for step, rate in enumerate([0.0, 0.01, 0.02, 0.02, 0.02], 1):
        expected = 0.1 * z + 0.9 * x
        assert torch.allclose(y, expected, rtol=0, atol=1e-14)
        y.grad = expected.sin()
        square = 0.999 * square + 0.001 * y.grad.square()
        weights += rate**2
        share = rate**2 / (weights or 1)
        z = z - rate * (y.grad / ((square / (1 - 0.999**step)).sqrt() + 1e-8) + 0.1 * expected)
        x = (1 - share) * x + share * z
        made.param_groups[0]["lr"] = rate
        made.step()
    made.average()
    assert torch.allclose(y, x, rtol=0, atol=1e-14) and not torch.allclose(x, z, rtol=0, atol=1e-4)


@pytest.mark.parametrize("step", [7, 10, 18])
def test_schedule_free_is_evaluated_and_kept_as_its_mean_and_resumes_bit_identically(step: int, tmp_path: Path) -> None:
    """Four epochs of five steps, with batch normalisation, whose statistics the mean has of its own."""
    first = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.2))
    net = nn.Sequential(first, nn.Linear(144, 10))

    class Seen(Technique):
        name = "seen"

        def on_evaluation(self, objective: Any, starts: bool) -> None:
            evaluated.append(copy.deepcopy(objective.model.state_dict()))

        def on_step_end(self, objective: Any, step: int) -> None:
            learning.append(copy.deepcopy(objective.model.state_dict()))

    def training(folder: str, stop: int | None = None, **settings: Any) -> Trainer:
        objective = Supervised(copy.deepcopy(net), stored()[0].fields["y"])
        return trainer(objective, tmp_path / folder, techniques=[Seen(), Stop(stop)], epochs=4, keep="last",
                       optimizer="schedulefree", checkpoint_minutes=0, **settings)  # fmt: skip

    evaluated: list[Any] = []
    learning: list[Any] = []
    whole = training("whole")
    whole.fit()
    optimizer = whole.updates.optimizers["train"]
    assert isinstance(optimizer, ScheduleFree)
    named = {id(p): name for name, p in whole.objective.model.named_parameters()}
    for p, state in optimizer.state.items():
        y, x = (seen[named[id(p)]] for seen in (learning[-1], evaluated[-1]))
        assert torch.allclose(0.1 * state["z"] + 0.9 * x, y, atol=1e-6) and not torch.equal(x, y)
    assert identical(weights(whole), evaluated[-1]), "the mean is what the run ends with"
    assert not torch.equal(evaluated[-1]["0.1.running_mean"], learning[-1]["0.1.running_mean"])
    assert whole.history[-1]["valid"] == whole.processes.evaluate(
        whole.objective, whole.engine, whole.valid, whole.prepare, whole.reporter, Interrupts()
    )
    unmeasured = training("unmeasured")
    unmeasured.valid = None
    unmeasured.fit()
    assert identical(weights(whole), weights(unmeasured)), "steps go on from where they were"
    with pytest.raises(Stopped):
        training("run", step).fit()
    resumed = training("run")
    resumed.fit(resume=True)
    assert identical(weights(whole), weights(resumed)) and whole.state == resumed.state


# -- another optimiser from an epoch on -----------------------------------------------------------------------------

THEN: dict[str, Any] = {"epoch": 3, "optimizer": "sgd", "learning_rate": 0.05}


@pytest.mark.parametrize(("optimizer", "step"), [("adam", 4), ("adam", 10), ("adam", 17), ("muon", 7), ("muon", 11)])
def test_a_switch_resumes_bit_identically_before_and_after_it(optimizer: str, step: int, tmp_path: Path) -> None:
    """Four epochs of five steps: the switch is after the tenth."""
    first = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 16), nn.Dropout(0.2))
    net = nn.Sequential(first, nn.Linear(16, 10))

    def training(folder: str, stop: int | None = None) -> Trainer:
        objective = Supervised(copy.deepcopy(net), stored()[0].fields["y"])
        return trainer(
            objective, tmp_path / folder, techniques=[Stop(stop)], epochs=4, optimizer=optimizer, then=THEN,
            checkpoint_minutes=0,
        )  # fmt: skip

    whole = training("whole")
    whole.fit()
    assert isinstance(whole.updates.optimizers["train"], torch.optim.SGD)
    with pytest.raises(Stopped):
        training("run", step).fit()
    resumed = training("run")
    resumed.fit(resume=True)
    assert identical(weights(whole), weights(resumed)) and whole.state == resumed.state


def test_until_the_switch_it_is_the_training_without_one() -> None:
    class After(Technique):
        name = "after"

        def on_epoch_end(self, epoch: int, metrics: dict[str, float]) -> None:
            seen.append(weights(training))

    seen: list[Any] = []
    for then in ({}, THEN):
        training = trainer(techniques=[After()], epochs=4, then=then)
        training.fit()
    assert [identical(a, b) for a, b in zip(seen[:4], seen[4:], strict=True)] == [True, True, False, False]


@pytest.mark.parametrize(
    ("then", "message"),
    [
        ({"optimizer": "sgd"}, "then.epoch=None does not fit; expected the epoch that it begins with, from 2 on"),
        ({"epoch": 9}, "then.epoch=9 does not fit; expected one of the 4 epochs"),
        ({"epoch": 2, "optimiser": "sgd"}, "then has no setting 'optimiser'; did you mean 'optimizer'?"),
        ({"epoch": 2, "learning_rate": -1}, "learning_rate=-1 does not fit"),
    ],
)
def test_a_switch_that_does_not_fit_is_told(then: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        Settings(epochs=4, then=then)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("adanw", {}, "no optimiser is called 'adanw'; did you mean 'adam"),
        ("lbfgs", {}, r"no optimiser is called 'lbfgs' here: it looks at the loss of all rows .*; take adamw, or sgd"),
        ("torch.optim.Adan", {}, r"there is no optimiser 'torch.optim.Adan' .*expected module.Class"),
        ("torch.nn.Linear", {}, r"'torch.nn.Linear' is no optimiser; expected a class derived from"),
        ("muon", {"momentun": 0.9}, "Muon takes no argument 'momentun'; did you mean 'momentum'"),
        ("adamw", {"beta": (0.9, 0.99)}, "AdamW takes no argument 'beta'; did you mean 'betas'"),
        ("adamw", {"lr": 0.1}, "'lr' is no option of the optimiser; set learning_rate instead"),
        ("adamw", {"weight_decay": 0.1}, "set weight_decay instead"),
    ],
)
def test_what_does_not_exist_names_the_nearest(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(name, list(model().parameters()), 0.1, 0.0, options=options)


# -- schedules ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("one_cycle", {0.0: 0.04, 0.125: 0.52, 0.25: 1.0, 0.625: 0.50005, 1.0: 1e-4}),
        ("cosine", {0.0: 1.0, 0.5: 0.5, 1.0: 0.0}),
        ("cosine_restarts", {0.0: 1.0, 1 / 14: 0.5, 1 / 7: 1.0, 2 / 7: 0.5, 3 / 7: 1.0, 5 / 7: 0.5, 1.0: 0.0}),
        ({"name": "cosine_restarts", "cycles": 2, "multiplier": 1}, {0.25: 0.5, 0.5: 1.0, 0.75: 0.5, 1.0: 0.0}),
        ("step", {0.0: 1.0, 0.33: 1.0, 1 / 3: 0.1, 0.7: 0.01}),
        ({"name": "step", "every": 0.5, "factor": 0.5}, {0.49: 1.0, 0.5: 0.5, 0.99: 0.5}),
        ("exponential", {0.0: 1.0, 0.5: 0.1, 1.0: 0.01}),
        ("wsd", {0.0: 0.0, 0.025: 0.5, 0.05: 1.0, 0.8: 1.0, 0.9: 0.5, 1.0: 0.0}),
        ({"name": "one_cycle", "warmup": 0.5}, {0.25: 0.52, 0.5: 1.0}),
        ("cosine warmup=0.2", {0.0: 0.0, 0.1: 0.5, 0.2: 1.0, 0.6: 0.5, 1.0: 0.0}),
        ("plateau warmup=0.5", {0.0: 0.0, 0.25: 0.5, 0.5: 1.0, 1.0: 1.0}),
        ("linear", {0.0: 1.0, 0.3: 0.7, 1.0: 0.0}),
        ("constant", {0.0: 1.0, 0.7: 1.0, 1.0: 1.0}),
    ],
)
def test_schedules_pass_through_their_known_points(name: Any, values: dict[float, float]) -> None:
    for done, factor in values.items():
        assert schedule.named(name)(done) == pytest.approx(factor, abs=1e-9)


@pytest.mark.parametrize("warmup", [0.1, 0.25, 0.9])
def test_one_cycle_peaks_at_the_end_of_its_warm_up(warmup: float) -> None:
    rates = [schedule.named("one_cycle", warmup)(i / 1000) for i in range(1001)]
    assert rates.index(max(rates)) == round(1000 * warmup) and max(rates) == pytest.approx(1.0)


def test_unknown_schedules_name_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'one_cycle'"):
        schedule.named("onecycle")
    with pytest.raises(UsageError, match="the schedule step has no setting 'evry'; did you mean 'every'"):
        schedule.named({"name": "step", "evry": 0.5})


@pytest.mark.parametrize(
    "asked", ["plateau patience=0 factor=0.5", lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, "max", 0.5, 0)]
)
def test_a_plateau_lowers_the_rate_and_resumes_bit_identically(asked: Any, tmp_path: Path) -> None:
    def training(folder: str, stop: int | None = None) -> Trainer:
        given = {"schedule": asked} if isinstance(asked, str) else {}
        made = trainer(folder=tmp_path / folder, techniques=[Stop(stop)], epochs=8, learning_rate=0.3, log_every=1,
                       checkpoint_minutes=0, **given)  # fmt: skip
        made.own = OwnSteps(schedule=None if isinstance(asked, str) else asked)
        return made

    whole = training("whole")
    whole.fit()
    scores = [line["valid"]["accuracy"] for line in whole.history]
    rates = {line["epoch"]: line["learning_rate"] for line in whole.log.lines if "learning_rate" in line}
    expected, best = 0.3, -1.0
    for epoch, score in enumerate(scores, 1):
        assert rates[epoch] == pytest.approx(expected)
        expected, best = expected * (1.0 if score > best else 0.5), max(score, best)
    assert rates[8] < 0.3, "it did fall"
    for stop in (12, 31):
        with pytest.raises(Stopped):
            training(f"run{stop}", stop).fit()
        resumed = training(f"run{stop}")
        resumed.fit(resume=True)
        assert identical(weights(whole), weights(resumed))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("cosine warmup=2", "warmup=2 does not fit; expected a share above 0 and below 1"),
        ("step every=0", "every=0 of the schedule step does not fit; expected a share above 0"),
        ("wsd decay=3", "decay=3 of the schedule wsd does not fit; expected a share"),
        ("exponential end=-1", "end=-1 of the schedule exponential does not fit"),
        ("cosine_restarts multiplier=0", "multiplier=0 of the schedule cosine_restarts does not fit"),
        ("plateau factor=3", "the schedule plateau does not take patience=2, factor=3"),
        ("plateau patients=1", "the schedule plateau has no setting 'patients'; did you mean 'patience'"),
    ],
)
def test_a_warm_up_or_a_plateau_that_does_not_fit_is_told(asked: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        schedule.named(asked)


@pytest.mark.parametrize("options", [{"momentum": "much"}, {"momentum": -1}, {"nesterov": True, "dampening": 1}])
def test_what_an_optimiser_refuses_is_told(options: dict[str, object]) -> None:
    parameters = [torch.nn.Parameter(torch.zeros(2, 2))]
    with pytest.raises(UsageError, match=f"SGD does not take {next(iter(options))}="):
        optimizers.build("sgd", parameters, 0.1, 0.0, options=options)


def test_a_training_follows_its_schedule() -> None:
    from small import trainer

    training = trainer(schedule="one_cycle", warmup=0.5, log_every=1, learning_rate=0.02)
    training.fit()
    rates = [line["learning_rate"] for line in training.log.lines if "learning_rate" in line]
    assert rates == pytest.approx([0.02 * schedule.one_cycle(i / 10, warmup=0.5) for i in range(10)])
    training = trainer(schedule={"name": "step", "every": 0.5}, log_every=1, learning_rate=0.02)
    training.fit()
    assert training.updates.learning_rate == pytest.approx(0.002)


# -- settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value"),
    [("epochs", 0), ("batch_size", 0), ("accumulate", 0), ("log_every", 0), ("max_tokens", -1), ("learning_rate", 0.0),
     ("backbone_lr_scale", -0.1), ("keep", "first"), ("warmup", 0.0), ("warmup", 1.0)],
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused(setting: str, value: Any) -> None:
    with pytest.raises(UsageError, match=rf"{setting}='?{value}'? does not fit; expected"):
        Settings(**{setting: value})


def test_every_named_optimiser_is_one_of_torch() -> None:
    assert {"adamw", "sgd", "adam", "rmsprop"} <= set(optimizers.known())
