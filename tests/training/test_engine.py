"""Where and how a model computes is decided by rules, and said."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flambeau.core.errors import UsageError
from flambeau.training import engine

SMALL, LARGE = nn.Linear(10, 10), nn.Linear(1000, 1000)
DEPTHWISE = nn.Sequential(nn.Conv2d(2000, 2000, 1), nn.Conv2d(2000, 2000, 3, groups=2000))
GROUPS = nn.Sequential(nn.Conv2d(2000, 2000, 1), nn.Conv2d(2000, 2000, 3, groups=1000))
CONV = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten())


def chosen(model: nn.Module, fast: bool, monkeypatch: pytest.MonkeyPatch, **options: object) -> engine.Engine:
    monkeypatch.setattr(engine, "bf16_is_fast", lambda device: (fast, "the processor has it" if fast else "it has not"))
    return engine.choose(model, device="cpu", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "fast", "options", "dtype", "why"),
    [
        (LARGE, True, {}, torch.bfloat16, "bf16: the processor has it"),
        (LARGE, False, {}, None, "float32: it has not"),
        (DEPTHWISE, True, {}, None, "float32: 50% of its channels are of depthwise convolutions"),
        (GROUPS, True, {}, torch.bfloat16, "bf16: the processor has it"),
        (SMALL, True, {}, None, "float32: the model has 110 parameters only"),
        (LARGE, True, {"exact": True}, None, "float32: numbers are predicted"),
        (SMALL, False, {"precision": "bf16"}, torch.bfloat16, "bf16: as asked, although it has not"),
        (LARGE, True, {"precision": "float32"}, None, "float32: as asked"),
    ],
)
def test_precision(
    model: nn.Module, fast: bool, options: dict[str, object], dtype: object, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = chosen(model, fast, monkeypatch, **options)
    assert made.autocast_dtype == dtype
    assert any(why in reason for reason in made.reasons)
    with made.autocast():
        assert torch.is_autocast_enabled("cpu") is (dtype is not None)


def test_pictures_lie_with_their_channels_together_where_there_are_convolutions() -> None:
    assert engine.choose(CONV, device="cpu").channels_last and not engine.choose(LARGE, device="cpu").channels_last
    assert not engine.choose(CONV, device="cpu", channels_last=False).channels_last
    model = nn.Sequential(nn.Conv2d(3, 8, 3))
    engine.choose(model, device="cpu").place(model)
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cpp"}, "no device is called 'cpp'; did you mean 'cpu'"),
        ({"device": "cuda:7"}, "CUDA"),
        ({"precision": "fp16x"}, "no precision is called 'fp16x'"),
    ],
)
def test_what_does_not_exist_here_is_told(options: dict[str, str], message: str) -> None:
    if torch.cuda.is_available() and options.get("device") == "cuda:7":
        pytest.skip("there is a CUDA device")
    with pytest.raises(UsageError, match=message):
        engine.choose(SMALL, **{"device": "cpu", **options})  # type: ignore[arg-type]
