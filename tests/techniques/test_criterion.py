"""Techniques that change the loss between output and target: alone, one on the other, and with any loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from gan import GAN
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.data.batch import Batch
from flambeau.objectives import Objective, Supervised
from flambeau.techniques import Clip, LabelSmoothing, Mixup, Technique
from flambeau.testing.small import batches, identical, network, stored, trainer, weights
from flambeau.training import Trainer


class Hardest(Technique):
    """Learns from the half of a batch with the highest losses only: Shrivastava et al. 2016, arXiv:1604.03540."""

    name = "hardest"

    def on_criterion(self, objective: Objective, criterion: Any) -> Any:
        def of_hardest(output: Tensor, target: Any, **options: Any) -> Tensor:
            losses = criterion(output, target, **options | {"reduction": "none"})
            return losses.topk(len(losses) // 2).values.mean()

        return of_hardest


class Taught(NamedTuple):
    target: Any
    teacher: Tensor


class Distillation(Technique):
    """Half of the loss is the distance to a teacher's answers: Hinton et al. 2015, arXiv:1503.02531."""

    name = "distillation"

    def __init__(self, teacher: nn.Module):
        self.teacher = teacher.eval()

    def on_batch(self, batch: Batch, generator: torch.Generator) -> Batch:
        with torch.no_grad():
            return Batch(batch.input, Taught(batch.target, self.teacher(batch.input).softmax(1)), batch.rows)

    def on_criterion(self, objective: Objective, criterion: Any) -> Any:
        def of_both(output: Tensor, target: Taught, **options: Any) -> Tensor:
            return (criterion(output, target.target, **options) + F.cross_entropy(output, target.teacher)) / 2

        return of_both


def fitted(techniques: Sequence[Technique], loss: Any = "cross_entropy", **options: Any) -> Trainer:
    objective = Supervised(network(dropout=0.0), stored()[0].fields["y"], loss)
    training = trainer(objective, techniques=techniques, **options)
    training.fit()
    assert "training_criterion" not in vars(objective)
    return training


def of_numbers(output: Tensor, target: Tensor) -> Tensor:
    """A cross-entropy that takes no blend, nor says anything of single samples."""
    assert target.dtype == torch.int64
    return F.nll_loss(output.log_softmax(1), target)


def test_mixup_with_a_loss_that_takes_no_blend_is_the_same_training() -> None:
    one = fitted([Mixup(1.0), Mixup(1.0)])
    other = fitted([Mixup(1.0), Mixup(1.0)], of_numbers)
    assert not identical(weights(one), weights(other)), "it goes another way"
    for name, value in weights(one).items():
        torch.testing.assert_close(value, weights(other)[name], rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("first", [0, 1])
def test_they_act_on_one_another(first: int) -> None:
    objective = Supervised(network(dropout=0.0), stored()[0].fields["y"])
    (given,) = batches("category", [32])
    criterion = objective.criterion
    for technique in [Hardest(), LabelSmoothing(0.3)][:: -1 if first else 1]:
        criterion = technique.on_criterion(objective, criterion)
    output = objective.forward(given)
    losses = F.cross_entropy(output, given.target, label_smoothing=0.3, reduction="none")
    assert torch.equal(criterion(output, given.target), losses.topk(16).values.mean())


def test_a_training_with_several_and_validation_by_the_loss_alone() -> None:
    teacher = network(seed=3)
    with_them = fitted([Mixup(0.4), Distillation(teacher), LabelSmoothing(0.1), Hardest(), Clip(1.0)], accumulate=2)
    assert with_them.state.step == 2 * 3
    objective = with_them.objective
    assert isinstance(objective, Supervised)
    (given,) = batches("category", [32])
    objective.start_evaluation()
    with torch.inference_mode():
        objective.evaluate(given)
        plain = F.cross_entropy(objective.forward(given), given.target)
    assert objective.metrics()["loss"] == pytest.approx(float(plain))


@pytest.mark.parametrize("loss", ["cross_entropy", F.cross_entropy, nn.CrossEntropyLoss()])
def test_losses_of_samples_apart(loss: Any) -> None:
    objective = Supervised(network(), stored()[0].fields["y"], loss)
    output, target = torch.randn(8, 10), torch.arange(8)
    each = objective.criterion(output, target, reduction="none")
    assert torch.equal(each, F.cross_entropy(output, target, reduction="none"))
    assert torch.equal(objective.criterion(output, target), F.cross_entropy(output, target))


def test_what_cannot_be_is_told_in_a_line() -> None:
    with pytest.raises(UsageError, match=r"the loss of_numbers gives one number for all samples; expected one that"):
        fitted([Hardest()], of_numbers)
    with pytest.raises(UsageError, match=r"changes the loss between output and target, and GAN has none; leave it out"):
        trainer(GAN(), techniques=[Hardest()]).fit()
