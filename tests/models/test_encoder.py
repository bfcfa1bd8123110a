"""timm's backbones as encoders: their maps, and their weights from a classifier's file."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch

from flambeau.core.errors import ModelError, UsageError
from flambeau.models import InputSpec
from flambeau.models.vision.encoder import encoder

SPEC = InputSpec("image", (3, 64, 64))


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050", "convnext_atto"])  # named in three ways
def test_its_maps_are_those_of_the_classifier_whose_weights_it_has(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = timm.create_model(name).eval()
    torch.save(whole.state_dict(), tmp_path / "whole.pth")
    maps, wanted, _ = encoder(f"timm:{name}", SPEC, (8, 32), pretrained=tmp_path / "whole.pth")
    pictures = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        fine, coarse = maps.eval()(pictures)
        states = whole.forward_intermediates(pictures, intermediates_only=True)
    assert fine.shape == (2, maps.channels[0], 8, 8)
    assert coarse.shape == (2, maps.channels[1], 2, 2) and maps.strides == (8, 32)
    assert any(state.shape == coarse.shape and torch.allclose(state, coarse, atol=1e-5) for state in states)
    assert wanted is not None and len(wanted.mean) == 3


def test_a_grey_picture_and_other_strides() -> None:
    maps, wanted, notes = encoder("resnet10t", InputSpec("image", (1, 40, 50)), (2, 4))
    assert [one.shape[2:] for one in maps(torch.zeros(1, 1, 40, 50))] == [(20, 25), (10, 13)]
    assert wanted is None and not notes


def test_what_is_no_encoder_is_told_in_one_line() -> None:
    with pytest.raises(UsageError, match="timm has no model 'resnet19'"):
        encoder("timm:resnet19", SPEC)
    with pytest.raises(ModelError, match="no feature map of the stride 4; expected 16; use a convolutional backbone"):
        encoder("timm:vit_tiny_patch16_224", SPEC)
