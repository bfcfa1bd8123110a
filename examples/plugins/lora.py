"""LoRA: Hu et al. 2021, arXiv:2106.09685. Trains a few per cent of the parameters.

flambeau train photos/ --plugin examples/plugins/lora.py --technique lora
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flambeau.objectives import Objective
from flambeau.techniques import TECHNIQUES, Technique


class LowRank(nn.Module):
    """A frozen linear layer, and beside it one of rank `rank`. Shapes: (…, in_features) to (…, out_features)."""

    def __init__(self, layer: nn.Linear, rank: int):
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(rank, layer.in_features) / layer.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(layer.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + x @ self.down.T @ self.up.T


@TECHNIQUES.register("lora")
class LoRA(Technique):
    """Freezes the model but for its head, and puts a small product of matrices beside each of its linear layers."""

    name = "lora"
    settings = ("rank",)

    def __init__(self, rank: int = 4):
        self.rank = rank

    def on_build(self, objective: Objective) -> None:
        head = {id(p) for p in objective.head_parameters()}
        for parameter in objective.model.parameters():
            parameter.requires_grad_(id(parameter) in head)
        layers = [(name, m) for name, m in objective.model.named_modules() if isinstance(m, nn.Linear)]
        for name, layer in layers:
            if id(layer.weight) not in head:
                parent, _, child = name.rpartition(".")
                setattr(objective.model.get_submodule(parent), child, LowRank(layer, self.rank))
