"""Losses of masks that look at each pixel by itself: of a sample the mean over its known pixels, of a batch the mean
over samples. What is unknown (-100) counts nowhere; where nothing is known the loss is 0."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.core.shapes import Float, Int64
from flambeau.fields.mask import IGNORED
from flambeau.objectives.losses import LOSSES, reduced

Weights = Sequence[float] | str | None


def mean_of_known(losses: Tensor, target: Tensor, weights: Weights, classes: int) -> Tensor:
    """The mean (B) of losses (B, *places) over the known pixels of each sample, each times the weight of its class.

    Raises:
        UsageError: there is not one weight a class.
    """
    known = target != IGNORED
    if weights is not None:
        if isinstance(weights, str) or len(weights) != classes:
            raise UsageError(f"the weights {weights} do not fit {classes} classes",
                             expected="a number for each, or balanced for a mask")  # fmt: skip
        losses = losses * losses.new_tensor(weights)[target.clamp_min(0)]
    return (losses * known).flatten(1).sum(1) / known.flatten(1).sum(1).clamp_min(1)


@LOSSES.register("pixel_cross_entropy")
def pixel_cross_entropy(
    output: Float[Tensor, "B K *places"], target: Int64[Tensor, " B *places"], reduction: str = "mean",
    weights: Weights = None, label_smoothing: float = 0.0,
) -> Tensor:  # fmt: skip
    """Cross-entropy over the known pixels, each times the weight of its class: `balanced` weighs by
    1 / frequency in the training masks (King & Zeng 2001), of which the square root is taken so that rare classes do
    not drown the rest. Output as logits."""
    output = output.float()
    losses = F.cross_entropy(output, target, reduction="none", ignore_index=IGNORED, label_smoothing=label_smoothing)
    return reduced(mean_of_known(losses, target, weights, output.shape[1]), reduction)


@LOSSES.register("pixel_focal")
def pixel_focal(
    output: Float[Tensor, "B K *places"], target: Int64[Tensor, " B *places"], reduction: str = "mean",
    gamma: float = 2.0, weights: Weights = None,
) -> Tensor:  # fmt: skip
    """The focal loss over the known pixels: cross-entropy, of which a pixel counts the less the surer it is right, by
    (1 - p) ** `gamma`: Lin et al. 2017, arXiv:1708.02002. Output as logits."""
    output = output.float()
    negative = F.cross_entropy(output, target, reduction="none", ignore_index=IGNORED)  # -log p
    doubt = -(-negative).expm1()
    losses = doubt.clamp_min(0) ** gamma * negative
    return reduced(mean_of_known(losses, target, weights, output.shape[1]), reduction)
