"""Initialisation by name. Costs nothing; LSUV a few forward passes of one batch. Gain: none on
sentences, −0.6 ± 2.1 points.

Kaiming: He et al. 2015, arXiv:1502.01852. Xavier: Glorot & Bengio 2010. Orthogonal: Saxe et al. 2014, arXiv:1312.6120.
LSUV: Mishkin & Matas 2016, arXiv:1511.06422.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from flambeau.core.errors import UsageError
from flambeau.techniques.base import TECHNIQUES, Technique, Training
from flambeau.techniques.statistics import modes_kept

if TYPE_CHECKING:
    from flambeau.objectives import Objective

SCHEMES = ("kaiming", "xavier", "orthogonal", "lsuv")
PASSES, NEAR = 10, 0.01  # of a batch for each layer, at most; how near to 1 its deviation is to be


@TECHNIQUES.register("init")
class Init(Technique):
    """Draws the weights of linear and convolutional layers anew by a `scheme`, and sets their biases to 0: `kaiming`
    normal for ReLU, `xavier` uniform, `orthogonal`, or `lsuv`, orthogonal and then scaled layer by layer until the
    layer's output has the variance 1 over a training batch. For a model that starts fresh."""

    settings = ("scheme",)
    fresh = True

    def __init__(self, scheme: str = "kaiming"):
        if scheme not in SCHEMES:
            raise UsageError(f"no initialisation is called '{scheme}'", expected=", ".join(SCHEMES))
        self.scheme = scheme
        self._scaled = False

    def on_build(self, objective: Objective) -> str | None:
        schemes: dict[str, Any] = {
            "kaiming": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
            "xavier": nn.init.xavier_uniform_,
        }
        layers = weighted(objective.model)
        if not layers:
            raise UsageError("the model has no linear or convolutional layer to initialise", fix="leave init out")
        for layer in layers:
            schemes.get(self.scheme, nn.init.orthogonal_)(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        return f"init {self.scheme}: the weights of {len(layers)} layers"

    def on_training(self, training: Training) -> None:
        if self.scheme != "lsuv" or self._scaled:
            return
        self._scaled = True
        batch = next(training.batches(1), None)
        for layer in weighted(training.objective.model) if batch is not None else []:
            for _ in range(PASSES):
                deviation = _deviation(training.objective, layer, batch)
                if deviation is None or abs(deviation - 1) < NEAR:
                    break
                layer.weight.data /= deviation


def weighted(model: nn.Module) -> list[Any]:
    """The linear and convolutional layers of a model that learn, in its order."""
    layers = [module for module in model.modules() if isinstance(module, nn.Linear | _ConvNd)]
    return [layer for layer in layers if layer.weight.requires_grad]


def _deviation(objective: Objective, layer: nn.Module, batch: Any) -> float | None:
    """The standard deviation of a layer's output for a batch, without dropout; None where it is not called, or has
    none. The model stays as it is."""
    seen: list[Tensor] = []
    handle = layer.register_forward_hook(lambda module, inputs, output: seen.append(output.detach().float()))
    try:
        with modes_kept(objective.model), torch.no_grad():
            objective.model.eval()
            objective.start_evaluation()
            objective.evaluate(batch)
            objective.start_evaluation()
    finally:
        handle.remove()
    deviation = float(seen[0].std()) if seen and seen[0].numel() > 1 else 0.0
    return deviation if deviation > 0 else None
