"""What techniques make of the gradients of a step is what their papers say, in each form of a step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gan import GAN
from small import stored, supervised, trainer, weights
from torch import Tensor, nn

from flambeau.objectives import Supervised
from flambeau.techniques import L1, L2, SAM, Clip, ClipValue, GradientCentralisation, GradientNoise, Step, Technique
from flambeau.training.engine import Engine

FORMS: list[dict[str, Any]] = [{}, {"accumulate": 2}, {"precision": torch.bfloat16}, {"precision": torch.float16}]
each_form = pytest.mark.parametrize("form", FORMS, ids=["plain", "accumulated", "bf16", "float16"])


class Seen(Technique):
    """The gradients and weights of each step, as they are at its place among the techniques."""

    name = "seen"

    def __init__(self) -> None:
        self.gradients: list[list[Tensor]] = []
        self.weights: list[list[Tensor]] = []
        self.phases: list[str] = []
        self.numbers: list[int] = []

    def on_gradients(self, step: Step) -> None:
        self.gradients.append([p.grad.clone() for p in step.parameters if p.grad is not None])
        self.weights.append([p.detach().clone() for p in step.parameters if p.grad is not None])
        self.phases.append(step.phase)
        self.numbers.append(step.number)


def around(
    technique: Technique, objective: Any = None, precision: torch.dtype | None = None, **options: Any
) -> tuple[Seen, Seen]:
    """What the gradients were before a technique and are behind it, in a training of two steps and more."""
    before, behind = Seen(), Seen()
    training = trainer(objective or supervised(dropout=0.0), techniques=[before, technique, behind], **options)
    training.engine = Engine(autocast_dtype=precision)
    training.fit()
    assert len(before.gradients) == len(behind.gradients) >= 2
    return before, behind


@each_form
@pytest.mark.parametrize("technique", [L1(0.01), L2(0.02)])
def test_a_penalty_adds_its_slope_once_and_not_on_biases(technique: Any, form: dict[str, Any]) -> None:
    before, behind = around(technique, **form)
    for plain, changed, values in zip(before.gradients, behind.gradients, before.weights, strict=True):
        for gradient, other, weight in zip(plain, changed, values, strict=True):
            slope = (weight.sign() if isinstance(technique, L1) else weight) * technique.strength
            torch.testing.assert_close(other, gradient + slope if weight.ndim > 1 else gradient)


def test_l2_under_plain_sgd_is_its_weight_decay() -> None:
    options: dict[str, Any] = {"optimizer": "sgd", "keep": "last"}
    with_it = trainer(supervised(), techniques=[L2(0.05)], weight_decay=0.0, **options)
    decayed = trainer(supervised(), weight_decay=0.05, **options)
    for training in (with_it, decayed):
        training.fit()
    for name, value in weights(with_it).items():
        torch.testing.assert_close(value, weights(decayed)[name], rtol=1e-4, atol=1e-6)


def test_l1_leaves_less_than_no_penalty() -> None:
    plain, with_it = (trainer(supervised(), techniques=t, epochs=10, keep="last") for t in ([], [L1(0.01)]))
    for training in (plain, with_it):
        training.fit()
    small = [(weights(training)["1.weight"].abs() < 0.01).double().mean() for training in (plain, with_it)]
    assert small[1] > 3 * small[0]


@each_form
def test_clipping_by_value(form: dict[str, Any]) -> None:
    before, behind = around(ClipValue(0.001), **form)
    for plain, changed in zip(before.gradients, behind.gradients, strict=True):
        for gradient, other in zip(plain, changed, strict=True):
            assert torch.equal(other, gradient.clamp(-0.001, 0.001))


@each_form
def test_noise_falls_as_the_paper_has_it(form: dict[str, Any]) -> None:
    before, behind = around(GradientNoise(0.3, 0.55), **form)
    for number, plain, changed in zip(before.numbers, before.gradients, behind.gradients, strict=True):
        noise = torch.cat([((b - a) / a.square().mean().sqrt()).flatten()
                           for a, b in zip(plain, changed, strict=True) if float(a.abs().max())])  # fmt: skip
        variance = 0.3 / (1 + number) ** 0.55
        bound = 5 * (2 / noise.numel()) ** 0.5  # five standard errors of a variance
        assert float(noise.var()) == pytest.approx(variance, rel=bound), number
        assert float(noise.mean()) == pytest.approx(0.0, abs=5 * (variance / noise.numel()) ** 0.5)


@each_form
def test_centralised_gradients_have_no_mean(form: dict[str, Any]) -> None:
    before, behind = around(GradientCentralisation(), **form)
    for plain, changed in zip(before.gradients, behind.gradients, strict=True):
        for gradient, other in zip(plain, changed, strict=True):
            assert other.ndim < 2 or float(other.mean(1).abs().max()) < 1e-6
            torch.testing.assert_close(gradient - other if other.ndim > 1 else torch.zeros(1),
                                       gradient.mean(1, keepdim=True).expand_as(gradient) if other.ndim > 1
                                       else torch.zeros(1), atol=1e-6, rtol=1e-3)  # fmt: skip


@pytest.mark.parametrize("accumulate", [1, 2])
def test_sam_steps_by_the_gradient_at_the_worst_point_nearby(accumulate: int) -> None:
    class ByHand(Technique):
        name = "by_hand"

        def on_gradients(self, step: Step) -> None:
            gradients = [p.grad.clone() for p in step.parameters if p.grad is not None]
            norm = torch.cat([g.flatten() for g in gradients]).norm()
            with torch.no_grad():
                before = [p.clone() for p in step.parameters]
                for p, g in zip(step.parameters, gradients, strict=True):
                    p += 0.1 * g / norm
            step.again()
            with torch.no_grad():
                for p, value in zip(step.parameters, before, strict=True):
                    p.copy_(value)

    trainings = [
        trainer(supervised(dropout=0.0), techniques=[t], accumulate=accumulate) for t in (SAM(0.1), ByHand(), Clip(1e9))
    ]
    for training in trainings:
        training.fit()
    sam, by_hand, plain = map(weights, trainings)
    for name, value in sam.items():
        torch.testing.assert_close(value, by_hand[name], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(sam["1.weight"], plain["1.weight"], rtol=1e-3)


def test_a_second_pass_is_changed_by_the_techniques_before_it_as_the_first_was() -> None:
    behind = Seen()
    trainer(supervised(), techniques=[Clip(0.01), SAM(), SAM(0.01), behind], epochs=1).fit()
    for gradients in behind.gradients:
        assert float(torch.cat([g.flatten() for g in gradients]).norm()) <= 0.01 * (1 + 1e-5)


def test_batch_normalisation_counts_a_batch_of_sam_once() -> None:
    def normalised() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10))

    with_it = trainer(Supervised(normalised(), stored()[0].fields["y"]), techniques=[SAM(0.5)], epochs=1)
    with_it.fit()
    norm = with_it.objective.model[2]  # type: ignore[index]
    assert int(norm.num_batches_tracked) == with_it.state.step and norm.track_running_stats


def test_each_phase_has_its_own() -> None:
    before, behind = around(L2(0.1), GAN(), kind="category")
    assert set(before.phases) == {"discriminator", "generator"}
    for plain, changed, values in zip(before.gradients, behind.gradients, before.weights, strict=True):
        for gradient, other, weight in zip(plain, changed, values, strict=True):
            torch.testing.assert_close(other, gradient + 0.1 * weight if weight.ndim > 1 else gradient)
    for technique in (SAM(), ClipValue(0.01), GradientNoise(), GradientCentralisation(), L1()):
        trainer(GAN(), techniques=[technique], epochs=1).fit()
