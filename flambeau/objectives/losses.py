"""Losses by name, each a function of model output and target to a mean, or to one number a sample."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.core.registry import Asked, Registry, looked_up
from flambeau.core.shapes import Float, Int64, Shaped
from flambeau.objectives.forecasting import Pinball
from flambeau.objectives.imbalance import asymmetric, focal
from flambeau.objectives.tagging import tag_cross_entropy

Loss = Callable[..., Tensor]
LOSSES: Registry[Loss] = Registry("loss")
AFTER = 3
"""The arguments of a loss: output, target and reduction (`mean`, or `none` for one number a sample); those after them
are options that a recipe may set, `objective: {loss: {name: focal, gamma: 2}}`."""


@LOSSES.register("cross_entropy")
def cross_entropy(
    output: Float[Tensor, "B K *places"],
    target: Int64[Tensor, " B *places"] | Float[Tensor, "B K *places"],
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Float[Tensor, ""] | Float[Tensor, " B *places"]:
    """Output (B, K) as logits; target int64 (B), or probabilities (B, K)."""
    return F.cross_entropy(output, target, reduction=reduction, label_smoothing=label_smoothing)


@LOSSES.register("bce")
def bce(
    output: Float[Tensor, " B *K"],
    target: Shaped[Tensor, " B *K"],
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Float[Tensor, ""] | Float[Tensor, " B"]:
    """Output (B, K) as logits; target float (B, K) in 0…1."""
    target = target.to(output.dtype)
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / 2
    loss = F.binary_cross_entropy_with_logits(output, target, reduction="none" if reduction == "none" else "mean")
    return loss.mean(-1) if reduction == "none" and loss.ndim > 1 else loss


@dataclass(frozen=True)
class Elementwise:
    """A loss of torch's between numbers, over as many axes as they have."""

    function: Callable[..., Tensor]

    def __call__(
        self, output: Float[Tensor, " B *more"], target: Float[Tensor, " B *shape"], reduction: str = "mean"
    ) -> Float[Tensor, ""] | Float[Tensor, " B"]:
        # a head gives (B, 1) for a target (B); without the reshape the two would broadcast to (B, B)
        output = output.reshape(target.shape)
        if reduction == "mean":
            return self.function(output, target)
        return self.function(output, target, reduction="none").reshape(len(target), -1).mean(1)


LOSSES.register("mse")(Elementwise(F.mse_loss))
LOSSES.register("l1")(Elementwise(F.l1_loss))
LOSSES.register("huber")(Elementwise(F.smooth_l1_loss))
LOSSES.register("focal")(focal)
LOSSES.register("asymmetric")(asymmetric)
LOSSES.register("tag_cross_entropy")(tag_cross_entropy)
LOSSES.register("pinball")(Pinball([0.5]))


def named(asked: Asked) -> Loss:
    """The loss of a name, with the options that are given.

    Raises:
        UsageError: there is none, or it has no such option.
    """
    _, loss, options = looked_up(LOSSES, asked, AFTER)
    return functools.partial(loss, **options) if options else loss


def bare(loss: Any) -> Any:
    """A loss without the arguments that were bound to it."""
    return bare(loss.func) if isinstance(loss, functools.partial) else loss


def arguments(loss: Loss) -> Mapping[str, Any]:
    """The named arguments of a loss, as far as it tells."""
    try:
        return inspect.signature(loss).parameters
    except (TypeError, ValueError):
        return {}


def each_sample(loss: Loss, output: Any, target: Any, **options: Any) -> Tensor:
    """What a loss (named, a function or a module) is for each sample, (B).

    Raises:
        UsageError: it only gives one number for all.
    """
    if isinstance(loss, torch.nn.Module) and hasattr(loss, "reduction"):
        loss = copy.copy(loss)
        loss.reduction = "none"  # type: ignore[assignment]
    elif "reduction" in arguments(loss):
        options["reduction"] = "none"
    else:
        name = getattr(bare(loss), "__name__", type(loss).__name__)
        expected = 'one that takes reduction="none"'
        raise UsageError(f"the loss {name} gives one number for all samples", expected=expected)
    values = loss(output, target, **options)
    return values.reshape(len(values), -1).mean(1)


def expects_classes(loss: Any) -> bool:
    """Whether a loss (named, a function or a module) is a cross-entropy over class numbers."""
    loss = bare(loss)
    return loss in (cross_entropy, focal, F.cross_entropy, F.nll_loss) or isinstance(
        loss, (torch.nn.CrossEntropyLoss, torch.nn.NLLLoss)
    )
