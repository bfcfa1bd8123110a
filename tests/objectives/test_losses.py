"""Losses by name, and the objective that uses them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.data.batch import Batch
from flambeau.fields import Category, MultiLabel, Number
from flambeau.objectives import Supervised
from flambeau.objectives.losses import LOSSES, expects_classes, named
from flambeau.objectives.tasks import TASKS

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 0.0, 3.0]])


@pytest.mark.parametrize(
    ("name", "output", "target"),
    [
        ("cross_entropy", LOGITS, torch.tensor([0, 2])),
        ("cross_entropy", LOGITS, torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.1, 0.9]])),
        ("bce", LOGITS, torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])),
        ("mse", LOGITS, LOGITS.flip(1)),
        ("l1", LOGITS[:, :1], torch.tensor([1.0, 2.0])),
        ("huber", LOGITS[:, 0], torch.tensor([1.0, 2.0])),
    ],
)
def test_the_mean_is_the_mean_of_the_samples(name: str, output: Tensor, target: Tensor) -> None:
    each = named(name)(output, target, reduction="none")
    assert each.shape == (2,)
    torch.testing.assert_close(each.mean(), named(name)(output, target))
    for i in range(2):
        torch.testing.assert_close(each[i], named(name)(output[i : i + 1], target[i : i + 1]))


def test_a_head_of_one_number_does_not_broadcast_against_its_targets() -> None:
    """(B, 1) beside (B) would make (B, B), and train towards the mean."""
    output, target = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([1.0, 2.0, 3.0])
    for name in ("mse", "l1", "huber"):
        assert float(named(name)(output, target)) == 0.0


def test_label_smoothing_of_several_labels_moves_targets_towards_a_half() -> None:
    target = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    smoothed = named("bce")(LOGITS, target, label_smoothing=0.2)
    torch.testing.assert_close(smoothed, F.binary_cross_entropy_with_logits(LOGITS, target * 0.8 + 0.1))


def test_every_kind_of_target_has_a_loss_and_unknown_names_tell_the_nearest() -> None:
    assert {task.default_loss for _, task in TASKS.items()} <= set(LOSSES)
    with pytest.raises(UsageError, match="did you mean 'huber'"):
        named("hubber")


def test_which_losses_want_class_numbers() -> None:
    assert (
        expects_classes(named("cross_entropy")) and expects_classes(nn.NLLLoss()) and expects_classes(F.cross_entropy)
    )
    assert not expects_classes(named("mse")) and not expects_classes(nn.BCEWithLogitsLoss())


@pytest.mark.parametrize(
    ("field", "loss", "activation"),
    [
        (Category(["a", "b", "c"]), "cross entropy", lambda o: o.softmax(-1)),
        (MultiLabel(["a", "b", "c"]), "bce", lambda o: o.sigmoid()),
        (Number(), "mse", lambda o: o),
        (None, "cross entropy", lambda o: o),
    ],
)
def test_loss_and_activation_follow_from_the_target(field, loss, activation) -> None:
    objective = Supervised(nn.Identity(), field)
    assert loss in objective.describe()
    batch = Batch(LOGITS, None, torch.arange(2))
    torch.testing.assert_close(objective.predict(batch), activation(LOGITS))


def test_a_tuple_of_inputs_is_spread_over_the_arguments() -> None:
    class Two(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return a + 2 * b

    batch = Batch((LOGITS, LOGITS), None, torch.arange(2))
    torch.testing.assert_close(Supervised(Two()).forward(batch), 3 * LOGITS)
