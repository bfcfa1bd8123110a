"""Quantisation-aware training: Jacob et al. 2018, arXiv:1712.05877; the gradient of rounding is that of Bengio et al.
2013, arXiv:1308.3432.

Costs a rounding of the weights and of the input of each convolution and dense layer, in each pass. Gain: an export in
int8 whose weights and ranges were learnt with; the network itself is as good, 0.0 ± 1.8 points on sentences.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from flambeau.core.errors import UsageError, require
from flambeau.core.files import read_json, write_json
from flambeau.models.added import Added
from flambeau.techniques.base import TECHNIQUES, Technique, Training

if TYPE_CHECKING:
    from flambeau.objectives import Objective

CONVOLUTIONS = nn.Conv1d, nn.Conv2d
FILE = "ranges.json"
"""Of a run: {layer: [lowest, highest]} of the inputs of its layers, by which an export in int8 rounds them."""


@TECHNIQUES.register("qat")
class QuantisationAware(Technique):
    """Trains, and validates, with what an export in int8 rounds: weights to 8 bits with a scale per channel, and the
    inputs of convolutions and dense layers to 8 bits: where convolutions have most of the weights by ranges that are
    averaged over the steps, elsewhere by each batch's own. At the end the weights stay as they were rounded, and the
    ranges of the last steps are left in the run, for `flambeau export --precision int8`. Best begun from a trained run
    (`--pretrained RUN`), for a few epochs at a low rate.

    Args:
        momentum: share of a step in a range.
    """

    settings = ("momentum",)

    def __init__(self, momentum: float = 0.05):
        require(0 < momentum <= 1, f"a momentum of {momentum}", "above 0, at most 1")
        self.momentum = momentum
        self.ranges: dict[str, Tensor] = {}  # (2), by the layer's name
        self._folder: Path | None = None
        self._trained: dict[str, nn.Module] = {}
        self._seen: dict[str, Tensor] = {}

    def on_build(self, objective: Objective) -> None:
        layers = rounded_layers(objective.model)
        if not layers:
            raise UsageError("the model has no convolution or dense layer, which qat is for", fix="leave qat out")

    def on_training(self, training: Training) -> None:
        self._folder = training.folder

    def on_fit_start(self, objective: Objective) -> None:
        self._release(objective)  # a training may have failed before
        self._trained = rounded_layers(objective.model)
        if any(isinstance(module, Added) for module in objective.model.modules()):
            raise UsageError("qat rounds the weights that are exported, and lora trains what is added to them",
                             fix="train with lora, then with qat from that run")  # fmt: skip
        static = by_convolutions(objective.model)
        for name, layer in self._trained.items():
            take = functools.partial(self._taken, name) if static else own_range
            vars(layer)["forward"] = functools.partial(_rounded, layer, layer.forward, take)

    def _taken(self, name: str, layer: nn.Module, x: Tensor) -> Tensor | None:
        """The range that a layer's input (…) is rounded by, (2); a training pass is counted at the end of its step, so
        that one that is made twice counts once."""
        if layer.training and torch.is_grad_enabled():
            now = own_range(layer, x)
            seen = self._seen.get(name)
            self._seen[name] = now if seen is None else widest(seen, now)
            return self.ranges.get(name, now)
        return self.ranges.get(name)

    def on_step_end(self, objective: Objective, step: int) -> None:
        for name, now in self._seen.items():
            self.ranges[name] = torch.lerp(self.ranges.get(name, now), now, self.momentum)
        self._seen = {}

    def on_fit_end(self, objective: Objective) -> None:
        self._release(objective)

    def on_done(self, objective: Objective) -> None:
        if not self._trained:
            return  # of a run that is loaded, which was rounded when it was trained
        with torch.no_grad():
            for layer in self._trained.values():
                layer.weight.copy_(in_8_bits(layer.weight))  # type: ignore[operator, arg-type]
        if self._folder is not None:
            write_json(self._folder / FILE, {name: ends.tolist() for name, ends in self.ranges.items()})

    def state_dict(self) -> dict[str, Any]:
        return {"ranges": dict(self.ranges)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.ranges, self._seen = dict(state["ranges"]), {}

    def _release(self, objective: Objective) -> None:
        for module in objective.model.modules():
            if isinstance(forward := vars(module).get("forward"), functools.partial) and forward.func is _rounded:
                del module.forward


def rounded_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers of a model that int8 is for, by name; not those whose weight is made of others."""
    return {
        name: module for name, module in model.named_modules()
        if isinstance(module, (*CONVOLUTIONS, nn.Linear)) and not parametrize.is_parametrized(module, "weight")
    }  # fmt: skip


def by_convolutions(model: nn.Module) -> bool:
    """Whether most weights are of convolutions, so that ranges are fixed beforehand; see `flambeau.exports.int8`."""
    sizes = {True: 0, False: 0}
    for module in model.modules():
        if isinstance(module, (*CONVOLUTIONS, nn.Linear, nn.LSTM)):
            sizes[isinstance(module, CONVOLUTIONS)] += sum(p.numel() for p in module.parameters(recurse=False))
    return sizes[True] > sizes[False]


def learnt_ranges(folder: Path) -> dict[str, list[float]]:
    """Those that a run was trained with, by layer; none where it was not."""
    return read_json(folder / FILE) if (folder / FILE).exists() else {}


def own_range(layer: nn.Module, x: Tensor) -> Tensor:
    """The lowest and highest number (2) of a layer's input (…), and 0 within."""
    low, high = x.detach().float().aminmax()
    return torch.stack([low.clamp(max=0), high.clamp(min=0)])


def widest(one: Tensor, other: Tensor) -> Tensor:
    """Both ranges (2) in one."""
    return torch.stack([torch.minimum(one[0], other[0]), torch.maximum(one[1], other[1])])


def in_8_bits(weight: Tensor) -> Tensor:
    """A weight (out, …) on the 255 numbers of its channels."""
    scale = weight.detach().float().flatten(1).abs().amax(1).clamp(min=1e-12) / 127
    zero = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight.float(), scale, zero, 0, -127, 127).to(weight.dtype)


def _rounded(
    layer: nn.Module, forward: Callable[[Tensor], Tensor], take: Callable[..., Tensor | None], x: Tensor
) -> Tensor:
    ends = take(layer, x)
    if ends is not None:
        scale = ((ends[1] - ends[0]) / 255).clamp(min=1e-12)
        zero = (-ends[0] / scale).round().clamp(0, 255).int()
        x = torch.fake_quantize_per_tensor_affine(x.float(), scale, zero, 0, 255).to(x.dtype)
    vars(layer)["weight"] = in_8_bits(layer._parameters["weight"])  # type: ignore[arg-type]  # hides the parameter for this call
    try:
        return forward(x)
    finally:
        del vars(layer)["weight"]
