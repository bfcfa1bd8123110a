"""Initialisation by name, and what of our own models may be chosen by name."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from made import net
from small import stored, supervised, trainer
from torch import nn

import flambeau as fb
from flambeau.core.errors import ModelError, UsageError
from flambeau.models import InputSpec
from flambeau.objectives import Supervised
from flambeau.techniques import Init


def layers(scheme: str, model: nn.Module) -> list[Any]:
    objective = Supervised(model, stored()[0].fields["y"])
    technique = Init(scheme)
    said = technique.on_build(objective)
    found = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    assert said == f"init {scheme}: the weights of {len(found)} layers"
    assert all(layer.bias is None or not layer.bias.any() for layer in found)
    return found


def test_each_scheme_is_that_of_its_paper() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 64, 3), nn.Flatten(), nn.Linear(400, 300))
    convolution, linear = layers("kaiming", model)
    # deviations of 4,608 and 120,000 weights; five standard errors
    assert convolution.weight.std().item() == pytest.approx(math.sqrt(2 / (8 * 9)), rel=5 / math.sqrt(2 * 4608))
    assert linear.weight.std().item() == pytest.approx(math.sqrt(2 / 400), rel=5 / math.sqrt(2 * 120_000))
    convolution, linear = layers("xavier", model)
    assert float(linear.weight.abs().max()) <= math.sqrt(6 / 700) < 1.01 * float(linear.weight.abs().max())
    convolution, linear = layers("orthogonal", model)
    torch.testing.assert_close(linear.weight @ linear.weight.T, torch.eye(300), atol=1e-5, rtol=0)


def test_lsuv_gives_each_layer_the_variance_1_over_a_batch() -> None:
    objective, seen = supervised(dropout=0.3), []
    training = trainer(objective, techniques=[technique := Init("lsuv")], epochs=1)
    technique.on_build(objective)

    class Look(fb.Technique):
        name = "look"

        def on_fit_start(self, objective: Any) -> None:
            batch = next(iter(training.train.epoch(0)))
            model = objective.model.eval()
            handles = [module.register_forward_hook(lambda m, i, o: seen.append(float(o.std())))
                       for module in model if isinstance(module, nn.Linear)]  # fmt: skip
            model(training.prepare(*batch, False, None).input)
            for handle in handles:
                handle.remove()

    training = trainer(objective, techniques=[technique, Look()], epochs=1)
    training.fit()
    assert seen == pytest.approx([1.0, 1.0], abs=0.02)


def test_it_is_refused_for_pretrained_weights_and_where_there_is_nothing_to_draw(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    data = fb.Dataset.from_arrays(load_digits().images / 16, load_digits().target)
    learner = fb.Learner(data, model="resnet18", pretrained="weights.pth", techniques=["init"], run=False, quiet=True)
    with pytest.raises(UsageError, match="init draws weights anew, and resnet18 starts from pretrained ones"):
        learner.fit(check=False)
    with pytest.raises(UsageError, match="no linear or convolutional layer to initialise; leave init out"):
        Init().on_build(Supervised(nn.Embedding(3, 10), stored()[0].fields["y"]))


PICTURE = InputSpec("image", (1, 8, 8))
NORMS = {"batch": nn.BatchNorm2d, "group": nn.GroupNorm, "layer": nn.GroupNorm, "none": nn.Identity}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["lenet", "resnet9", "resnet18"])
def test_normalisation_by_name(name: str, norm: str) -> None:
    model = net(name, PICTURE, 10, norm=norm)
    found = {type(m) for m in model.modules() if isinstance(m, nn.BatchNorm2d | nn.GroupNorm)}
    assert found == ({NORMS[norm]} if norm != "none" else set())
    groups = {m.num_groups for m in model.modules() if isinstance(m, nn.GroupNorm)}
    assert norm != "layer" or groups == {1}
    assert norm != "group" or min(groups) > 1
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert all((layer.bias is not None) == (norm == "none") for layer in convolutions)


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "tanh"])
@pytest.mark.parametrize("name", ["mlp", "lenet", "resnet9", "resnet50"])
def test_activation_by_name(name: str, activation: str) -> None:
    kinds = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}
    model = net(name, PICTURE, 10, activation=activation)
    found = {type(m) for m in model.modules() if isinstance(m, tuple(kinds.values()))}
    assert found == {kinds[activation]}


def test_what_is_not_said_is_as_before() -> None:
    keys = list(net("resnet18", PICTURE, 10).state_dict())
    assert "layer1.0.bn1.running_mean" in keys and "layer2.0.downsample.1.weight" in keys and "conv1.bias" not in keys
    assert [type(m).__name__ for m in net("resnet9", PICTURE, 10).body[0]] == ["Conv2d", "BatchNorm2d", "ReLU"]


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_before_the_convolutions(norm: str) -> None:
    residual = net("resnet9", PICTURE, 10, preact=True, norm=norm).body[3]
    assert [type(m).__name__ for part in residual.body for m in part] == [NORMS[norm].__name__, "ReLU", "Conv2d"] * 2
    x = torch.randn(2, 32, 4, 4)
    before = x.clone()
    residual(x)
    assert torch.equal(x, before), "an activation in place would change what the shortcut carries"


def test_a_name_that_there_is_not() -> None:
    with pytest.raises(UsageError, match="no activation is called 'gelo'; did you mean 'gelu'"):
        net("mlp", PICTURE, 10, activation="gelo")
    with pytest.raises(UsageError, match="no normalisation is called 'goup'; did you mean 'group'"):
        net("resnet9", PICTURE, 10, norm="goup")


def test_stochastic_depth_leaves_out_blocks_of_samples_in_training_alone() -> None:
    torch.manual_seed(0)
    residual = net("resnet9", PICTURE, 10, stochastic_depth=0.25).body[3]
    x = torch.randn(4000, 32, 1, 1)
    with torch.no_grad():
        left_out = (residual(x) == x).flatten(1).all(1).double().mean()
        assert float(left_out) == pytest.approx(0.25, abs=5 * (0.25 * 0.75 / 4000) ** 0.5)
        assert not torch.equal(residual.eval()(x), x)
    with pytest.raises(UsageError, match=r"a stochastic depth of 1\.0 does not fit"):
        net("resnet9", PICTURE, 10, stochastic_depth=1.0)


def test_dropout_and_stochastic_depth_by_one_name_and_an_error_where_a_model_has_none() -> None:
    pytest.importorskip("timm")
    picture = InputSpec("image", (3, 32, 32))
    model = net("timm:test_vit", picture, 10, dropout=0.3, stochastic_depth=0.2)
    drops = [m for m in model.modules() if type(m).__name__ == "DropPath"]
    assert drops and max(m.drop_prob for m in drops) == pytest.approx(0.2)
    assert 0.3 in {m.p for m in model.modules() if isinstance(m, nn.Dropout)}
    model = net("torchvision:convnext_tiny", picture, 10, stochastic_depth=0.4)
    assert max(m.p for m in model.modules() if type(m).__name__ == "StochasticDepth") == pytest.approx(0.4)
    assert 0.5 in {m.p for m in net("lenet", PICTURE, 10, dropout=0.5).modules() if isinstance(m, nn.Dropout)}
    for name, option in (("lenet", "stochastic_depth"), ("resnet18", "dropout")):
        with pytest.raises(UsageError, match=f"the model {name} has no option '{option}'"):
            net(name, PICTURE, 10, **{option: 0.1})
    with pytest.raises(ModelError, match="stochastic_depth_prob"):
        net("torchvision:resnet18", picture, 10, stochastic_depth=0.1)
