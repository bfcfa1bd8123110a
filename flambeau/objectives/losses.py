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


@LOSSES.register("focal")
def focal(
    output: Float[Tensor, "B K *places"],
    target: Int64[Tensor, " B *places"] | Float[Tensor, "B K *places"],
    reduction: str = "mean",
    gamma: float = 2.0,
    label_smoothing: float = 0.0,
) -> Float[Tensor, ""] | Float[Tensor, " B *places"]:
    """The focal loss: cross-entropy, of which a sample counts the less the surer it is right, by (1 - p) ** `gamma`:
    Lin et al. 2017, arXiv:1708.02002. Output (B, K) as logits; target int64 (B), or probabilities (B, K)."""
    log_p = output.float().log_softmax(1)
    if not target.is_floating_point():
        target = F.one_hot(target, output.shape[1]).movedim(-1, 1)
    shares = target * (1 - label_smoothing) + label_smoothing / output.shape[1]
    loss = -(shares * (1 - log_p.exp()).clamp_min(0) ** gamma * log_p).sum(1)
    return reduced(loss, reduction)


@LOSSES.register("asymmetric")
def asymmetric(
    output: Float[Tensor, "B K"],
    target: Shaped[Tensor, " B *labels"],
    reduction: str = "mean",
    gamma_positive: float = 1.0,
    gamma_negative: float = 4.0,
    margin: float = 0.05,
    label_smoothing: float = 0.0,
) -> Float[Tensor, ""] | Float[Tensor, " B"]:
    """The asymmetric loss: binary cross-entropy, of which labels that are there and the many that are not count less by
    powers of their own, and not at all those that are not there and have a probability under `margin`: Ridnik et al.
    2021, arXiv:2009.14119. With equal powers and no margin it is the focal loss of labels. Output (B, K) as logits;
    target 0…1 (B, K).

    Raises:
        UsageError: the target is no labels.
    """
    if output.shape != target.shape:
        raise UsageError(
            f"the asymmetric loss is for labels; outputs are {tuple(output.shape)}, targets {tuple(target.shape)}",
            expected="both (B, K)",
            fix="for classes use focal",
        )
    output, target = output.float(), target.to(output.dtype)
    target = target * (1 - label_smoothing) + label_smoothing / 2
    p = output.sigmoid()
    there = target * (1 - p) ** gamma_positive * F.logsigmoid(output)
    seen = (p - margin).clamp_min(0)  # of what is not there
    absent = F.logsigmoid(-output) if margin == 0 else (1 - seen).clamp_min(1e-8).log()
    loss = -(there + (1 - target) * seen**gamma_negative * absent).mean(1)
    return reduced(loss, reduction)


LOSSES.register("tag_cross_entropy")(tag_cross_entropy)
LOSSES.register("pinball")(Pinball([0.5]))


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """The losses, or their mean."""
    return losses if reduction == "none" else losses.mean()


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
