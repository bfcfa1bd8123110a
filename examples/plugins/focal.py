"""The focal loss: Lin et al. 2017, arXiv:1708.02002. For classes of which some are rare, or hard.

flambeau train photos/ --plugin examples/plugins/focal.py --loss focal --set objective.loss.gamma=3
"""

from __future__ import annotations

from torch import Tensor

from flambeau.objectives import LOSSES


@LOSSES.register("focal")
def focal(output: Tensor, target: Tensor, reduction: str = "mean", gamma: float = 2.0) -> Tensor:
    """Cross-entropy that counts less what is learned already. Output (B, K) as logits, target int64 (B)."""
    log_p = output.log_softmax(1).gather(1, target[:, None])[:, 0]
    loss = -((1 - log_p.exp()) ** gamma) * log_p
    return loss if reduction == "none" else loss.mean()
