"""Phases of an objective: each with its optimiser, its schedule and its turns, to the last bit after a resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from gan import GAN
from small import Stop, Stopped, identical, trainer, weights

from flambeau.core.errors import UsageError
from flambeau.techniques import Step, Technique


class Rates(Technique):
    """Notes the class of each phase's optimiser and its rate, by step."""

    name = "rates"

    def __init__(self) -> None:
        self.seen: dict[str, dict[int, float]] = {"discriminator": {}, "generator": {}}
        self.kinds: set[tuple[str, str]] = set()

    def on_gradients(self, step: Step) -> None:
        self.seen[step.phase][step.number] = step.optimizer.param_groups[0]["lr"]
        self.kinds.add((step.phase, type(step.optimizer).__name__))


OWN: dict[str, Any] = {
    "generator": {"every": 3, "learning_rate": 0.02, "schedule": "linear", "optimizer": "adam"},
    "discriminator": {"optimizer": "sgd", "optimizer_options": {"momentum": 0.5, "nesterov": False}},
}


def test_each_phase_has_its_own_turns_optimizer_rate_and_schedule() -> None:
    rates = Rates()
    training = trainer(GAN(), techniques=[rates], phases=OWN, schedule="constant", learning_rate=0.01)
    training.fit()
    steps = training.state.step
    assert rates.kinds == {("discriminator", "SGD"), ("generator", "Adam")}
    assert rates.seen["discriminator"] == dict.fromkeys(range(steps), 0.01)
    assert rates.seen["generator"] == pytest.approx({i: 0.02 * (1 - i / steps) for i in range(0, steps, 3)})


@pytest.mark.parametrize("step", [4, 5, 6])
def test_a_training_killed_in_the_middle_of_a_cycle_ends_with_the_same_weights(step: int, tmp_path: Path) -> None:
    options: dict[str, Any] = {"keep": "last", "checkpoint_minutes": 0, "phases": OWN}
    whole = trainer(GAN(), techniques=[Stop()], **options)
    whole.fit()
    with pytest.raises(Stopped):
        trainer(GAN(), folder=tmp_path, techniques=[Stop(step)], **options).fit()
    resumed = trainer(GAN(seed=5), folder=tmp_path, techniques=[Stop()], **options)
    resumed.fit(resume=True)
    assert identical(weights(whole), weights(resumed))


class Measures(GAN):
    """Says what each phase has measured."""

    def __init__(self) -> None:
        super().__init__()
        self.sums: dict[str, list[torch.Tensor]] = {"discriminator/loss": [], "generator/loss": []}

    def loss(self, batch: Any, phase: str) -> torch.Tensor:
        loss = super().loss(batch, phase)
        self.sums[f"{phase}/loss"].append(loss.detach())
        return loss

    def figures(self) -> dict[str, float]:
        means = {name: float(torch.stack(values).mean()) for name, values in self.sums.items()}
        for values in self.sums.values():
            values.clear()
        return means


def test_what_phases_measure_is_written_beside_the_losses(tmp_path: Path) -> None:
    training = trainer(Measures(), folder=tmp_path, log_every=5)
    training.fit()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    by_step = {line["step"]: line["figures"] for line in lines if "figures" in line}
    assert [*by_step] == [5, 10]
    losses = {line["step"]: line["loss"] for line in lines if "loss" in line}
    for step, figures in by_step.items():
        assert sum(figures.values()) / 2 == pytest.approx(losses[step], rel=1e-5)


def test_a_phase_cannot_follow_a_plateau_alone() -> None:
    phases = {"generator": {"schedule": "plateau"}}
    with pytest.raises(UsageError, match="plateau follows what all phases reach, and is set for generator alone"):
        trainer(GAN(), phases=phases).fit()
