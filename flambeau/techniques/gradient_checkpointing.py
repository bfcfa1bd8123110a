"""Gradient checkpointing: Chen et al. 2016, arXiv:1604.06174. Costs a second forward pass of the blocks, about a third
more time; what they compute inside is not kept, which is most of a deep model's memory. Gain: room for larger
batches."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from flambeau.techniques.base import TECHNIQUES, Technique
from flambeau.techniques.statistics import statistics_kept

if TYPE_CHECKING:
    from flambeau.objectives import Objective


@TECHNIQUES.register("gradient_checkpointing")
class GradientCheckpointing(Technique):
    """Computes each block of the model again in the backward pass, with the same dropout, in place of keeping what it
    computed; batch normalisation counts a batch once. The weights become what they are without it.

    Blocks are the members of the model's sequences and lists of modules that are made of modules themselves, the
    outermost of them; where there are none the model's parts that are, or the model as a whole.
    """

    def on_build(self, objective: Objective) -> str | None:
        names = Counter(type(block).__name__ for block in blocks(objective.model))
        listed = ", ".join(f"{count} {name}" for name, count in names.items())
        return f"gradient checkpointing: what these blocks compute is computed twice, and not kept: {listed}"

    def on_fit_start(self, objective: Objective) -> None:
        self._release(objective)  # a training may have failed before
        for block in blocks(objective.model):
            block.forward = functools.partial(_checkpointed, block, block.forward)

    def on_fit_end(self, objective: Objective) -> None:
        self._release(objective)

    def _release(self, objective: Objective) -> None:
        for module in objective.model.modules():
            if isinstance(forward := vars(module).get("forward"), functools.partial) and forward.func is _checkpointed:
                del module.forward


def blocks(model: nn.Module) -> list[nn.Module]:
    """The parts of a model that are worth to be computed again as a whole."""

    def outermost(module: nn.Module, listed: bool) -> list[nn.Module]:
        if listed and any(True for _ in module.children()) and not isinstance(module, nn.ModuleList):
            return [module] if any(True for _ in module.parameters()) else []
        inside = isinstance(module, nn.Sequential | nn.ModuleList)
        return [block for child in module.children() for block in outermost(child, inside)]

    parts = [child for child in model.children() if any(True for _ in child.children())]
    return outermost(model, False) or [part for part in parts if any(True for _ in part.parameters())] or [model]


def _checkpointed(block: nn.Module, forward: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    if not (block.training and torch.is_grad_enabled()):
        return forward(*arguments, **named)
    contexts = functools.partial(_contexts, block)
    return checkpoint(forward, *arguments, use_reentrant=False, preserve_rng_state=True, context_fn=contexts, **named)


def _contexts(block: nn.Module) -> tuple[Any, Any]:
    """Of the first pass, and of the second."""
    return nullcontext(), statistics_kept(block)
