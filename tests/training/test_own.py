"""An optimiser and a schedule of one's own: made by a function, so that a resume can make them again."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from small import Stop, Stopped, digits, identical, network, weights
from torch import nn
from torch.optim import SGD, lr_scheduler
from torch.utils.data import TensorDataset

import flambeau as fb
from flambeau.core.errors import UsageError
from flambeau.training.own import OwnSteps

X, Y = (torch.as_tensor(part) for part in digits())
DATA = TensorDataset(X[:96].float(), Y[:96])


def learner(run: Any = False, stop: int | None = None, **settings: Any) -> fb.Learner:
    options: dict[str, Any] = {"epochs": 3, "batch_size": 32, "quiet": True, "keep": "last", "schedule": "constant"}
    return fb.Learner(
        DATA, network(), loss=nn.CrossEntropyLoss(), run=run, techniques=[Stop(stop)], **options | settings
    )


def momentum(parameters: Any) -> SGD:
    return SGD(parameters, lr=0.05, momentum=0.9)


def test_an_own_optimiser_takes_the_steps_that_it_would_take_alone() -> None:
    trained = learner(optimizer=momentum)
    trained.fit()
    assert trained.recipe.training.learning_rate == 0.05
    assert trained.recipe.own_parts["optimizer"].endswith("momentum")
    named = learner(optimizer="sgd", learning_rate=0.05, weight_decay=0.0, optimizer_options={"nesterov": False})
    named.fit()
    for key, value in weights(named.objective.model).items():
        torch.testing.assert_close(value, weights(trained.objective.model)[key], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("given", [momentum, functools.partial(SGD, lr=0.05, momentum=0.9), lambda p: momentum(p)])
def test_an_own_optimiser_and_schedule_resume_bit_identically(given: Any, tmp_path: Path) -> None:
    own: dict[str, Any] = {
        "optimizer": given,
        "schedule": functools.partial(lr_scheduler.StepLR, step_size=1, gamma=0.3),
    }
    whole = learner(tmp_path / "whole", **own)
    whole.fit()
    with pytest.raises(Stopped):
        learner(tmp_path / "run", stop=5, checkpoint_minutes=0, **own).fit()
    resumed = learner(tmp_path / "run", **own)
    resumed.fit(resume=True)
    assert identical(weights(whole.objective.model), weights(resumed.objective.model))


def test_a_class_of_torch_is_its_name() -> None:
    settings: dict[str, Any] = {"optimizer": torch.optim.RMSprop}
    assert OwnSteps.taken_from(settings).optimizer is None and settings == {"optimizer": "rmsprop"}
    settings = {"optimizer": SGD, "schedule": "cosine"}
    assert OwnSteps.taken_from(settings) == OwnSteps() and settings["optimizer"] == "sgd"


@pytest.mark.parametrize(
    ("given", "factors"),
    [
        (lambda o: lr_scheduler.StepLR(o, 2, gamma=0.1), [1, 1, 1, 1, 0.1, 0.1]),
        (
            functools.partial(lr_scheduler.LambdaLR, lr_lambda=lambda epoch: 1 / (1 + epoch)),
            [1, 1, 1 / 2, 1 / 2, 1 / 3],
        ),
        (lambda done: 1 - done, [1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
    ],
)
def test_a_schedule_is_the_factors_that_it_gives(given: Any, factors: list[float]) -> None:
    rate = OwnSteps(schedule=given).schedule_of(SGD([torch.zeros(1)], lr=0.3), 3, 2)
    assert [rate(step / 6) for step in range(len(factors))] == pytest.approx(factors)


def test_one_cycle_of_torch_goes_by_steps() -> None:
    alone = SGD([torch.zeros(1)], lr=0.3, momentum=0.9)
    scheduler = lr_scheduler.OneCycleLR(alone, max_lr=0.3, total_steps=6)
    expected = []
    for _ in range(6):
        expected.append(alone.param_groups[0]["lr"])
        alone.step()
        if len(expected) < 6:
            scheduler.step()
    given = functools.partial(lr_scheduler.OneCycleLR, max_lr=0.3, total_steps=6)
    rate = OwnSteps(schedule=given).schedule_of(SGD([torch.zeros(1)], lr=0.3), 3, 2)
    assert [0.3 * rate(step / 6) for step in range(6)] == pytest.approx(expected)


MODEL = network()
MADE = SGD(MODEL.parameters(), lr=0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": MADE}, r"the SGD that is given .*optimizer='sgd'.*torch.optim.SGD\(parameters, lr=0.1\)"),
        ({"schedule": lr_scheduler.StepLR(MADE, 3)}, r"the StepLR that is given as schedule= .*StepLR\(optimizer, …\)"),
        ({"optimizer": lambda parameters: MADE}, r"an optimiser of other parameters than the model's"),
        ({"optimizer": lambda parameters: None}, r"optimizer= gives None; expected an optimiser of torch.optim"),
        ({"optimizer": lambda parameters: SGD(parameters, rate=3)}, r"optimizer= fails with TypeError: .*'rate'"),
        ({"optimizer": torch.optim.LBFGS}, r"no optimiser is called 'lbfgs'"),
        (
            {"optimizer": momentum, "phases": {"train": {"learning_rate": 0.1}}},
            r"training.phases.train sets learning_rate, which your own optimiser decides; leave it out",
        ),
        (
            {"optimizer": momentum, "phases": {"train": {"every": 2}}},
            r"no phase is updated in each step; leave every=1 to one of them",
        ),
        ({"optimizer": 3}, r"training.optimizer=3 does not fit"),
        ({"schedule": lambda o: lr_scheduler.StepLR(o)}, r"schedule= fails with TypeError"),
        ({"scheduler": lr_scheduler.StepLR(MADE, 3)}, r"there is no setting 'scheduler'; did you mean 'schedule'\?"),
    ],
)
def test_what_is_no_optimiser_or_schedule_is_told_in_a_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as told:
        learner(**settings).fit(check=False)
    assert "\n" not in str(told.value)


class Rates(fb.Technique):
    """The first layer learns nothing, the second at a tenth of the rate."""

    name = "rates"

    def on_rates(self, objective: fb.Objective, rates: dict[nn.Parameter, float]) -> None:
        first, second = (m for m in objective.model.modules() if isinstance(m, nn.Linear))
        rates |= dict.fromkeys(first.parameters(), 0.0) | dict.fromkeys(second.parameters(), 0.1)


def test_an_own_optimiser_takes_shares_of_its_rate() -> None:
    start, trained = weights(network()), learner(optimizer=momentum)
    trained.own_techniques["rates"] = Rates()
    trained.fit()
    groups = trained.trainer.updates.optimizers["train"].param_groups  # type: ignore[union-attr]
    assert [group["lr"] for group in groups] == pytest.approx([0.0, 0.005])
    end = weights(trained.objective.model)
    assert {name for name in start if torch.equal(start[name], end[name])} == {"1.weight", "1.bias"}


def test_a_frozen_model_is_told() -> None:
    frozen = network()
    frozen.requires_grad_(False)
    for settings in ({}, {"optimizer": momentum}):
        with pytest.raises(UsageError, match="no parameter is left to train; unfreeze some"):
            fb.Learner(DATA, frozen, loss=nn.CrossEntropyLoss(), run=False, quiet=True, epochs=1, **settings).fit()
