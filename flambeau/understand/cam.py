"""Class activation maps: where in a picture, a spectrogram or along a series the last layer that still has places saw
what the answer is made of. One forward and one backward pass from that layer on; for networks of convolutions and
vision transformers.

What it gained here: the pointing game of `benchmarks/explain.py`.
"""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from flambeau.core.errors import UsageError, nearest
from flambeau.understand.explainers import EXPLAINERS, Explainer, Question

MOST_MARKS = 8
"""Tokens of a vision transformer that are no patches (classes, registers), at most; they come first."""
PLACELESS = {1: (nn.Linear, nn.LayerNorm), 2: (nn.Linear,)}
"""Layers whose output is read otherwise, by axes of places: their channels come last, or mix what is seen elsewhere."""


@dataclass(frozen=True)
class Layout:
    """Where a layer's output (B, …) has places: `grid` (h, w) or (t), behind `marks` tokens where it is tokens (B, N,
    C); last where `channels_last` is not set."""

    grid: tuple[int, ...]
    channels_last: bool = False
    marks: int = 0

    def map(self, output: Tensor) -> Tensor:
        """(B, C, *grid)."""
        if self.channels_last:
            output = output.flatten(1, -2)[:, self.marks :].transpose(1, 2)
        return output.reshape(len(output), -1, *self.grid)


class Place(NamedTuple):
    """A layer by name, which of its calls in a forward pass, and where the output has places."""

    layer: str
    turn: int
    layout: Layout


class Mapping(Explainer):
    """Weighs the channels of a layer, and adds them up.

    Args:
        layer: its name in the model; if not given, the last one whose output has places and moves the answer.
    """

    settings = ("layer",)
    told = "how much of what the answer is made of is at a place"

    def __init__(self, layer: str | None = None):
        self.layer = layer
        self._found: tuple[nn.Module, Place] | None = None

    def weigh(self, question: Question) -> list[Tensor]:
        place = self.place(question)
        with torch.no_grad(), _from(question.model.get_submodule(place.layer), place.turn) as outputs:
            score = question.score(*question.values, *question.others)
            with torch.enable_grad():
                (gradient,) = torch.autograd.grad(score.sum(), outputs)
        layout = place.layout
        return [self.combine(question, layout.map(outputs[0].detach()).float(), layout.map(gradient).float())]

    @abstractmethod
    def combine(self, question: Question, maps: Tensor, gradient: Tensor) -> Tensor:
        """Float (B, *grid), of what the layer gave (B, C, *grid) and the output's gradient by it."""

    def place(self, question: Question) -> Place:
        """The layer, looked for once a model.

        Raises:
            UsageError: there is none, or none of that name, or several inputs.
        """
        model = question.model
        if self._found is None or self._found[0] is not model:
            self._found = model, _last_with_places(question, self.layer)
        return self._found[1]


@EXPLAINERS.register("cam")
class CAM(Mapping):
    """Each channel by its weight in the linear layer behind the average over places. Zhou, Khosla, Lapedriza, Oliva,
    Torralba, "Learning deep features for discriminative localization", 2016, arXiv:1512.04150. Only for models that end
    so, as ResNet does."""

    def combine(self, question: Question, maps: Tensor, gradient: Tensor) -> Tensor:
        places = maps[0, 0].numel()
        weights = gradient.flatten(2)
        ends = [m for m in question.model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))][-1:]
        rows = ends[0].weight.flatten(1) if ends else gradient.new_zeros(0, 0)
        row = rows.mean(0) if question.output is None else rows[question.output : question.output + 1].squeeze(0)
        means = (row / places)[:, None]
        if row.shape != weights.shape[1:2] or not torch.allclose(weights, means, rtol=1e-3, atol=1e-7):
            raise UsageError(
                "cam needs a model that averages a layer's places and ends with one linear layer", fix="take grad_cam"
            )
        return torch.einsum("bc...,c->b...", maps, row.detach())


@EXPLAINERS.register("grad_cam")
class GradCAM(Mapping):
    """Each channel by the mean of its gradient; what speaks for the answer alone. Selvaraju, Cogswell, Das, Vedantam,
    Parikh, Batra, "Grad-CAM: visual explanations from deep networks via gradient-based localization", 2017,
    arXiv:1610.02391."""

    def combine(self, question: Question, maps: Tensor, gradient: Tensor) -> Tensor:
        places = (*range(2, maps.ndim),)
        return (maps * gradient.mean(places, True)).sum(1).relu()


