"""Our AdamW is torch's: the same weights and state to the bit, whatever is asked of it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from flambeau.training import optimizers
from flambeau.training.adamw import AdamW

Pair = tuple[nn.Module, torch.optim.Optimizer, nn.Module, torch.optim.Optimizer]


def pair(**options: Any) -> Pair:
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    theirs = copy.deepcopy(ours)
    made = []
    for kind, model in ((AdamW, ours), (torch.optim.AdamW, theirs)):
        groups = [
            {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.05, "lr": 3e-3},
            {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0, "lr": 1e-3},
        ]
        made.append(kind(groups, **{"fused": True, **options}))
    return ours, made[0], theirs, made[1]


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range, frozen: range = range(0)) -> None:
    for step in steps:
        optimizer.param_groups[0]["lr"] = 3e-3 / (step + 1)
        optimizer.zero_grad()
        x = torch.randn(8, 6, generator=torch.Generator().manual_seed(step))
        model(x).square().mean().backward()
        if step in frozen:
            for p in model[2].parameters():  # type: ignore[index]
                p.grad = None
        optimizer.step()


def assert_same(both: Pair) -> None:
    ours, first, theirs, second = both
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
        for name, value in second.state[b].items():
            assert torch.equal(first.state[a][name], value), name


@pytest.mark.parametrize(
    "options", [{}, {"betas": (0.8, 0.9), "eps": 1e-6}, {"maximize": True}, {"amsgrad": True}, {"fused": False}]
)
def test_it_is_torchs_to_the_bit(options: dict[str, Any]) -> None:
    ours, first, theirs, second = pair(**options)
    train(ours, first, range(12))
    train(theirs, second, range(12))
    assert_same((ours, first, theirs, second))


@pytest.mark.parametrize("frozen", [range(3), range(4, 7)])
def test_a_parameter_without_a_gradient_is_left_as_it_is(frozen: range) -> None:
    ours, first, theirs, second = pair()
    train(ours, first, range(12), frozen)
    train(theirs, second, range(12), frozen)
    assert_same((ours, first, theirs, second))


def test_it_goes_on_from_a_state_of_torchs() -> None:
    ours, first, theirs, second = pair()
    train(ours, first, range(5))  # its lists are made, of state that is now replaced
    train(theirs, second, range(5))
    train(theirs, second, range(5, 9))
    ours.load_state_dict(theirs.state_dict())
    first.load_state_dict(copy.deepcopy(second.state_dict()))
    train(ours, first, range(9, 14))
    train(theirs, second, range(9, 14))
    assert_same((ours, first, theirs, second))


def test_it_is_what_a_training_uses() -> None:
    assert isinstance(optimizers.build("adamw", list(nn.Linear(2, 2).parameters()), 1e-3, 0.01), AdamW)
