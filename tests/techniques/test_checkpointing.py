"""Gradient checkpointing: the same weights out of less memory."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from made import net
from small import stored, trainer, weights
from torch import nn
from torch.distributed._tools.mem_tracker import MemTracker

from flambeau.models import InputSpec
from flambeau.objectives import Supervised
from flambeau.techniques import SAM, GradientCheckpointing
from flambeau.techniques.gradient_checkpointing import blocks
from flambeau.training.engine import Engine


def of(name: str, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return net(name, InputSpec("image", (1, 8, 8)), 10, **options)


class Attention(nn.Module):
    """Torch's own encoder, whose layers are in a ModuleList, over the rows of a picture."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(8, 2, 32, dropout=0.2, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False), nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(x[:, 0]).flatten(1))


MODELS: dict[str, tuple[Any, int]] = {
    "lenet": (lambda: of("lenet", dropout=0.3), 2),
    "resnet9": (lambda: of("resnet9", width=4), 6),
    "resnet18": (lambda: of("resnet18"), 8),
    "attention": (Attention, 3),
    "alone": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), 1),
}


@pytest.mark.parametrize("precision", [None, torch.bfloat16], ids=["float32", "bf16"])
@pytest.mark.parametrize("name", MODELS)
def test_the_weights_and_the_statistics_are_those_without_it(name: str, precision: torch.dtype | None) -> None:
    def trained(*techniques: Any) -> Any:
        torch.manual_seed(0)
        training = trainer(Supervised(MODELS[name][0](), stored()[0].fields["y"]), techniques=techniques, keep="last")
        training.engine = Engine(autocast_dtype=precision)
        training.fit()
        return training

    plain, with_it = trained(), trained(GradientCheckpointing())
    for key, value in weights(plain).items():
        torch.testing.assert_close(weights(with_it)[key], value, rtol=1e-6, atol=1e-6, msg=key)
    assert not any("forward" in vars(module) for module in with_it.objective.model.modules())


def test_with_a_second_pass_of_sam_a_batch_counts_once() -> None:
    trainings = [trainer(Supervised(of("resnet9", width=4), stored()[0].fields["y"]), techniques=techniques, epochs=1)
                 for techniques in ([SAM()], [GradientCheckpointing(), SAM()])]  # fmt: skip
    for training in trainings:
        training.fit()
    plain, with_it = map(weights, trainings)
    for key, value in plain.items():
        torch.testing.assert_close(with_it[key], value, rtol=1e-6, atol=1e-6, msg=key)


@pytest.mark.parametrize("name", MODELS)
def test_its_blocks(name: str) -> None:
    make, count = MODELS[name]
    model = make()
    found = blocks(model)
    assert len(found) == count
    said = GradientCheckpointing().on_build(Supervised(model, stored()[0].fields["y"]))
    assert said and type(found[0]).__name__ in said


def test_less_memory_is_in_use_at_the_peak() -> None:
    def peak(*techniques: Any) -> int:
        layers = nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 32), nn.GELU()
        stack = nn.Sequential(*(nn.Sequential(*copy.deepcopy(layers)) for _ in range(12)))
        objective = Supervised(stack, stored()[0].fields["y"])
        for technique in techniques:
            technique.on_fit_start(objective)
        given = torch.randn(2000, 32)
        tracker = MemTracker()
        with tracker:
            nn.functional.cross_entropy(objective.model(given), torch.zeros(2000, dtype=torch.int64)).backward()
        return int(tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"])

    assert peak(GradientCheckpointing()) < 0.5 * peak()


def test_a_copy_of_the_model_while_it_trains_is_a_model_of_its_own() -> None:
    objective = Supervised(of("resnet9", width=4), stored()[0].fields["y"])
    GradientCheckpointing().on_fit_start(objective)
    twin, x = copy.deepcopy(objective.model), torch.randn(4, 1, 8, 8)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert not twin(x).any() and objective.model(x).any()
