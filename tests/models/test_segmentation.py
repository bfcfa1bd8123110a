"""U-Nets, from scratch and on timm's backbones: any size of picture, with the backbone's weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch

from flambeau.core.errors import ModelError, UsageError
from flambeau.models import InputSpec, OutputSpec, build, choose


@pytest.mark.parametrize("size", [(64, 64), (33, 47), (5, 9)])
@pytest.mark.parametrize("name", ["unet", "timm:resnet10t", "timm:convnext_atto"])
def test_each_pixel_of_a_picture_of_any_size_has_its_numbers(name: str, size: tuple[int, int]) -> None:
    if name == "timm:convnext_atto" and min(size) < 32:
        pytest.skip("it cuts a picture into pieces of 32 pixels")
    model = build(name, InputSpec("image", (3, *size)), OutputSpec(7, "dense")).model.eval()
    assert model(torch.zeros(2, 3, *size)).shape == (2, 7, *size)
    other = model(torch.zeros(1, 3, size[0] + 33, size[1] + 40))
    assert other.shape == (1, 7, size[0] + 33, size[1] + 40)


def test_what_a_pixel_is_called_depends_on_what_is_far_from_it() -> None:
    model = build("unet", InputSpec("image", (3, 64, 64)), OutputSpec(2, "dense")).model.eval()
    picture = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    model(picture)[0, 0, 32, 32].backward()
    assert picture.grad is not None
    seen = (picture.grad[0].abs().sum(0) > 0).nonzero()
    assert int(seen.min()) < 8 and int(seen.max()) > 56


def test_the_backbone_has_its_weights_and_the_rest_learns_at_the_full_rate(tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = timm.create_model("resnet10t")
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    spec = InputSpec("image", (1, 40, 40))
    built = build("timm:resnet10t", spec, OutputSpec(3, "dense"), pretrained=tmp_path / "whole.pth", dropout=0.1)
    torch.testing.assert_close(built.model.encoder.body.layer1[0].conv1.weight, whole.layer1[0].conv1.weight)
    assert built.wanted is not None and len(built.wanted.mean) == 1
    head = {id(parameter) for parameter in built.head_parameters()}
    body = {id(parameter) for parameter in built.model.encoder.parameters()}
    assert head | body == {id(parameter) for parameter in built.model.parameters()} and not head & body
    again = build("timm:resnet10t", spec, OutputSpec(3, "dense"), **built.options).model
    again.load_state_dict(built.model.state_dict())


def test_auto_takes_it_for_masks_and_what_does_not_fit_is_said() -> None:
    spec = InputSpec("image", (3, 64, 64))
    assert choose(spec, 100, output=OutputSpec(3, "dense", model="unet"))[0] == "unet"
    with pytest.raises(UsageError, match="the decoder has 1 widths; expected 4"):
        build("timm:resnet10t", spec, OutputSpec(3, "dense"), widths=[8])
    with pytest.raises(UsageError, match="depth 0"):
        build("unet", spec, OutputSpec(3, "dense"), depth=0)
    with pytest.raises(ModelError, match="timm"):
        build("timm:resnet10t", spec, OutputSpec(3, "dense"), nonsense=1)
