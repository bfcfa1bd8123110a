"""Quantiles and the measures of forecasts, by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from flambeau.core.errors import UsageError
from flambeau.data.batch import Batch
from flambeau.fields import Forecast, Views
from flambeau.objectives import Supervised
from flambeau.objectives.forecasting import Forecasting, Pinball, spreads

NAN = float("nan")


def field(quantiles: tuple[float, ...] = (0.1, 0.5, 0.9), season: int = 2) -> Forecast:
    made = Forecast(quantiles, [season])
    flat = np.array([1.0, 5.0, 2.0, 7.0, 4.0, 8.0])
    made.fit(Views(flat, np.arange(5), 2))
    assert made.naive_error == pytest.approx(np.mean([1, 2, 2, 1])), "|y - y two steps before|"
    return made


def test_the_quantile_loss_by_hand_without_steps_that_are_missing() -> None:
    loss = Pinball([0.1, 0.9])
    output = torch.tensor([[1.0, 3.0, 0.0, 0.0]])  # two steps of two quantiles
    expected = ((0.1 * 1.0) + (0.1 * 1.0)) / 2  # y = 2: over the first by 1, under the second by 1
    assert float(loss(output, torch.tensor([[2.0, NAN]]))) == pytest.approx(expected)
    assert loss(output, torch.tensor([[2.0, NAN]]), reduction="none").tolist() == pytest.approx([expected])
    output.requires_grad_()
    loss(output, torch.tensor([[2.0, NAN]])).backward()
    assert output.grad is not None and output.grad[0, 2:].tolist() == [0.0, 0.0]


def test_the_measures_by_hand() -> None:
    target = field()
    metric = Forecasting(target, True)
    truth = torch.tensor([[4.0, 6.0], [5.0, NAN]], dtype=torch.float64)
    guess = torch.tensor([[[3.0, 5.0, 6.0], [1.0, 2.0, 3.0]], [[4.0, 4.5, 9.0], [0.0, 0.0, 0.0]]], dtype=torch.float64)
    metric.update((guess - target.mean) / target.std, (truth - target.mean) / target.std, torch.tensor([7, 8]))
    found = metric.values()
    assert found["mae"] == pytest.approx((1 + 4 + 0.5) / 3)
    assert found["mase"] == pytest.approx((1 + 4 + 0.5) / 3 / target.naive_error)
    assert found["rmse"] == pytest.approx(((1 + 16 + 0.25) / 3) ** 0.5)
    assert found["smape"] == pytest.approx((200 * 1 / 9 + 200 * 4 / 8 + 200 * 0.5 / 9.5) / 3)
    assert found["coverage"] == pytest.approx(2 / 3)
    detail = metric.detail()
    assert detail["by_step"] == pytest.approx([0.75, 4.0]) and detail["forecasts"][1]["true"][1] is None
    assert [worst["row"] for worst in detail["worst"]] == [7, 8]
    rival = Forecasting(target, False)  # one number a step lies between no quantiles
    rival.update((guess[..., 1] - target.mean) / target.std, (truth - target.mean) / target.std, torch.tensor([7, 8]))
    assert rival.values().keys() == found.keys() - {"coverage"}


def test_quantiles_that_cross_are_put_in_order() -> None:
    class Crossing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.new_tensor([[3.0, 1.0, 2.0] * 2]).expand(len(x), 6)

    objective = Supervised(Crossing(), field())
    output = objective.predict(Batch(torch.zeros(4, 1), None, torch.arange(4)))
    assert output.shape == (4, 2, 3) and output[0, 0].tolist() == [1.0, 2.0, 3.0]


def test_quantiles_hold_what_they_say_after_calibration() -> None:
    class Narrow(nn.Module):
        """Says half the width that there is below, and a third of it above; wider for the second step."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + x.new_tensor([-1.2816 / 2, 0.0, 1.2816 / 3, -1.2816, 0.0, 2 * 1.2816 / 3])

    def batches(seed: int) -> list[Batch]:
        draw = torch.Generator().manual_seed(seed)
        x = torch.randn(4000, 1, generator=draw)
        y = x + torch.randn(4000, 2, generator=draw) * torch.tensor([1.0, 2.0])
        y[::7, 1] = NAN
        return [Batch(a, b, torch.arange(len(a))) for a, b in zip(x.split(500), y.split(500), strict=True)]

    target = field()
    objective = Supervised(Narrow(), target)
    before = objective.predict(batches(0)[0])
    said = objective.calibrate(iter(batches(0)))
    assert said is not None and "0.1 ×" in said and "0.9 ×" in said
    assert objective.calibration["spread"] == pytest.approx([2.0, 1.0, 3.0], rel=0.06)
    after = objective.predict(batches(0)[0])
    assert torch.equal(after[..., 1], before[..., 1]), "the forecast itself stays"
    objective.start_evaluation()
    for batch in batches(1):
        objective.evaluate(batch)
    assert objective.metrics()["coverage"] == pytest.approx(0.8, abs=0.02)
    again = Supervised(Narrow(), target)
    again.calibration = json.loads(json.dumps(objective.calibration))
    assert torch.equal(again.predict(batches(0)[0]), after)


def test_few_steps_do_not_move_a_quantile() -> None:
    output, target = np.tile([[-1.0, 0.0, 1.0]], (19, 1, 1)), np.full((19, 1), 3.0)
    assert spreads(output, target, [0.1, 0.5, 0.9], 1) == [1.0, 1.0, 1.0]
    output, target = np.tile([[-1.0, 0.0, 1.0]], (21, 1, 1)), np.full((21, 1), 3.0)
    assert spreads(output, target, [0.1, 0.5, 0.9], 1) == [0.0, 1.0, 3.0]


def test_one_number_a_step_takes_any_loss_and_quantiles_only_their_own() -> None:
    with pytest.raises(UsageError, match=r"the loss mse is for one number a step, not 3 quantiles.*quantiles=\[0.5\]"):
        Supervised(nn.Linear(1, 6), field(), "mse")
    objective = Supervised(nn.Linear(1, 2), field((0.5,)), "mse")
    batch = Batch(torch.ones(3, 1), torch.tensor([[1.0, NAN]] * 3), torch.arange(3))
    assert torch.isfinite(objective.loss(batch)) and objective.weight(batch) == 3.0


def test_windows_that_overlap_count_as_few() -> None:
    error = np.random.default_rng(0).exponential(size=(200, 10))
    output = np.tile([-1.0, 0.0, 1.0], (200, 10, 1))
    high = spreads(output, error, [0.1, 0.5, 0.9], 1)[2]
    assert high == pytest.approx(np.quantile(error, 0.9 * 21 / 20)), (
        "200 windows of 10 steps are 20 that do not overlap"
    )
    few = spreads(output[:50], error[:50], [0.1, 0.5, 0.9], 1)[2]
    assert few == pytest.approx(np.quantile(error[:50], 0.95)), "and no more than half way to all"
