"""What every model promises: each check runs for every model of our own, on a small input of each of its kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from flambeau.fields import Ragged
from flambeau.models import OWN, InputSpec
from flambeau.testing import MODEL_CHECKS, check_model
from flambeau.testing.models import SMALL

UNUSED = {"nbeats": ("blocks.2.backcast.weight", "blocks.2.backcast.bias")}  # what the last block explains of the past
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "gru": [{}, {"bidirectional": False}],
    "lstm-tagger": [{}, {"crf": True}],
    "m5": [{}, {"activation": "tanh"}],
    "melcnn": [{}, {"norm": "group", "activation": "elu"}],
    "resmlp": [{}, {"activation": "gelu"}],
    "textcnn": [{}, {"activation": "silu"}],
}
CASES = [
    pytest.param(name, InputSpec(kind, SMALL[kind]), options, id=f"{name}-{kind}-{i}")
    for name in OWN
    for kind in OWN.kinds[name]
    for i, options in enumerate(OPTIONS.get(name, [{}]))
]


@pytest.mark.parametrize(("name", "spec", "options"), CASES)
@pytest.mark.parametrize("check", MODEL_CHECKS, ids=lambda check: check.__name__)
def test_it_holds_what_every_model_promises(
    name: str, spec: InputSpec, options: dict[str, Any], check: Callable[..., None]
) -> None:
    check(name, spec, options, UNUSED.get(name, ()))


class Broken(nn.Module):
    """Breaks one promise at a time. Shapes: Ragged (B, T) to (B, K)."""

    def __init__(self, words: int, num_outputs: int, how: str = ""):
        super().__init__()
        self.how, self.table = how, nn.Embedding(words, num_outputs)
        if how == "has a weight that learns nothing":
            self.idle = nn.Linear(3, 3)
        if how == "keeps a number to itself":
            self.scale = torch.randn(num_outputs)  # no buffer, and no parameter

    def forward(self, x: Ragged) -> Tensor:
        vectors = self.table(x.values)
        if self.how == "averages the padding":
            return vectors.mean(1)
        there = torch.arange(vectors.shape[1]) < x.lengths[:, None]
        mean = (vectors * there[..., None]).sum(1) / x.lengths[:, None]
        if self.how == "looks at its neighbours":
            return mean - mean.mean(0)
        if self.how == "is random in evaluation":
            return mean + torch.randn(mean.shape)
        if self.how == "hangs an attribute on itself":
            self.last = mean.detach()
        return mean * self.scale if self.how == "keeps a number to itself" else mean


WAYS = (
    "has a weight that learns nothing", "keeps a number to itself", "averages the padding", "looks at its neighbours",
    "is random in evaluation", "hangs an attribute on itself",
)  # fmt: skip


@pytest.fixture
def broken() -> Any:
    """Entered for one test."""
    OWN.register("broken", ("text",), of=lambda spec: spec.shape)(Broken)
    yield "broken"
    del OWN._parts["broken"]
    for table in (OWN.kinds, OWN.layouts, OWN.options, OWN.rates):
        del table["broken"]


@pytest.mark.parametrize("how", WAYS)
def test_a_broken_promise_is_seen(broken: str, how: str) -> None:
    with pytest.raises(AssertionError):
        check_model(broken, how=how)
    check_model(broken)


def test_parameters_that_are_said_to_be_unused_may_be(broken: str) -> None:
    check_model(broken, unused=("idle.weight", "idle.bias"), how="has a weight that learns nothing")
