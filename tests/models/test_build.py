"""`build`: names, heads, channels, sizes, options, randomness, and the errors that come before training."""

from __future__ import annotations

import pytest
import torch
from made import net
from torch import nn

from flambeau.core.errors import ModelError, UsageError
from flambeau.models import OWN, InputSpec, OutputSpec, Recommended, build, choose, fuse

# One of each torchvision family, the smallest; sizes that each can take.
TORCHVISION = {
    "alexnet": 64,
    "convnext_tiny": 32,
    "densenet121": 32,
    "efficientnet_b0": 32,
    "googlenet": 32,
    "inception_v3": 75,
    "maxvit_t": 224,
    "mnasnet0_5": 32,
    "mobilenet_v2": 32,
    "mobilenet_v3_small": 32,
    "regnet_y_400mf": 32,
    "resnet18": 32,
    "shufflenet_v2_x0_5": 32,
    "squeezenet1_1": 32,
    "swin_t": 32,
    "vgg11": 32,
    "vit_b_32": 32,
}
TIMM = ["resnet18", "tf_efficientnet_lite0", "mobilenetv3_small_050", "vit_tiny_patch16_224", "convnext_atto"]


@pytest.mark.usefixtures("torchvision_installed")
@pytest.mark.parametrize("name", TORCHVISION)
def test_every_torchvision_family_gets_its_head_and_channels(name: str) -> None:
    size = TORCHVISION[name]
    built = build(f"torchvision:{name}", InputSpec("image", (1, size, size)), 3)
    model = built.model
    output = model(torch.rand(2, 1, size, size))  # in training mode: no auxiliary outputs
    assert output.shape == (2, 3)
    head = built.head_parameters()
    assert head and head[0].shape[0] == 3
    assert {id(p) for p in head} <= {id(p) for p in model.parameters()}


def test_the_list_of_families_above_is_whole(torchvision_installed: None) -> None:
    import torchvision

    names = torchvision.models.list_models(module=torchvision.models)
    families = {torchvision.models.get_model_builder(name).__module__ for name in names}
    assert families == {torchvision.models.get_model_builder(name).__module__ for name in TORCHVISION}


@pytest.mark.usefixtures("timm_installed")
@pytest.mark.parametrize("name", TIMM)
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_timm_models_take_any_channels_and_sizes(name: str, channels: int) -> None:
    built = build(f"timm:{name}", InputSpec("image", (channels, 64, 64)), 6)
    model = built.model
    assert model(torch.rand(2, channels, 64, 64)).shape == (2, 6)
    assert [len(p) for p in built.head_parameters()] == [6, 6]
    assert built.wanted is None


def test_models_of_numbers_take_numbers_and_those_of_pictures_do_not() -> None:
    numbers = InputSpec("number", (12,))
    assert net("mlp", numbers, 3)(torch.rand(4, 12)).shape == (4, 3)
    message = "resnet18 takes pictures, the input is number 12; use one of: mlp, .*, linear, resmlp, tabm"
    with pytest.raises(UsageError, match=message):
        net("resnet18", numbers, 3)


@pytest.mark.parametrize(
    ("kind", "shape"), [("image", (3, 8)), ("number", (3, 8)), ("image", (0, 8, 8)), ("odd", (1,))]
)
def test_a_spec_that_makes_no_sense_is_refused(kind: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError):
        InputSpec(kind, shape)


def test_the_generator_alone_decides_the_weights_and_the_global_one_is_untouched() -> None:
    def weights(seed: int) -> torch.Tensor:
        model = net("resnet9", InputSpec("image", (1, 16, 16)), 2, generator=torch.Generator().manual_seed(seed))
        return torch.cat([p.flatten() for p in model.parameters()])

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = weights(1)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first, weights(1))
    assert not torch.equal(first, weights(2))


