"""The summary's figures are those of arithmetic and of the literature."""

from __future__ import annotations

import json

import pytest
import torch
from made import net
from torch import nn

from flambeau.core.errors import ModelError
from flambeau.models import InputSpec, summary


def test_a_small_mlp_by_hand() -> None:
    spec = InputSpec("number", (32,))
    result = summary(net("mlp", spec, 10, hidden=[64]), spec)
    assert result.parameters == result.trainable == 32 * 64 + 64 + 64 * 10 + 10
    assert result.flops == 2 * (32 * 64 + 64 * 10)
    assert result.weight_bytes == 4 * result.parameters
    assert result.activation_bytes == 4 * (64 + 10)  # the ReLU works in place
    # Kept for the backward pass: the input and the hidden layer; and the largest output's gradient.
    assert result.training_bytes == 4 * (32 + 64) + 4 * 64
    assert [(layer.name, layer.type, layer.output) for layer in result.layers] == [
        ("body.0", "Linear", (64,)),
        ("body.1", "ReLU", (64,)),
        ("head", "Linear", (10,)),
    ]


def test_a_convolution_by_hand() -> None:
    spec = InputSpec("image", (3, 10, 8))
    result = summary(nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Flatten(), nn.Linear(480, 2)), spec)
    assert result.flops == 2 * (10 * 8 * 6 * 3 * 9) + 2 * 480 * 2
    assert sum(layer.flops for layer in result.layers) == result.flops
    assert sum(layer.parameters for layer in result.layers) == result.parameters


@pytest.mark.parametrize(
    ("name", "parameters", "giga_macs"),
    [("resnet18", 11_689_512, 1.814), ("resnet34", 21_797_672, 3.664), ("resnet50", 25_557_032, 4.089)],
)
def test_resnets_cost_what_torchvision_states(name: str, parameters: int, giga_macs: float) -> None:
    spec = InputSpec("image", (3, 224, 224))
    result = summary(net(name, spec, 1000), spec)
    assert result.parameters == parameters
    assert result.flops / 2e9 == pytest.approx(giga_macs, abs=1e-3)


def test_resnet9_keeps_its_budget() -> None:
    spec = InputSpec("image", (1, 28, 28))
    assert summary(net("resnet9", spec, 10), spec).flops <= 41e6


@pytest.mark.usefixtures("timm_installed")
def test_attention_and_bare_parameters_are_counted() -> None:
    spec = InputSpec("image", (3, 224, 224))
    result = summary(net("timm:vit_tiny_patch16_224", spec, 1000), spec)
    assert sum(layer.parameters for layer in result.layers) == result.parameters == 5_717_416
    tokens, width, blocks = 197, 192, 12
    linear = tokens * (3 * 16 * 16 * width - width * 3 * 16 * 16 // tokens) + blocks * tokens * 12 * width**2
    attention = blocks * 2 * tokens * tokens * width
    assert result.flops == pytest.approx(2 * (linear + attention + width * 1000), rel=1e-3)


def test_nothing_of_the_model_or_the_randomness_changes() -> None:
    spec = InputSpec("image", (1, 16, 16))
    model = net("lenet", spec, 3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    summary(model, spec)
    assert torch.equal(torch.rand(2), expected)
    assert model.training and not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_frozen_parameters_and_a_module_used_twice() -> None:
    layer = nn.Linear(4, 4)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    result = summary(model, InputSpec("number", (4,)))
    assert result.parameters == 20 and result.flops == 2 * 2 * 16
    layer.requires_grad_(False)
    assert summary(model, InputSpec("number", (4,))).trainable == 0


def test_training_memory_by_hand() -> None:
    spec = InputSpec("number", (8,))
    result = summary(net("mlp", spec, 2, hidden=[]), spec)
    assert result.training_memory(0, optimizer_states=2) == 4 * result.weight_bytes
    assert result.training_memory(5) - result.training_memory(0) == 5 * result.training_bytes


def test_the_table_and_the_json() -> None:
    spec = InputSpec("image", (1, 28, 28))
    result = summary(net("resnet9", spec, 10), spec)
    lines = str(result).splitlines()
    assert lines[0].split() == ["layer", "type", "output", "parameters", "MFLOPs"]
    assert lines[2].split() == ["body.0.0", "Conv2d", "16×28×28", "144", "0.23"]
    assert f"{result.parameters:,}" in str(result)
    assert json.loads(json.dumps(result.to_dict()))["layers"][0]["output"] == [16, 28, 28]


def test_a_size_that_does_not_fit_is_one_line() -> None:
    with pytest.raises(ModelError, match="Linear: it cannot take number 5"):
        summary(nn.Linear(4, 2), InputSpec("number", (5,)))
