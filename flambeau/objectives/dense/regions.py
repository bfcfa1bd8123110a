"""Losses of masks that look at the region of each class as a whole, in each sample for itself, alone or beside
cross-entropy. What is unknown (-100) counts nowhere; where nothing is known the loss is 0."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from flambeau.core.shapes import Float, Int64
from flambeau.fields.mask import IGNORED
from flambeau.objectives.dense.pixels import Weights, pixel_cross_entropy, pixel_focal
from flambeau.objectives.losses import LOSSES, reduced


@LOSSES.register("dice")
def dice(
    output: Float[Tensor, "B K *places"], target: Int64[Tensor, " B *places"], reduction: str = "mean",
    smooth: float = 1.0,
) -> Tensor:  # fmt: skip
    """1 - soft Dice, 2 Σ p y / (Σ p + Σ y) over the known pixels of a sample, the mean over the classes that are in it:
    Milletari et al. 2016, arXiv:1606.04797; with p + y and not p² + y², as nnU-Net has it
    (Isensee et al. 2021). Rare classes count as much as frequent ones. Output as logits.

    Args:
        smooth: is added above and below, so that a class of few pixels does not jump.
    """
    p, y, known = _flat(output, target)
    true = y.sum(2)
    lost = 1 - (2 * (p * y).sum(2) + smooth) / ((p * known).sum(2) + true + smooth)
    return reduced(_mean_of_classes(lost, true), reduction)


@LOSSES.register("lovasz")
def lovasz(
    output: Float[Tensor, "B K *places"], target: Int64[Tensor, " B *places"], reduction: str = "mean"
) -> Tensor:
    """The Lovász-softmax: the convex extension of 1 - IoU, over the known pixels of a sample, the mean over the classes
    that are in it: Berman et al. 2018, arXiv:1705.08790. It sorts the pixels once for each class. Output as logits."""
    p, y, known = _flat(output, target)
    errors, order = ((y - p).abs() * known).sort(2, descending=True)  # those of unknown pixels are 0 and come last
    inside = y.gather(2, order)
    outside, true = known.expand_as(y).gather(2, order) - inside, y.sum(2, keepdim=True)
    jaccard = 1 - (true - inside.cumsum(2)) / (true + outside.cumsum(2)).clamp_min(1)
    steps = torch.cat([jaccard[..., :1], jaccard.diff(dim=2)], 2)
    return reduced(_mean_of_classes((errors * steps).sum(2), true[..., 0]), reduction)


@LOSSES.register("dice_cross_entropy")
def dice_cross_entropy(
    output: Float[Tensor, "B K *places"], target: Int64[Tensor, " B *places"], reduction: str = "mean",
    share: float = 0.5, weights: Weights = None, label_smoothing: float = 0.0,
) -> Tensor:  # fmt: skip
    """`share` of Dice and the rest of cross-entropy (Isensee et al. 2021, "nnU-Net"): regions as a whole, and smooth
    gradients at each pixel."""
    pixels = pixel_cross_entropy(output, target, reduction, weights, label_smoothing)
    return share * dice(output, target, reduction) + (1 - share) * pixels


@LOSSES.register("dice_focal")
def dice_focal(
    output: Float[Tensor, "B K *places"], target: Int64[Tensor, " B *places"], reduction: str = "mean",
    share: float = 0.5, gamma: float = 2.0, weights: Weights = None,
) -> Tensor:  # fmt: skip
    """`share` of Dice and the rest of the focal loss."""
    pixels = pixel_focal(output, target, reduction, gamma, weights)
    return share * dice(output, target, reduction) + (1 - share) * pixels


@LOSSES.register("lovasz_cross_entropy")
def lovasz_cross_entropy(
    output: Float[Tensor, "B K *places"], target: Int64[Tensor, " B *places"], reduction: str = "mean",
    share: float = 0.5, weights: Weights = None, label_smoothing: float = 0.0,
) -> Tensor:  # fmt: skip
    """`share` of the Lovász-softmax and the rest of cross-entropy, as its authors train."""
    pixels = pixel_cross_entropy(output, target, reduction, weights, label_smoothing)
    return share * lovasz(output, target, reduction) + (1 - share) * pixels


def _flat(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities and truth (B, K, P), the latter 0 for all classes where nothing is known; and what is (B, 1, P)."""
    p, target = output.float().softmax(1).flatten(2), target.flatten(1)
    known = (target != IGNORED)[:, None]
    y = F.one_hot(target.clamp_min(0), p.shape[1]).transpose(1, 2) * known
    return p, y.to(p.dtype), known.to(p.dtype)


def _mean_of_classes(losses: Tensor, pixels: Tensor) -> Tensor:
    """The mean (B) of losses (B, K) over the classes that have pixels (B, K)."""
    there = pixels > 0
    return (losses * there).sum(1) / there.sum(1).clamp_min(1)
