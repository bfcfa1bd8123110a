"""Losses for classes and labels of which some are rare, or hard."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.core.shapes import Float, Int64, Shaped


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
    return loss if reduction == "none" else loss.mean()


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
    return loss if reduction == "none" else loss.mean()
