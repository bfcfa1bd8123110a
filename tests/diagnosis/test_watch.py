"""Looking into a model: values, statistics and gradients of layers, and what a training writes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import flambeau as fb
from flambeau.core.errors import UsageError
from flambeau.testing.small import identical, trainer, weights


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))


def test_values_and_statistics_are_those_of_the_layers_over_all_calls() -> None:
    model, batches = net(), [torch.randn(5, 3), torch.randn(7, 3)]
    with fb.watch(model, keep=2) as seen:
        for x in batches:
            (model(x) ** 2).sum().backward()
    first = torch.cat([model[0](x) for x in batches]).detach()  # before the ReLU that changes them in place
    last = torch.cat([model(x) for x in batches]).detach()
    for name, values in {"0": first, "1": first.relu(), "2": last}.items():
        told = seen[name].outputs.to_dict()
        assert told["mean"] == pytest.approx(float(values.mean()), rel=1e-5)
        assert told["sd"] == pytest.approx(float(values.std(correction=0)), rel=1e-5)
        assert told["zeros"] == pytest.approx(float((values == 0).double().mean()))
        assert told["norm"] == pytest.approx(float(values.square().sum(1).mean().sqrt()), rel=1e-5)
    assert seen["0"].output is not None and torch.equal(seen["0"].output, model[0](batches[1])[:2])
    gradient = (2 * last) @ model[2].weight.detach() * (first > 0)
    assert seen["0"].gradients.to_dict()["mean"] == pytest.approx(float(gradient.mean()), rel=1e-4)
    assert seen["0"].gradient is not None and torch.allclose(seen["0"].gradient, gradient[5:7], atol=1e-6)
    assert "0" in str(seen) and len(str(seen).splitlines()) == 7


def test_nothing_is_left_on_the_model_after_an_exception_or_on_a_graph_that_lives_on() -> None:
    model = net()
    with pytest.raises(RuntimeError), fb.watch(model) as seen:
        loss = model(torch.ones(2, 3)).sum()
        raise RuntimeError
    loss.backward()
    assert not any(module._forward_hooks for module in model.modules())
    assert seen["2"].gradient is None and seen["2"].gradients.to_dict() == {}


def test_layers_are_chosen_by_name_and_by_type_and_a_wrong_name_is_told() -> None:
    model = nn.Sequential(net(), nn.Flatten())
    assert list(fb.watch(model, "0.*", "Flatten")) == ["0.0", "0.1", "0.2", "1"]
    with pytest.raises(UsageError, match="no layer of the model is called 'Linea'; did you mean 'Linear'"):
        fb.watch(model, "Linea")
    with pytest.raises(UsageError, match="no layer called '1' is watched"):
        fb.watch(model, "Linear")["1"]


def test_a_training_writes_its_layers_to_tensorboard_and_trains_the_same(tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    watched, plain = trainer(folder=tmp_path, watch="Linear", keep="last"), trainer(keep="last")
    for training in (watched, plain):
        training.fit()
    assert identical(weights(watched), weights(plain))
    events = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    layers = [name for name, module in watched.objective.model.named_modules() if isinstance(module, nn.Linear)]
    for name in layers:
        for tag in (f"activations/{name}/zeros", f"gradients/{name}/norm", f"weights/{name}.weight/norm"):
            assert [event.step for event in events.Scalars(tag)] == [line["step"] for line in watched.history]
    parameter = watched.objective.model.get_parameter(f"{layers[0]}.weight").detach()
    last = events.Histograms(f"weights/{layers[0]}.weight")[-1].histogram_value
    assert last.num == parameter.numel() and sum(last.bucket) == parameter.numel()
    assert last.max == pytest.approx(float(parameter.max()), rel=1e-6)
    assert tags["graph"] and any(f"[{layers[0].split('.')[0]}]" in node.name for node in events.Graph().node)


def test_a_layer_that_a_training_cannot_watch_is_told_before_the_first_step() -> None:
    data = fb.Dataset.from_arrays(np.random.default_rng(0).random((40, 4)).astype(np.float32), [0, 1] * 20)
    learner = fb.Learner(data, run=False, quiet=True, baseline=False, epochs=1, watch=["nothing"])
    with pytest.raises(UsageError, match="no layer of the model is called 'nothing'"):
        learner.fit()
    assert learner.trainer is not None and learner.trainer.state.step == 0
