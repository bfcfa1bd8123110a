"""The Tversky loss of classes: Salehi et al. 2017, arXiv:1706.05721. For classes of which some are rare.

flambeau train photos/ --plugin examples/plugins/tversky.py --loss tversky --set objective.loss.alpha=0.7
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from flambeau.objectives import LOSSES


@LOSSES.register("tversky")
def tversky(output: Tensor, target: Tensor, reduction: str = "mean", alpha: float = 0.5) -> Tensor:
    """1 - hits / (hits + misses by `alpha` + false alarms by 1 - `alpha`), of each sample; with 0.5 the Dice loss.
    Output (B, K) as logits, target int64 (B)."""
    p, there = output.softmax(1), F.one_hot(target, output.shape[1])
    hits, misses, alarms = ((x * y).sum(1) for x, y in ((p, there), (1 - p, there), (p, 1 - there)))
    loss = 1 - hits / (hits + alpha * misses + (1 - alpha) * alarms)
    return loss if reduction == "none" else loss.mean()