@EXPLAINERS.register("grad_cam_plus_plus")
class GradCAMPlusPlus(Mapping):
    """The same with places weighed by how much they move the answer, so that several things of one class are all seen.
    Chattopadhyay, Sarkar, Howlader, Balasubramanian, "Grad-CAM++", 2018, arXiv:1710.11063."""

    def combine(self, question: Question, maps: Tensor, gradient: Tensor) -> Tensor:
        places = (*range(2, maps.ndim),)
        squared = gradient**2
        below = 2 * squared + maps.sum(places, True) * gradient * squared
        share = squared / torch.where(below == 0, 1.0, below)
        return (maps * (share * gradient.relu()).sum(places, True)).sum(1).relu()


@contextmanager
def _from(layer: nn.Module, turn: int) -> Iterator[list[Tensor]]:
    """Within no_grad, a forward pass that records from the output of a layer on, in its call number `turn`; it."""
    outputs: list[Tensor] = []
    turns = itertools.count()

    def begin(module: nn.Module, given: object, output: Any) -> Any:
        if next(turns) != turn:
            return None
        torch.set_grad_enabled(True)
        outputs.append(output.detach().requires_grad_())
        return outputs[-1].clone()  # what comes next may write into it

    handle = layer.register_forward_hook(begin)
    try:
        yield outputs
    finally:
        handle.remove()


def _last_with_places(question: Question, named: str | None) -> Place:
    """The layer of a name, or the last one that serves."""
    values = question.values[0]
    if len(question.sites) != 1 or not values.is_floating_point() or values.ndim not in (3, 4):
        raise UsageError("class activation maps are of one picture, sound or series", fix="take occlusion")
    input_size = tuple(values.shape[2:])
    names = {module: name for name, module in question.model.named_modules() if name}
    if named is not None and named not in names.values():
        raise UsageError(f"the model has no layer '{named}'", fix=nearest(named, [*names.values()]))
    seen: list[tuple[Place, Tensor]] = []
    turns: Counter[nn.Module] = Counter()
    grids: dict[int, tuple[int, ...]] = {}

    def watch(module: nn.Module, given: object, output: Any) -> None:
        turns[module] += 1
        if isinstance(output, Tensor) and output.requires_grad and not isinstance(module, PLACELESS[len(input_size)]):
            layout = _layout(output, input_size, grids)
            # what is finer than what it comes from is no picture, but what one token sees of each other one
            finer = seen and layout is not None and math.prod(layout.grid) > math.prod(seen[-1][0].layout.grid)
            if layout is not None and not finer and named in (None, names[module]):
                seen.append((Place(names[module], turns[module] - 1, layout), output))

    handles = [module.register_forward_hook(watch) for module in names]
    try:
        score = question.score(values.detach().requires_grad_(), *question.others).sum()
    finally:
        for handle in handles:
            handle.remove()
    for place, output in reversed(seen):
        (gradient,) = torch.autograd.grad(score, output, retain_graph=True, allow_unused=True)
        if gradient is not None and place.layout.map(gradient).any():
            return place
    if named is not None:
        raise UsageError(f"the output of the layer '{named}' has no places, or does not move the answer")
    raise UsageError("no layer of the model has places, as those of convolutions have", fix="take integrated_gradients")


def _layout(output: Tensor, size: tuple[int, ...], grids: dict[int, tuple[int, ...]]) -> Layout | None:
    """Where an output has places as the input of a size has them; `grids` keeps what pictures were cut into, by
    channels."""
    if output.ndim == len(size) + 2:
        first, last = tuple(output.shape[2:]), tuple(output.shape[1:-1])
        if _alike(first, size):
            grids.setdefault(output.shape[1], first)
            return Layout(first)
        return Layout(last, channels_last=True) if len(size) == 2 and _alike(last, size) else None
    if output.ndim == 3 and len(size) == 2 and (grid := grids.get(output.shape[2])) is not None:
        marks = output.shape[1] - grid[0] * grid[1]
        return Layout(grid, channels_last=True, marks=marks) if 0 <= marks <= MOST_MARKS else None
    return None


def _alike(grid: tuple[int, ...], size: tuple[int, ...]) -> bool:
    """Whether a grid is one over a picture of a size: no finer, with more than one cell, and of about the same form."""
    if max(grid) < 2 or any(g > s for g, s in zip(grid, size, strict=True)):
        return False
    steps = [s / g for g, s in zip(grid, size, strict=True)]
    # a cell more or less on each side, for layers that do not pad
    return all(abs(s / step - g) <= 2 for step in steps for g, s in zip(grid, size, strict=True))
