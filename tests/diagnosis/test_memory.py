"""The memory of a step: counted by hand on nets whose sizes are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import flambeau as fb
from flambeau.core.errors import UsageError
from flambeau.diagnosis.memory import step_memory
from flambeau.studies.memory import memory

F32 = 4


def test_each_layer_and_the_peak_are_what_arithmetic_says() -> None:
    B, D, H = 32, 100, 200
    net = nn.Sequential(nn.Linear(D, H), nn.Sigmoid(), nn.Linear(H, H), nn.ReLU(), nn.Linear(H, 1))
    x = torch.rand(B, D)
    told = step_memory(net, lambda: net(x).mean(), [torch.optim.Adam(net.parameters(), foreach=False)])
    layers = {layer.name: layer for layer in told.layers}
    weights = {"0": D * H + H, "2": H * H + H, "4": H + 1}
    for name, count in weights.items():
        assert layers[name].parameters == layers[name].gradients == count * F32
        assert layers[name].optimizer == 2 * count * F32 + 2 * F32  # two averages; the steps of weight and bias
    assert layers["0"].activations == B * D * F32  # its input
    assert layers["1"].activations == layers["3"].activations == B * H * F32  # their outputs, the next layers' inputs
    assert layers["2"].activations == 0 and layers["4"].activations == 0
    assert told.activations == (2 * B * H) * F32 + F32  # those and the loss: the input was there before
    static = sum(layer.parameters + layer.optimizer for layer in told.layers)
    assert told.peak >= static + told.sum("gradients")
    assert told.peak <= static + told.sum("gradients") + told.activations + 3 * (H * H + H) * F32  # the optimizer's own


def test_a_tensor_that_two_layers_keep_and_weights_that_two_share_count_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = self.b = nn.Linear(64, 64, bias=False)
            self.c = nn.Linear(64, 64, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x * 2
            return self.a(x) + self.b(x) + self.c(x)

    net, x = Twice(), torch.rand(8, 64)
    told = step_memory(net, lambda: net(x).sum(), [torch.optim.SGD(net.parameters(), lr=0.1)])
    assert told.sum("parameters") == 2 * 64 * 64 * F32 and told.sum("optimizer") == 0
    assert sum(layer.activations for layer in told.layers) == 8 * 64 * F32


def test_checkpointing_is_measured_on_the_training_that_is_asked_for(tmp_path: Path, flambeau: Any) -> None:
    rows = "".join(f"{i % 7},{(i * 3) % 5},{i % 2}\n" for i in range(120))
    (tmp_path / "data.csv").write_text("x,z,y\n" + rows)
    asked = ("--target", "y", "--batch-size", "64", "--model", "resmlp", "--device", "cpu")
    done = flambeau("memory", "data.csv", *asked, "--json", cwd=tmp_path)
    assert done.status == 0, done.err
    told = json.loads(done.out)
    assert told["batch_size"] == 64 and told["model"] == "resmlp"
    plain, checkpointed = told["plain"], told["checkpointed"]
    assert checkpointed["activations"] < plain["activations"] and checkpointed["parameters"] == plain["parameters"]
    assert plain["peak"] > plain["parameters"] + plain["gradients"] + plain["optimizer"]
    assert not (tmp_path / "runs").exists()
    done = flambeau("memory", "data.csv", *asked, "--technique", "gradient_checkpointing", "--json", cwd=tmp_path)
    already = json.loads(done.out)
    assert already["checkpointed"] is None and already["plain"]["activations"] == checkpointed["activations"]


def test_a_run_is_measured_again_and_a_wrong_name_is_told(tmp_path: Path, flambeau: Any) -> None:
    rows = "".join(f"{i % 7},{i % 2}\n" for i in range(60))
    (tmp_path / "data.csv").write_text("x,y\n" + rows)
    data = ("data.csv", "--target", "y", "--epochs", "1", "--batch-size", "16", "--run", "run", "--no-baseline")
    assert flambeau("train", *data, cwd=tmp_path).status == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    done = flambeau("memory", "run", cwd=tmp_path)
    assert done.status == 0 and "on 16 samples takes" in done.out and "gradient checkpointing would" in done.out
    assert {path: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()} == before
    done = flambeau("memory", "rum", cwd=tmp_path)
    assert done.status == 2 and len(done.err.splitlines()) == 1


def test_only_cuda_has_a_snapshot(tmp_path: Path) -> None:
    data = fb.Dataset({"x": [0.0, 1.0] * 20, "y": ["a", "b"] * 20}, target="y")
    learner = fb.Learner(data, run=False, quiet=True, epochs=1, device="cpu", cache=tmp_path)
    with pytest.raises(UsageError, match="the allocator of cpu has no snapshot"):
        memory(learner, tmp_path / "snapshot")
