"""Layer groups: every parameter is in one, from the input to the head, in the order of a model's own blocks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from forkserver import Forkserver
from small import digits
from torch import nn

import flambeau as fb
from flambeau.core.errors import UsageError
from flambeau.models import OWN, Group, InputSpec, build, layer_groups, skeleton


def names(model: nn.Module, **options: object) -> list[str]:
    return [group.name for group in layer_groups(model, **options)]  # type: ignore[arg-type]


def whole(model: nn.Module, groups: tuple[Group, ...]) -> bool:
    """Whether each parameter and buffer is in one group."""
    parameters = [name for group in groups for name in group.parameters]
    buffers = [name for group in groups for name in group.buffers]
    return sorted(parameters) == sorted(name for name, _ in model.named_parameters()) and sorted(buffers) == sorted(
        name for name, _ in model.named_buffers()
    )


@pytest.mark.parametrize("name", [name for name in OWN if name not in OWN.fitted])
def test_every_model_of_ours_is_parted_without_a_remainder(name: str) -> None:
    built = skeleton(name)
    groups = layer_groups(built.model, built.head_parameters())
    assert whole(built.model, groups) and all(group.count for group in groups)
    assert {*map(id, built.head_parameters())} <= {*map(id, groups[-1].parameters.values())}


KNOWN = {
    "resnet18": ["conv1", "layer1", "layer2", "layer3", "layer4", "fc"],
    "transformer": ["embedding", "blocks.0", "blocks.1", "head"],
    "timm:resnet18": ["conv1", "layer1", "layer2", "layer3", "layer4", "fc"],
    "timm:tf_efficientnet_lite0": ["conv_stem", *(f"blocks.{i}" for i in range(7)), "conv_head", "classifier"],
    "timm:vit_tiny_patch16_224": ["patch_embed", *(f"blocks.{i}" for i in range(12)), "head"],
    "timm:convnext_tiny": ["stem", *(f"stages.{i}" for i in range(4)), "head.fc"],
    "torchvision:resnet18": ["conv1", "layer1", "layer2", "layer3", "layer4", "fc"],
    "torchvision:efficientnet_b0": [*(f"features.{i}" for i in range(9)), "classifier.1"],
    "torchvision:vit_b_32": ["conv_proj", *(f"encoder.layers.encoder_layer_{i}" for i in range(12)), "heads.head"],
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_groups_of_well_known_models_are_their_stages(name: str) -> None:
    pytest.importorskip(name.partition(":")[0] if ":" in name else "torch")
    built = skeleton(name)
    groups = layer_groups(built.model, built.head_parameters())
    assert [group.name for group in groups] == KNOWN[name] and whole(built.model, groups)


def test_normalisations_and_their_statistics_go_with_the_layer_before_them() -> None:
    stem, *_ = layer_groups(skeleton("resnet18").model)
    assert stem.layers == ("conv1", "bn1")
    assert stem.buffers == ("bn1.running_mean", "bn1.running_var", "bn1.num_batches_tracked")


def test_an_encoder_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=40, hidden_size=8, num_hidden_layers=3, num_attention_heads=2, intermediate_size=16
    )
    transformers.BertModel(config).save_pretrained(tmp_path)
    layers = [f"encoder.encoder.layer.{i}" for i in range(3)]
    assert names(skeleton(f"hf:{tmp_path}").model) == ["encoder.embeddings", *layers, "head"]
    assert names(build(f"hf:{tmp_path}", InputSpec("text", (40,)), 2).model) == ["encoder.embeddings", *layers, "head"]


class Net(nn.Module):
    """As users write them: a body in a module of its own, positions beside it, and something behind the head."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, 1))
        self.body = nn.Sequential(*(nn.Sequential(nn.Linear(64 if i == 0 else 8, 8), nn.ReLU()) for i in range(3)))
        self.norm = nn.BatchNorm1d(8)
        self.head = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.body(x.flatten(1) * self.scale)))


def test_a_users_own_module() -> None:
    model = Net()
    assert names(model) == ["body.0", "body.1", "body.2", "head"] and whole(model, layer_groups(model))
    assert layer_groups(model)[0].layers == ("", "body.0.0")
    assert layer_groups(model)[2].layers == ("body.2.0", "norm")
    assert names(nn.Linear(3, 2)) == [""] and names(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))) == ["0", "1"]


def test_what_comes_behind_the_head_is_of_it() -> None:
    model = Net()
    model.transitions = nn.Linear(10, 10)
    groups = layer_groups(model, head=model.head.parameters())
    assert groups[-1].layers == ("head", "transitions") and whole(model, groups)


def test_groups_by_pattern() -> None:
    model = Net()
    groups = layer_groups(model, patterns=[r"body\.[01]|scale", "body|norm", "."])
    assert [group.layers for group in groups] == [("", "body.0.0", "body.1.0"), ("body.2.0", "norm"), ("head",)]
    assert whole(model, groups)
    with pytest.raises(UsageError, match=r"the parameter head\.weight is in no layer group; .* '.' fits all that is"):
        layer_groups(model, patterns=["scale", "body", "norm"])
    with pytest.raises(UsageError, match=r"no parameter is left for the layer group 'heads'; expected layers: .*norm"):
        layer_groups(model, patterns=["heads", "."])
    with pytest.raises(UsageError, match=r"no regular expression \(missing \)"):
        layer_groups(model, patterns=["("])


def test_a_learner_has_them_and_takes_patterns_for_any_model() -> None:
    data = fb.Dataset.from_arrays(*digits())
    learner = fb.Learner(data, model=Net(), run=False, quiet=True)
    assert [group.name for group in learner.groups()] == ["body.0", "body.1", "body.2", "head"]
    by_pattern = fb.Learner(data, model="mlp", run=False, quiet=True, groups=["body", "head"])
    assert [group.name for group in by_pattern.groups()] == ["body", "head"]


def test_the_command_prints_them(flambeau: Forkserver, tmp_path: Path) -> None:
    told = flambeau("models", "resnet18", "--groups", cwd=tmp_path)
    assert told.status == 0 and told.out.splitlines()[1].split() == ["conv1", "2", "1,856"], told.err
    listed = flambeau("models", "lenet", "--groups", "--json", cwd=tmp_path).json
    assert [group["name"] for group in listed["groups"]] == ["body.0", "body.4", "hidden", "head"]
    refused = flambeau("models", "lenett", "--groups", cwd=tmp_path)
    assert refused.status == 2 and "did you mean 'lenet'?" in refused.err
