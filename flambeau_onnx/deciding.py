"""From probabilities to an answer: the likeliest class, or what thresholds that a run chose say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

LEAST = 1e-38  # a probability of 0 has a logit, too
UNKNOWN = "unknown"  # the answer where none is sure enough
SURE = 0.3  # score that a box has at least which is said


def logits(p: np.ndarray) -> np.ndarray:
    """Logits of probabilities of labels (K), as thresholds are in."""
    p = np.asarray(p, np.float64)
    return np.log(np.maximum(p, LEAST)) - np.log(np.maximum(1 - p, LEAST))


def logit_of_two(p: np.ndarray, which: int) -> float:
    """The logit of one of two classes, from the probabilities of both (2)."""
    of, other = np.log(np.maximum(np.asarray(p, np.float64), LEAST))[[which, 1 - which]]
    return float(of - other)


def of_classes(p: np.ndarray, names: Sequence[str], decision: Mapping[str, Any]) -> str:
    """The class of probabilities (K).

    Args:
        decision: {thresholds: {class: logit}, reject_below}; empty where the likeliest is taken.
    """
    if float(p.max()) < decision.get("reject_below", 0.0):
        return UNKNOWN
    which = int(p.argmax())
    for positive, threshold in decision.get("thresholds", {}).items():
        which = names.index(positive)
        which = which if logit_of_two(p, which) >= threshold else 1 - which
    return names[which]


def of_labels(p: np.ndarray, names: Sequence[str], decision: Mapping[str, Any], threshold: float) -> list[str]:
    """The labels of probabilities (K), each of which is there or not; `threshold` is the probability from which one
    counts where the run chose none."""
    if not (thresholds := decision.get("thresholds")):
        return [name for name, one in zip(names, p, strict=True) if one >= threshold]
    plain = float(logits(np.asarray(threshold)))
    return [name for name, one in zip(names, logits(p).tolist(), strict=True) if one >= thresholds.get(name, plain)]
