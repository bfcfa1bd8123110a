"""Randomized smoothing: what a model answers to most noisy copies of an input, and within which radius that is certain
(Cohen, Rosenfeld & Kolter 2019, arXiv:1902.02918)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from flambeau.core.errors import require

ABSTAINS = -1
AT_ONCE = 100
"""Noisy copies in one batch."""
CHOOSING = 100
"""Copies that the class is chosen by, before others are counted for it."""


class Certified(NamedTuple):
    """Of each input (B) the class number, ABSTAINS where none is sure; and the l2 radius, in the units of the inputs,
    within which the smoothed model answers so, 0 where it abstains."""

    labels: Tensor
    radius: Tensor


def certify(
    answers: Callable[[Tensor], Tensor], inputs: Tensor, num_classes: int, generator: torch.Generator, *,
    sigma: float = 0.25, samples: int = 1000, alpha: float = 0.001,
) -> Certified:  # fmt: skip
    """The smoothed answers to inputs (B, …): each holds within its radius with probability 1 - alpha at least.

    Args:
        answers: from inputs (B, …) to class numbers (B).
        sigma: deviation of the noise, in the units of the inputs, which it may lead out of their bounds.
        samples: noisy copies that are counted for each input, after as many as CHOOSING that choose its class.
    """
    require(sigma > 0, f"a sigma of {sigma}", "a number above 0, such as 0.25")
    require(samples > 0, f"{samples} samples", "1 or more, such as 1000")
    require(0 < alpha < 1, f"an alpha of {alpha}", "above 0, below 1, such as 0.001")
    labels, radii = [], []
    for one in inputs:
        top = int(_counts(answers, one, min(CHOOSING, samples), sigma, num_classes, generator).argmax())
        hits = int(_counts(answers, one, samples, sigma, num_classes, generator)[top])
        radius = radius_of(hits, samples, sigma, alpha)
        labels.append(top if radius > 0 else ABSTAINS)
        radii.append(radius)
    return Certified(torch.tensor(labels), torch.tensor(radii))


def radius_of(hits: int, samples: int, sigma: float, alpha: float = 0.001) -> float:
    """σ Φ⁻¹(p), where p is the lower bound of the share of hits (Clopper & Pearson 1934); 0 where p is at most a half.

    >>> round(radius_of(1000, 1000, 0.25), 4), radius_of(500, 1000, 0.25)
    (0.6158, 0.0)
    """
    from scipy.stats import beta, norm

    lower = float(beta.ppf(alpha, hits, samples - hits + 1)) if hits else 0.0
    return float(sigma * norm.ppf(lower)) if lower > 0.5 else 0.0


def _counts(
    answers: Callable[[Tensor], Tensor], one: Tensor, samples: int, sigma: float, num_classes: int,
    generator: torch.Generator,
) -> np.ndarray:  # fmt: skip
    """How often each class is answered to noisy copies of one input, (K)."""
    counts = np.zeros(num_classes, np.int64)
    for start in range(0, samples, AT_ONCE):
        shape = (min(AT_ONCE, samples - start), *one.shape)
        noise = torch.randn(shape, generator=generator, device=generator.device).to(one)
        counts += np.bincount(answers(one + sigma * noise).cpu().numpy(), minlength=num_classes)
    return counts
