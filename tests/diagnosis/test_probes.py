"""Probes name what is wrong with a model, where and what to do, say nothing of healthy ones, and change nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import flambeau as fb
from flambeau.core.findings import Severity
from flambeau.diagnosis import Patient, examine


def classes(features: int = 8, size: int = 24) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(size, features, generator=generator)
    return x, (x[:, :3] + 0.1 * torch.randn(size, 3, generator=generator)).argmax(1)


class Body(nn.Module):
    """Three layers whose way from one to the next is given."""

    def __init__(self, between: Callable[[Tensor], Tensor] = F.relu, end: Callable[[Tensor], Tensor] = nn.Identity()):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 3)
        self.between, self.end = between, end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.head(F.relu(self.second(self.between(self.first(x))))))


class Listed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers, self.head = [nn.Linear(8, 16), nn.Linear(16, 16)], nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x).relu()
        return self.head(x)


class Fresh(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(nn.Linear(8, 16)(x).relu())


def told(model: nn.Module, criterion: Any = F.cross_entropy, batch: Any = None, **options: Any) -> dict[str, Any]:
    """Findings by name, but for notes."""
    patient = Patient.of_batch(model, criterion, classes() if batch is None else batch, **options)
    return {f.check: f for f in examine(patient) if f.severity is not Severity.NOTE}


@pytest.mark.parametrize(
    ("check", "place", "model"),
    [
        ("no-gradient", "first.weight", lambda: Body(lambda x: x.relu().detach())),
        ("no-gradient", "behind head (Linear)", lambda: Body(end=lambda x: x.detach())),
        ("constant-output", "between first (Linear) and second (Linear)", lambda: Body(lambda x: x * 0)),
        ("gradient-not-finite", "first.weight", lambda: Body(lambda x: (x * x.relu()).sqrt())),
        ("not-registered", "layers.0.bias", Listed),
        ("made-in-forward", "parameter of shape (16, 8)", Fresh),
        ("no-step", "Linear", lambda: nn.Linear(7, 3)),
    ],
)
def test_a_fault_of_the_graph_is_named(check: str, place: str, model: Callable[[], nn.Module]) -> None:
    findings = told(model())
    assert check in findings, findings
    assert place in findings[check].places
    assert findings[check].fix


def test_nothing_changes() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 3)).eval()
    model[0].weight.grad = torch.ones(16, 8)
    optimizer = torch.optim.Adam(model.parameters())
    before, drawn, state = copy.deepcopy(model.state_dict()), torch.get_rng_state(), optimizer.state_dict()
    examine(Patient.of_batch(model, F.cross_entropy, classes(), optimizer))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn) and optimizer.state_dict() == state
    assert not any(module.training for module in model.modules())
    assert torch.equal(model[0].weight.grad, torch.ones(16, 8)) and model[4].weight.grad is None


def test_a_training_is_the_same_with_the_doctor_as_without() -> None:
    def weights(check: bool) -> dict[str, Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))
        rows = TensorDataset(*classes(size=40))
        fb.Learner((rows, None), model, loss=nn.CrossEntropyLoss(), run=False, quiet=True, epochs=2).fit(check=check)
        return model.state_dict()

    examined, plain = weights(True), weights(False)
    assert all(torch.equal(value, plain[name]) for name, value in examined.items())
