"""Monitors name what goes wrong in a training, where and why; healthy ones they say nothing of, and leave alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import flambeau as fb
from flambeau.core.findings import Severity
from flambeau.diagnosis import Monitors

SIZE, FEATURES, CLASSES = 1024, 20, 5


def rows(scale: float = 1.0, shift: float = 0.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(SIZE, FEATURES, generator=generator)
    return x * scale + shift, (x @ torch.randn(FEATURES, CLASSES, generator=generator)).argmax(1)


def plain(bias: float | None = None) -> nn.Module:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, CLASSES))
    if bias is not None:
        nn.init.constant_(model[2].bias, bias)
    return model


def counting(momentum: float = 0.1) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(FEATURES, 64),
        nn.BatchNorm1d(64, momentum=momentum),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(64, CLASSES),
    )


def deep() -> nn.Module:
    torch.manual_seed(1)
    layers = [part for _ in range(10) for part in (nn.Linear(FEATURES, FEATURES), nn.Sigmoid())]
    return nn.Sequential(*layers, nn.Linear(FEATURES, CLASSES))


def watched(
    model: nn.Module, optimizer: Callable[[Any], Any], *, x: Tensor | None = None, y: Tensor | None = None,
    steps: int = 300, schedule: Callable[[Any], Any] | None = None, each: Callable[[int], Any] = lambda step: None,
    loss_function: Callable[..., Tensor] = F.cross_entropy,
) -> Monitors:  # fmt: skip
    """A loop by hand, watched."""
    x, y = rows()[0] if x is None else x, rows()[1] if y is None else y
    generator, steppers = torch.Generator().manual_seed(0), optimizer(model.parameters())
    scheduler = schedule(steppers) if schedule else None
    torch.manual_seed(0)
    monitors = Monitors(model)
    for step in range(steps):
        each(step)
        chosen = torch.randint(SIZE, (32,), generator=generator)
        if monitors.due(step):
            monitors.watch()
        steppers.zero_grad()
        loss = loss_function(model(x[chosen]), y[chosen])
        loss.backward()
        monitors.before(step, [steppers], y[chosen])
        steppers.step()
        if monitors.due(step):
            monitors.after()
        if scheduler is not None:
            scheduler.step()
        monitors.losses(step + 1, [loss.item()])
    monitors.look()
    monitors.close()
    return monitors


def adam(rate: float) -> Callable[[Any], Any]:
    return lambda parameters: torch.optim.Adam(parameters, rate)


def sgd(rate: float, momentum: float = 0.0) -> Callable[[Any], Any]:
    return lambda parameters: torch.optim.SGD(parameters, rate, momentum)


def falling(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)


@pytest.mark.parametrize(
    ("check", "place", "model", "optimizer", "more"),
    [
        ("rate-too-low", "step", plain, adam(1e-6), {}),
        ("loss-not-finite", "step", plain, sgd(30.0), {}),
        ("dead-units", "layer 2", lambda: plain(-10.0), adam(1e-3), {}),
        ("gradients-vanish", "layer 6", deep, sgd(0.1), {}),
        ("batch-statistics", "layer 1", lambda: counting(1e-4), adam(1e-2), {"x": rows(5.0, 3.0)[0]}),
        ("weights-still", "layer 0", plain, lambda parameters: torch.optim.Adam([*parameters][-2:], 1e-3), {}),
        ("rate-gone", "step", plain, adam(1e-3), {"schedule": falling}),
        ("loss-not-falling", "step", plain, adam(1e-3),
         {"loss_function": lambda output, y: F.cross_entropy(output, y[torch.randperm(len(y))])}),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_named_with_its_place_and_cure(
    check: str, place: str, model: Callable[[], nn.Module], optimizer: Any, more: dict[str, Any]
) -> None:
    findings = {finding.check: finding for finding in watched(model(), optimizer, **more).findings}
    assert check in findings, findings
    assert any(one.startswith(place) for one in findings[check].places)
    assert findings[check].fix and next(iter(findings)) == check  # the cause comes first


def test_a_model_left_in_evaluation_mode_is_named_with_the_step() -> None:
    model = counting()
    found = watched(model, adam(1e-2), each=lambda step: model.eval() if step == 100 else None).findings
    assert [finding.check for finding in found] == ["evaluation-mode"] and found[0].places == ["step 100"]


def test_a_loss_that_rises_again_is_named_with_the_learning_rate() -> None:
    def leap(optimizer: Any) -> Any:
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 if step < 300 else 100.0)

    found = watched(counting(), adam(3e-3), schedule=leap, steps=500).findings
    rises = [finding for finding in found if finding.message.startswith("the loss rises")]
    assert rises and "0.03 (it is 0.3)" in rises[0].fix, found


@pytest.mark.parametrize("optimizer", [adam(1e-3), adam(1e-2), sgd(0.1), sgd(0.05, 0.9)])
@pytest.mark.parametrize("model", [plain, counting])
def test_nothing_is_said_of_a_healthy_training(model: Callable[[], nn.Module], optimizer: Any) -> None:
    assert watched(model(), optimizer).findings == []


def test_a_training_that_has_learned_all_is_healthy() -> None:
    """Of samples that are learned by heart nothing sends a gradient, so that no unit gets any."""
    monitors = watched(plain(), adam(1e-2), x=rows()[0][:64].repeat(16, 1), y=rows()[1][:64].repeat(16), steps=800)
    assert [f for f in monitors.findings if f.severity is not Severity.NOTE] == []


def fitted(folder: Path, **settings: Any) -> tuple[nn.Module, list[dict[str, Any]]]:
    model = counting()
    data = fb.Dataset.from_arrays(*rows(), valid=rows())
    learner = fb.Learner(data, model=model, loss=nn.CrossEntropyLoss(), epochs=5, batch_size=32, run=folder,
                         baseline=False, quiet=True, **settings)  # fmt: skip
    learner.fit(check=False)
    return model, [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_fit_is_to_the_bit_the_same_and_has_its_numbers_written(tmp_path: Path) -> None:
    (with_them, lines), (without, fewer) = fitted(tmp_path / "a"), fitted(tmp_path / "b", monitors=False)
    for name, value in with_them.state_dict().items():
        assert torch.equal(value, without.state_dict()[name]), name
    numbers = {line["step"]: line["monitors"] for line in lines if "monitors" in line}
    assert {0, 50, 100} <= numbers.keys() and {"gradient_norm", "update_ratio", "update_ratio/0"} <= numbers[50].keys()
    assert not any("monitors" in line for line in fewer) and not any("findings" in line for line in lines)
    assert not with_them._forward_hooks and not with_them[1]._forward_pre_hooks


def test_a_fit_writes_down_what_goes_wrong(tmp_path: Path) -> None:
    _, lines = fitted(tmp_path / "run", learning_rate=1e-7, schedule="constant")
    (found,) = [finding for line in lines for finding in line.get("findings", ())]
    assert found["check"] == "rate-too-low" and found["fix"]
