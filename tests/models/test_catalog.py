"""Listing and choosing models."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from made import net

from flambeau.core.errors import UsageError
from flambeau.models import OWN, InputSpec, choose, list_models
from flambeau.models.inputs import FORMS, Form


def test_ours_come_first_and_are_counted() -> None:
    listed = list_models()
    ours = sorted(OWN)
    assert [model.name for model in listed[: len(ours)]] == ours
    counts = {model.name: model.parameters for model in listed[: len(ours)]}
    assert counts["resnet18"] == 11_689_512
    built = net("resnet9", InputSpec("image", (3, 32, 32)), 10)
    assert counts["resnet9"] == sum(p.numel() for p in built.parameters())


@pytest.mark.usefixtures("timm_installed", "torchvision_installed")
def test_patterns_are_parts_or_globs_in_any_case() -> None:
    def names(pattern: str) -> list[str]:
        return [model.name for model in list_models(pattern)]

    assert names("RESNET18") == [n for n in names("*") if "resnet18" in n]
    assert {"resnet18", "timm:resnet18", "torchvision:resnet18"} <= set(names("resnet18"))
    assert names("torchvision:alex*") == ["torchvision:alexnet"]
    assert names("resnet??") == ["resnet18", "resnet34", "resnet50"]
    assert names("no such thing") == []
    assert names("hf:*") == ["hf:FOLDER"]


@pytest.mark.usefixtures("timm_installed", "torchvision_installed")
def test_entries_say_what_is_known() -> None:
    (alexnet,) = list_models("torchvision:alexnet")
    assert (alexnet.family, alexnet.parameters) == ("alexnet", 61_100_840)
    assert "top 1 56.5 %" in alexnet.note
    (lite,) = list_models("timm:tf_efficientnet_lite0")
    assert lite.family == "efficientnet" and lite.note == "pretrained weights"


def test_a_missing_extra_is_told_and_the_rest_is_listed() -> None:
    code = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("timm", "torchvision"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from flambeau.core.errors import MissingExtra
from flambeau.models import InputSpec, build, list_models
listed = {model.name: model.note for model in list_models()}
assert "resnet9" in listed
assert listed["timm:*"] == listed["torchvision:*"] == "not installed: pip install 'flambeau[vision]'", listed
try:
    build("timm:resnet18", InputSpec("image", (3, 32, 32)), 2)
except MissingExtra as missing:
    assert "needs the package timm" in str(missing), missing
else:
    raise AssertionError
build("resnet18", InputSpec("image", (3, 32, 32)), 2)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("shape", "name"),
    [
        ((7,), "mlp"),
        ((1, 2, 2), "mlp"),
        ((1, 8, 8), "lenet"),
        ((3, 6, 50), "lenet"),
        ((1, 28, 28), "resnet9"),
        ((3, 64, 64), "resnet9"),
        ((3, 65, 65), "resnet18"),
        ((3, 224, 224), "resnet18"),
    ],
)
def test_the_choice_follows_the_size_and_can_be_built(shape: tuple[int, ...], name: str) -> None:
    spec = InputSpec("image" if len(shape) == 3 else "number", shape)
    chosen, why = choose(spec, 2_000)
    assert chosen == name
    assert why and "\n" not in why
    assert net(chosen, spec, 3)(torch.rand(2, *shape)).shape == (2, 3)


def test_the_choice_follows_the_data_and_the_weights() -> None:
    photos = InputSpec("image", (3, 224, 224))
    assert choose(photos, 1_000_000)[0] == "resnet50"
    assert choose(InputSpec("image", (3, 32, 32)), 500, pretrained=True)[0] == "resnet18"


def test_an_input_of_a_new_form_is_entered_and_its_model_is_chosen() -> None:
    FORMS["points"] = Form("(N, D), each", (2,), "clouds of points", (64, 3))
    spec = InputSpec("points", (5, 3))
    try:
        with pytest.raises(UsageError, match="no model takes points 5×3"):
            choose(spec, 100)

        @OWN.register("mean-point", kinds=("points",), of=lambda spec: (spec.shape[1],))
        class MeanPoint(torch.nn.Linear):
            def __init__(self, width: int, num_outputs: int):
                super().__init__(width, num_outputs)

            def forward(self, points: torch.Tensor) -> torch.Tensor:
                return super().forward(points.mean(1))

        assert choose(spec, 100) == ("mean-point", "it takes points 5×3")
        assert net("mean-point", spec, 4)(torch.rand(2, 5, 3)).shape == (2, 4)
        with pytest.raises(UsageError, match="mean-point takes clouds of points, the input is image 3×8×8"):
            net("mean-point", InputSpec("image", (3, 8, 8)), 4)
    finally:
        del FORMS["points"]
        OWN.kinds.pop("mean-point")
        OWN._parts.pop("mean-point")
