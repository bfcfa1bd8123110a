"""How sure a classifier says that it is, fitted to how often it is right: temperature scaling, Guo et al. 2017, "On
calibration of modern neural networks", https://arxiv.org/abs/1706.04599. N right answers of N are not taken for
certainty, but for N + 1 of N + 2, as Platt 1999, "Probabilistic outputs for support vector machines", does.
"""

from __future__ import annotations

from torch import Tensor

LEAST = 200  # samples; of fewer, chance would say how sure to be
SHARPEST, FLATTEST = 0.1, 10.0
STEPS = 50


def temperature(logits: Tensor, target: Tensor) -> float:
    """What logits are divided by so that their softmax is likeliest: above 1 where a model is too sure of itself. It
    changes no answer.

    Args:
        logits: float (N, K).
        target: the true classes, int64 (N).

    Returns:
        from 0.1 to 10; 1 for fewer than 200 samples.
    """
    if len(logits) < LEAST:
        return 1.0
    logits = logits.double()
    logits = logits - logits.amax(1, keepdim=True)
    right, every = logits.gather(1, target[:, None])[:, 0].mean(), logits.sum(1).mean()
    N, K = logits.shape
    wrong = 1 / (N + 2) / (K - 1)  # the share that each other class is given
    truth = (1 - wrong * K) * right + wrong * every

    def slope(sharpness: float) -> float:
        """Of the log-likelihood, which is concave: above 0 where logits may be sharper."""
        return float(truth - ((sharpness * logits).softmax(1) * logits).sum(1).mean())

    if not abs(slope(1.0)) > 1e-9:  # right as it is, or nothing that could be mended
        return 1.0
    low, high = 1 / FLATTEST, 1 / SHARPEST
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return round(2 / (low + high), 4)


def temperature_scaled(logits: Tensor, by: float) -> Tensor:
    """Probabilities (B, K) of logits (B, K) divided by a temperature."""
    return (logits.float() / by if by != 1.0 else logits.float()).softmax(-1)
