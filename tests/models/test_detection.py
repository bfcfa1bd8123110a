"""The detector keeps what every model promises, alone and on a backbone of timm's."""

from __future__ import annotations

import pytest
import torch

from flambeau.core.errors import ModelError, UsageError
from flambeau.models import InputSpec, OutputSpec, build, layer_groups
from flambeau.testing import check_model

WANTED = OutputSpec(6, "boxes")


def test_it_keeps_what_models_promise() -> None:
    check_model("detector", InputSpec("image", (3, 48, 40)), width=16)


@pytest.mark.usefixtures("timm_installed")
def test_a_classifier_of_timm_becomes_its_backbone() -> None:
    built = build("timm:mobilenetv3_small_050", InputSpec("image", (1, 64, 96)), WANTED, width=16)
    places = 8 * 12 + 4 * 6 + 2 * 3
    output = built.model.eval()(torch.zeros(2, 1, 64, 96))
    assert output.shape == (2, places, 10) and built.options == {"width": 16}
    cells = output[0, :, 6:]
    assert cells[0].tolist() == pytest.approx([0, 0, 1 / 12, 1 / 8]) and cells[-1].tolist() == pytest.approx(
        [2 / 3, 0.5, 1, 1]
    )
    groups = layer_groups(built.model, built.head_parameters())
    assert len(groups) > 4 and all(name.startswith(("pyramid", "head")) for name in groups[-1].parameters)
    with pytest.raises(ModelError, match="no feature map of the stride 8"):
        build("timm:vit_tiny_patch16_224", InputSpec("image", (3, 64, 64)), WANTED)
    with pytest.raises(UsageError, match="gives numbers for a sample"):
        build("resnet9", InputSpec("image", (3, 64, 64)), WANTED)
