"""What each technique does is what its paper says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small import stored, supervised, trainer, weights
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.data.batch import Batch
from flambeau.objectives import Objective, Supervised
from flambeau.techniques import EMA, LabelSmoothing, Mixup, Technique
from flambeau.techniques.transforms import Transforms


def batch(kind: str = "category") -> Batch:
    prepared = trainer(kind=kind)
    rows = torch.arange(32)
    return prepared.prepare(rows, stored(kind)[1].gather(rows), False, None)


@pytest.mark.parametrize("kind", ["category", "number", "multilabel"])
def test_mixup_blends_inputs_and_targets_by_the_same_share(kind: str) -> None:
    technique, plain = Mixup(alpha=1.0), batch(kind)
    technique.on_fit_start(supervised(kind))
    mixed = technique.on_batch(batch(kind), torch.Generator().manual_seed(3))
    target = F.one_hot(plain.target, 10).float() if kind == "category" else plain.target
    # share and partner of each sample from its input alone
    flat, blended = plain.input.flatten(1), mixed.input.flatten(1)
    shares = []
    for i in range(32):
        fits = []
        for j in range(32):
            direction = flat[i] - flat[j]
            if j == i or float(direction.norm()) < 1e-6:
                continue
            share = float((blended[i] - flat[j]) @ direction / (direction @ direction))
            error = float((flat[j] + share * direction - blended[i]).norm())
            fits.append((error, share, j))
        error, share, j = min(fits)
        if error < 1e-3 and share < 0.999:  # else it met itself
            shares.append(share)
            torch.testing.assert_close(mixed.target[i], target[j] + share * (target[i] - target[j]), atol=1e-3, rtol=0)
    assert len(shares) > 20
    assert max(shares) - min(shares) < 1e-3, "one share for the batch"
    assert torch.equal(mixed.rows, plain.rows)


def test_mixups_shares_are_drawn_from_beta() -> None:
    technique = Mixup(alpha=0.4)
    technique.on_fit_start(supervised("number"))
    pair = Batch(torch.tensor([[0.0], [1.0]]), torch.tensor([0.0, 1.0]), torch.arange(2))
    shares = []
    for seed in range(3000):
        mixed = technique.on_batch(pair, torch.Generator().manual_seed(seed)).input.flatten()
        if mixed[0] != 0 or mixed[1] != 1:  # else each met itself
            shares.append(float(mixed[1]))
    shares_ = torch.tensor(shares)
    # Beta(a, a) has mean 1/2 and variance 1 / (4 (2a + 1)); bounds of about five standard errors
    assert float(shares_.mean()) == pytest.approx(0.5, abs=0.05)
    assert float(shares_.var()) == pytest.approx(1 / (4 * 1.8), abs=0.012)


def test_mixup_says_what_it_cannot_blend() -> None:
    technique = Mixup()
    technique.on_fit_start(supervised())
    with pytest.raises(UsageError, match="mixup needs a target of one tensor; leave it out"):
        technique.on_batch(Batch(torch.zeros(4, 3), (1, 2), torch.arange(4)), torch.Generator())


def test_label_smoothing_is_in_the_training_loss_alone() -> None:
    objective, technique, given = supervised(dropout=0.0), LabelSmoothing(0.3), batch()
    plain = objective.loss(given).detach()
    objective.training_criterion = technique.on_criterion(objective, objective.criterion)
    output = objective.forward(given)
    assert torch.equal(objective.loss(given), F.cross_entropy(output, given.target, label_smoothing=0.3))
    assert torch.equal(objective.criterion(output, given.target), plain)
    objective.start_evaluation()
    objective.evaluate(given)
    assert objective.metrics()["loss"] == pytest.approx(float(plain))
    with pytest.raises(UsageError, match="needs a loss over classes; use it with cross_entropy or bce"):
        other = supervised("number")
        technique.on_criterion(other, other.criterion)


class Averages(Technique):
    """The exponential average kept by hand."""

    name = "averages"

    def on_fit_start(self, objective: Objective) -> None:
        self.kept = weights(objective.model)

    def on_step_end(self, objective: Objective, step: int) -> None:
        decay = min(0.8, (1 + step) / (10 + step))
        for name, value in objective.model.state_dict().items():
            self.kept[name] = decay * self.kept[name] + (1 - decay) * value


def test_ema_ends_with_the_exponential_average_and_evaluates_it() -> None:
    by_hand = Averages()
    seen: list[dict[str, Tensor]] = []

    class Measured(Supervised):
        def start_evaluation(self, detail: bool = False) -> None:
            super().start_evaluation(detail)
            if hasattr(self, "model"):
                seen.append(weights(self.model))

    objective = Measured(supervised().model, stored()[0].fields["y"])
    training = trainer(objective, techniques=[EMA(0.8), by_hand], keep="last")
    training.fit()
    for name, expected in by_hand.kept.items():
        torch.testing.assert_close(weights(training)[name], expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(seen[-1][name], expected, rtol=1e-5, atol=1e-6)


def test_ema_does_not_change_how_the_weights_train() -> None:
    class Live(Technique):
        name = "live"
        last: dict[str, Tensor]

        def on_step_end(self, objective: Objective, step: int) -> None:
            self.last = weights(objective.model)

    with_it, without = Live(), Live()
    trainer(techniques=[EMA(0.9), with_it]).fit()
    trainer(techniques=[without]).fit()
    assert all(torch.equal(with_it.last[k], v) for k, v in without.last.items())


def test_a_users_transforms_are_applied_to_training_inputs_in_order() -> None:
    seen: list[Any] = []

    def double(x: Tensor) -> Tensor:
        seen.append("double")
        return x * 2

    def shift(x: Tensor) -> Tensor:
        seen.append("shift")
        return x + 1

    given = batch()
    expected = given.input * 2 + 1
    changed = Transforms([double, shift]).on_batch(given, torch.Generator())
    assert torch.equal(changed.input, expected) and seen == ["double", "shift"]
