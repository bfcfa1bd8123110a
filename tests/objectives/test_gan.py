"""An objective of two phases goes through the Trainer as one of one phase does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from gan import GAN
from small import Stop, Stopped, digits, identical, stored, terminated_at, trainer, weights
from torch import Tensor

import flambeau as fb
from flambeau.objectives import Objective
from flambeau.techniques import Step, Technique
from flambeau.training import Interrupted


class Watch(Technique):
    """Notes which parts of the model each phase has changed, and with which gradients."""

    name = "watch"

    def __init__(self) -> None:
        self.changed: list[set[str]] = []
        self.foreign_gradients = 0

    def on_fit_start(self, objective: Objective) -> None:
        self.objective = objective
        self.before = self.snapshot()

    def snapshot(self) -> dict[str, Tensor]:
        return {k: v.detach().clone() for k, v in self.objective.model.state_dict().items()}

    def note(self) -> None:
        now = self.snapshot()
        self.changed.append({k.split(".")[0] for k in now if not torch.equal(now[k], self.before[k])})
        self.before = now

    def on_gradients(self, step: Step) -> None:
        self.note()

    def on_step_end(self, objective: Objective, step: int) -> None:
        self.note()


def test_each_phase_updates_its_own_parameters_alone() -> None:
    watch = Watch()
    training = trainer(GAN(), techniques=[watch])
    training.fit()
    # before the discriminator's step nothing has changed since the step before, then it has, then the generator
    assert watch.changed == [set(), {"discriminator"}, {"generator"}] * training.state.step
    assert training.state.step == 10


def test_it_trains_as_a_loop_written_by_hand() -> None:
    """To the last bit: no gradient of one phase reaches the other's step."""
    training = trainer(GAN(), epochs=3, schedule="constant", weight_decay=0.0, keep="last")
    start = torch.get_rng_state()
    training.fit()

    from flambeau.core.randomness import mix

    by_hand = GAN()
    torch.set_rng_state(start)
    torch.manual_seed(mix(0, "dropout"))
    optimizers = {
        p: torch.optim.AdamW(by_hand.parameters(p), lr=0.01, weight_decay=0.0, fused=True) for p in by_hand.phases
    }
    by_hand.model.train()
    for epoch in range(3):
        by_hand.model.train()
        for rows, gathered in training.train.epoch(epoch):
            batch = training.prepare(rows, gathered, True, None)
            for phase in by_hand.phases:
                loss = by_hand.loss(batch, phase)
                by_hand.model.zero_grad()
                loss.backward()
                optimizers[phase].step()
    for name, value in weights(by_hand.model).items():
        torch.testing.assert_close(value, weights(training)[name], rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("step", [3, 5, 8])
@pytest.mark.parametrize("how", ["SIGTERM", "crash"])
def test_it_resumes_bit_identically(step: int, how: str, tmp_path: Path) -> None:
    whole = trainer(GAN(), techniques=[Stop()], folder=tmp_path / "whole", keep="last")
    whole.fit()
    stop = terminated_at(step) if how == "SIGTERM" else Stop(step)
    options: dict[str, Any] = {"folder": tmp_path / "run", "keep": "last", "checkpoint_minutes": 0}
    with pytest.raises(Interrupted if how == "SIGTERM" else Stopped):
        trainer(GAN(), techniques=[stop], **options).fit()
    resumed = trainer(GAN(seed=5), techniques=[Stop()], **options)
    resumed.fit(resume=True)
    assert identical(weights(whole), weights(resumed))
    assert [h["valid"] for h in whole.history] == [h["valid"] for h in resumed.history]


def test_accumulated_steps_do_both_phases_on_every_batch() -> None:
    training = trainer(GAN(), batch_size=8, accumulate=4, techniques=[watch := Watch()])
    training.fit()
    assert training.state.step == 10
    assert watch.changed == [set(), {"discriminator"}, {"generator"}] * 10


def test_it_learns_to_paint_digits() -> None:
    """The average of what it paints comes to lie at less than half the distance from the average digit."""
    objective = GAN()
    training = trainer(objective, epochs=60, batch_size=16, learning_rate=4e-3, schedule="constant", keep="last")
    rows = torch.arange(200)
    real = training.prepare(rows, stored()[1].gather(rows), False, None).input

    def distance() -> float:
        with torch.no_grad():
            return float((objective.generate(objective.fixed[:200]).mean(0) - real.mean(0)).abs().mean())

    before = distance()
    training.fit()
    assert distance() < before / 2


def test_the_learner_takes_it_on_data_without_a_target(tmp_path: Path) -> None:
    def learner(run: str, stop: Stop) -> fb.Learner:
        data = fb.Dataset.from_arrays(digits()[0], split="random")
        return fb.Learner(
            data, objective=GAN(), techniques=[stop], run=tmp_path / run, quiet=True, epochs=2, batch_size=32,
            augment="none", cache=tmp_path / "cache",
        )  # fmt: skip

    whole = learner("whole", Stop())
    metrics = whole.fit(check=False)
    assert set(metrics) == {"loss", "brightness"}
    with pytest.raises(Interrupted):
        learner("run", terminated_at(7)).fit(check=False)
    resumed = learner("run", Stop())
    assert resumed.fit(resume=True, check=False) == metrics
    assert identical(weights(whole.objective.model), weights(resumed.objective.model))
    assert fb.Run.open(tmp_path / "run").evaluation["detail"]["kind"] == "pictures"
