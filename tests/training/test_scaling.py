"""float16: the loss is scaled, and updates that overflow are left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from gan import GAN
from torch import Tensor

from flambeau.core.errors import TrainingError
from flambeau.data.batch import Batch
from flambeau.objectives import Objective, Supervised
from flambeau.techniques import Clip, Step, Technique
from flambeau.testing.small import Stop, fit_until_stopped, identical, network, stored, trainer, weights
from flambeau.training import Trainer, checkpoint, engine
from flambeau.training.engine import Engine
from flambeau.training.scaling import STEADY, LossScale


class Steep(Supervised):
    """Its gradients overflow in float16 until the scale has become smaller."""

    def loss(self, batch: Batch, phase: str = "train") -> Tensor:
        return super().loss(batch, phase) * 3000


class Watch(Technique):
    """What techniques see of gradients, and a second pass."""

    name = "watch"

    def __init__(self, again: bool = False):
        self.again, self.norms = again, []

    def on_gradients(self, step: Step) -> None:
        if self.again:
            step.again()
        if step.finite:
            self.norms.append(max(float(p.grad.abs().max()) for p in step.parameters if p.grad is not None))


def in_float16(objective: Objective | None = None, folder: Path | None = None, **options: Any) -> Trainer:
    training = trainer(objective or Supervised(network(), stored()[0].fields["y"]), folder, **options)
    training.engine = Engine(autocast_dtype=torch.float16)
    return training


def steep() -> Steep:
    return Steep(network(), stored()[0].fields["y"])


def test_gradients_are_those_of_the_loss_itself() -> None:
    scale = LossScale()
    gradients = [torch.tensor([65536.0, -131072.0]), torch.tensor([[3 * 65536.0]])]
    assert scale.unscale(gradients)
    assert gradients[0].tolist() == [1.0, -2.0] and gradients[1].tolist() == [[3.0]]
    assert not scale.unscale([torch.tensor([float("inf")])]) and not scale.unscale([torch.tensor([float("nan")])])
    half, full = Watch(), Watch()
    in_float16(techniques=[half]).fit()
    trainer(Supervised(network(), stored()[0].fields["y"]), techniques=[full]).fit()
    assert half.norms == pytest.approx(full.norms, rel=0.05)


@pytest.mark.parametrize("options", [{}, {"accumulate": 2}, {"again": True}])
def test_updates_that_overflow_are_left_out_and_told(options: dict[str, Any]) -> None:
    watch = Watch(options.pop("again", False))
    training = in_float16(steep(), techniques=[watch, Clip(0.5)], epochs=4, **options)
    training.fit()
    scale = training.updates.scale
    assert scale is not None and 0 < scale.skipped < training.state.step and scale.factor == 2.0**16 / 2**scale.skipped
    assert len(watch.norms) == training.state.step - scale.skipped and all(n < 1e5 for n in watch.norms)
    assert all(torch.isfinite(value).all() for value in weights(training).values())
    assert f"{scale.skipped} updates in {training.state.step} steps overflowed in float16" in training.notes[-1]


def test_two_phases_have_one_scale() -> None:
    training = in_float16(GAN(), keep="last")
    training.fit()
    assert training.updates.scale is not None and training.updates.scale.steady == 2 * training.state.step


@pytest.mark.parametrize("step", [2, 7])
def test_a_resume_has_the_scale_of_the_checkpoint(step: int, tmp_path: Path) -> None:
    whole = in_float16(steep(), techniques=[Stop()])
    whole.fit()
    fit_until_stopped(in_float16(steep(), tmp_path, techniques=[Stop(step)], checkpoint_minutes=0))
    tree, _ = checkpoint.load(checkpoint.listed(tmp_path / "checkpoints")[0])
    assert tree["scale"]["skipped"] > 0
    resumed = in_float16(steep(), tmp_path, techniques=[Stop()])
    resumed.fit(resume=True)
    assert identical(weights(whole), weights(resumed)) and resumed.notes == whole.notes


def test_the_scale_grows_again_and_gives_up_in_the_end() -> None:
    scale = LossScale()
    scale.update(False, 0)
    for step in range(STEADY):
        scale.update(True, step)
    assert scale.factor == 2.0**16 and scale.steady == 0
    with pytest.raises(TrainingError, match=r"not finite at step 32, nor were they .*precision=float32"):
        for step in range(40):
            scale.update(False, step)


def test_it_is_taken_where_it_is_asked_for_alone() -> None:
    chosen = engine.choose(network(), device="cpu", precision="float16")
    assert chosen.autocast_dtype is torch.float16 and chosen.scales and "precision float16: as asked" in chosen.reasons
    assert not engine.choose(network(), device="cpu").scales
