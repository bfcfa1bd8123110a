"""The learning-rate finder: on a copy, by the training's own steps, and what its curve suggests."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import CPU, Stop, Stopped, digits, identical, network, trainer, weights
from torch import nn

import flambeau as fb
from flambeau.core.errors import TrainingError, UsageError
from flambeau.report import rates
from flambeau.run import Run
from flambeau.techniques import EMA, Clip, Mixup
from flambeau.training import RateCurve, Trainer, find_lr
from flambeau.training.engine import Engine
from flambeau.training.find_lr import smooth, valley


def search(training: Trainer, **options: Any) -> RateCurve:
    return find_lr.find(
        training.objective, training.engine, training.settings, train=training.train, prepare=training.prepare,
        random=training.random, techniques=[*training.techniques.values()], own=training.own, **options,
    )  # fmt: skip


def random_states() -> tuple[Any, ...]:
    return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()


def test_a_training_after_a_search_is_the_training_without_one() -> None:
    plain = trainer(techniques=[Mixup(), EMA()])
    plain.fit()
    searched = trainer(techniques=[Mixup(), EMA()])
    before, states = weights(searched), random_states()
    curve = search(searched)
    assert identical(before, weights(searched)) and random_states() == states
    assert 1e-5 < curve.suggestion < 1
    searched.fit()
    assert identical(weights(plain), weights(searched)) and plain.state == searched.state


def test_it_tries_each_rate_once_and_ends_where_the_loss_diverges() -> None:
    curve = search(trainer(optimizer="sgd"), start=1e-4, end=1e4, steps=60)
    assert curve.diverged and len(curve.losses) < 60
    expected = [1e-4 * 1e8 ** (i / 59) for i in range(len(curve.rates))]
    assert curve.rates == pytest.approx(expected)
    short = search(trainer(), start=1e-4, end=1e-2, steps=20)
    assert not short.diverged and short.rates[-1] == pytest.approx(1e-2) and len(short.rates) == 20
    assert search(trainer(), start=1e-4, end=1e-2, steps=20) == short, "the same each time"


def test_the_rates_are_those_that_the_optimiser_has() -> None:
    seen = []

    class Seen(fb.Technique):
        name = "seen"

        def on_gradients(self, step: Any) -> None:
            seen.append([group["lr"] for group in step.optimizer.param_groups])

        def __deepcopy__(self, memo: Any) -> Seen:
            return self

    curve = search(trainer(techniques=[Seen()]), start=1e-4, end=1e-2, steps=12)
    assert seen == [[pytest.approx(rate)] * len(groups) for rate, groups in zip(curve.rates, seen, strict=True)]


@pytest.mark.parametrize("precision", ["bf16", "float16"])
def test_it_goes_by_the_precision_of_the_training(precision: str) -> None:
    training = trainer(techniques=[Clip()], accumulate=2)
    training.engine = Engine(CPU, torch.bfloat16 if precision == "bf16" else torch.float16)
    assert search(training, start=1e-4, steps=30).suggestion > 1e-4


def test_several_phases_have_the_same_rate() -> None:
    from gan import GAN

    training = trainer(GAN(), phases={"generator": {"learning_rate": 1e-4}})
    curve = search(training, start=1e-5, end=1e-2, steps=15)
    assert len(curve.rates) >= 10 and all(map(math.isfinite, curve.losses))


def test_suggestions_of_a_curve_that_is_known() -> None:
    """Level, a straight fall over the logarithm of the rate, a rise."""
    losses = [2.0] * 30 + [2.0 - 0.05 * i for i in range(30)] + [0.5 + 0.2 * i for i in range(20)]
    made = [1e-6 * 1.2**i for i in range(80)]
    curve = RateCurve.of(made, losses, True)
    assert made[50] <= curve.suggestion <= made[60] and made[30] <= curve.steepest <= made[60]
    assert valley([3, 2, 1]) == 2 and smooth([1.0] * 9) == pytest.approx([1.0] * 9)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"start": 1.0, "end": 0.1}, UsageError, "rates from 1 to 0.1 do not fit; expected start above"),
        ({"steps": 3}, UsageError, "steps=3 does not fit; expected 10 or more"),
        ({"start": 1e3, "end": 1e9}, TrainingError, "the loss (falls at no learning rate|diverges at)"),
    ],
)
def test_what_does_not_fit_is_told_in_a_line(options: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message) as told:
        search(trainer(optimizer="sgd"), **options)
    assert "\n" not in str(told.value)


def test_a_model_that_cannot_be_copied_is_told() -> None:
    training = trainer()
    training.objective.lock = __import__("threading").Lock()
    with pytest.raises(UsageError, match=r"the model cannot be copied to look for a learning rate .*; give"):
        search(training)


# -- of a Learner -------------------------------------------------------------------------------------------------


def learner(run: Any = False, **settings: Any) -> fb.Learner:
    data = fb.Dataset.from_arrays(*digits())
    return fb.Learner(data, network(), run=run, quiet=True, epochs=2, baseline=False, **settings)


def test_a_training_that_finds_its_rate_says_so_and_draws_how(tmp_path: Path) -> None:
    trained = learner(tmp_path / "run", learning_rate="find")
    trained.fit(check=False)
    run, curve = Run.open(tmp_path / "run"), RateCurve.of_run(tmp_path / "run")
    assert curve is not None and curve == learner().find_lr()
    assert run.recipe.training.learning_rate == curve.suggestion
    assert any(f"learning_rate {curve.suggestion:g}: found in" in reason for reason in run.recipe.reasons)
    plain = learner(learning_rate=curve.suggestion)
    plain.fit(check=False)
    assert identical(weights(trained.objective.model), weights(plain.objective.model))
    from flambeau import report

    for language, title in (("en", "The search for the learning rate"), ("zh-CN", "寻找学习率")):
        assert title in report.build(run, language=language)


def test_a_resume_keeps_the_rate_that_was_found(tmp_path: Path) -> None:
    class Killed(Stop):
        """By its step of the training: on the copy that is searched on it is not."""

        def __deepcopy__(self, memo: Any) -> Stop:
            return Stop()

    whole = learner(tmp_path / "whole", learning_rate="find", techniques=[Stop()])
    whole.fit(check=False)
    with pytest.raises(Stopped):
        learner(tmp_path / "run", learning_rate="find", techniques=[Killed(9)], checkpoint_minutes=0).fit(check=False)
    kept = Run.open(tmp_path / "run").recipe.training.learning_rate
    resumed = learner(tmp_path / "run", learning_rate="find", techniques=[Stop()])
    resumed.fit(check=False, resume=True)
    assert resumed.recipe.training.learning_rate == kept == whole.recipe.training.learning_rate
    assert identical(weights(whole.objective.model), weights(resumed.objective.model))


def test_a_plan_says_that_the_rate_will_be_looked_for() -> None:
    planned = learner(learning_rate="find").plan()
    (decision,) = (d for d in planned.decisions if d.name == "training.learning_rate")
    assert decision.later and "looked for" in decision.why


def test_an_own_optimiser_can_be_searched_with_but_decides_its_rate() -> None:
    def sgd(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=0.05)

    assert learner(optimizer=sgd).find_lr(start=1e-3, steps=20).suggestion > 1e-3
    with pytest.raises(UsageError, match="learning_rate=find, and your own optimiser decides its rate"):
        learner(optimizer=sgd, learning_rate="find").fit(check=False)


def test_texts_of_different_lengths_under_a_budget_of_tokens() -> None:
    texts = ["good " * (1 + i % 7) if i % 2 else "bad " * (1 + i % 5) for i in range(200)]
    data = fb.Dataset.from_arrays(texts, ["yes" if i % 2 else "no" for i in range(200)])
    made = fb.Learner(data, run=False, quiet=True, max_tokens=64, epochs=1)
    assert len(made.find_lr(steps=40).rates) >= 10


def test_a_figure_is_drawn_by_its_ending(tmp_path: Path) -> None:
    from PIL import Image

    curve = search(trainer())
    svg = rates.save(curve, tmp_path / "curve.svg").read_text()
    assert svg.startswith("<svg xmlns=") and f"{curve.suggestion:.4g}" in svg
    with Image.open(rates.save(curve, tmp_path / "curve.png")) as image:
        assert image.size == (960, 560) and len(image.getcolors(1 << 16) or ()) > 4
    with pytest.raises(UsageError, match=r"a figure is not drawn into 'curve.txt'; expected"):
        rates.save(curve, tmp_path / "curve.txt")


def test_a_loss_that_never_falls_is_told() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    data = fb.Dataset.from_arrays(*digits())
    constant = fb.Learner(data, model, loss=lambda output, target: output.sum() * 0 + 1, run=False, quiet=True)
    with pytest.raises(TrainingError, match="the loss falls at no learning rate between 1e-06 and 10"):
        constant.find_lr(steps=12)