def test_building_leaves_batch_statistics_as_they_start() -> None:
    model = net("resnet9", InputSpec("image", (1, 16, 16)), 2)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(m.num_batches_tracked is not None and int(m.num_batches_tracked) == 0 for m in norms)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet19", r"no model is called 'resnet19'; did you mean 'resnet"),
        ("lennet", r"did you mean 'lenet'\?"),
        ("keras:resnet50", r"no model is called 'keras:resnet50'; did you mean 'resnet50'\?"),
    ],
)
def test_an_unknown_name_gets_the_nearest(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        net(name, InputSpec("image", (3, 32, 32)), 2)


@pytest.mark.usefixtures("timm_installed", "torchvision_installed")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("efficientnet_b0", r"did you mean 'timm:efficientnet_b0'\?"),
        ("alexnet", r"did you mean 'torchvision:alexnet'\?"),
        ("timm:resnet81", r"did you mean 'timm:resnet"),
        ("torchvision:resnet118", r"did you mean 'torchvision:resnet"),
        ("timm:resnet18.nonesuch", r"no weights are called 'resnet18.nonesuch'.*resnet18.a1_in1k"),
    ],
)
def test_an_unknown_name_of_another_source(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        net(name, InputSpec("image", (3, 32, 32)), 2)


def test_an_unknown_option_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="no option 'widht'; did you mean 'width'"):
        net("resnet9", InputSpec("image", (3, 32, 32)), 2, widht=8)
    assert net("mlp", InputSpec("number", (4,)), 2, hidden=[]).head.in_features == 4


@pytest.mark.usefixtures("torchvision_installed")
@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("torchvision:inception_v3", (3, 32, 32), r"cannot take image 3×32×32 .*it takes 75 px"),
        ("torchvision:alexnet", (1, 28, 28), r"cannot take image 1×28×28 .*it takes 64 px"),
        ("torchvision:vit_b_32", (3, 40, 40), r"cannot build it for image 3×40×40 .*patch size"),
        ("torchvision:vit_b_32", (3, 32, 64), r"takes square pictures only"),
    ],
)
def test_a_size_that_a_model_cannot_take_is_told_at_once(name: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        net(name, InputSpec("image", shape), 2)


def test_no_outputs_are_refused() -> None:
    with pytest.raises(UsageError, match="0 outputs"):
        net("mlp", InputSpec("number", (4,)), 0)


def test_recommended_input_for_grey() -> None:
    rgb = Recommended((0.4, 0.5, 0.6), (0.2, 0.2, 0.2), 224)
    assert rgb.for_channels(3) is rgb
    grey = rgb.for_channels(1)
    assert grey.mean == pytest.approx((0.5,)) and grey.std == pytest.approx((0.2,)) and grey.size == 224


class Cells(nn.Conv2d):
    """Numbers for each cell of `size` pixels a side."""

    def __init__(self, spec: InputSpec, num_outputs: int, size: int = 4):
        super().__init__(spec.channels, num_outputs, size, size)


def test_a_target_says_which_output_it_wants_and_gets_a_model_that_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    dense = {name for name, layout in OWN.layouts.items() if layout == "dense"}
    for kept in ("_parts", "kinds", "layouts", "strides", "options", "rates", "wants"):
        ours = {name: value for name, value in getattr(OWN, kept).items() if name not in dense}
        monkeypatch.setattr(OWN, kept, ours)
    spec = InputSpec("image", (3, 16, 12))
    with pytest.raises(UsageError, match="no model takes image 3×16×12 and gives 5 numbers for a cell of a picture"):
        choose(spec, 100, output=OutputSpec(5, "dense"))
    OWN.register("cells", layout="dense", stride=4)(Cells)
    OWN.register("pixels", layout="dense", size=1)(Cells)
    assert choose(spec, 100, output=OutputSpec(5, "dense"))[0] == "pixels"
    assert choose(spec, 100, output=OutputSpec(5, "dense", 4))[0] == "cells"
    for wanted in (OutputSpec(5, "dense", 4), OutputSpec(5, "dense", None), 5):
        assert build("cells", spec, wanted).model(torch.zeros(2, 3, 16, 12)).shape == (2, 5, 4, 3)
    with pytest.raises(ModelError, match=r"its output is \(1, 5, 4, 3\); expected a tensor \(1, 5, 8, 6\)"):
        build("cells", spec, OutputSpec(5, "dense", 2))
    with pytest.raises(UsageError, match="for a cell of a picture, the target wants 5 numbers for a sample"):
        build("cells", spec, OutputSpec(5))
    with pytest.raises(UsageError, match=r"resnet18 gives numbers for a sample.*use the model pixels"):
        build("resnet18", spec, OutputSpec(5, "dense"))
    with pytest.raises(UsageError, match="of one input"):
        fuse({"a": spec, "b": spec}, OutputSpec(5, "dense"))
