"""The metrics by name: in which direction they are better, and what they lie between."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from flambeau.core.registry import Registry

if TYPE_CHECKING:
    from flambeau.objectives.metrics import NamedMetric

METRICS: Registry[type[NamedMetric]] = Registry("metric")
"""Those that are called by name beside what suits the target: `objective.metrics`, or the measure of the model."""
LOWER_IS_BETTER = (
    "loss", "mae", "rmse", "mape", "mase", "smape", "mean_mase", "log_loss", "brier", "error", "perplexity",
    "bits_per_byte", "bits_per_character",
)  # fmt: skip
SHARE = (0.0, 1.0)
BOUNDS = {
    "r2": (-math.inf, 1.0),
    "ssim": (-1.0, 1.0),
    "psnr": (0.0, math.inf),
    "mcc": (-1.0, 1.0),
    **dict.fromkeys([name for name in LOWER_IS_BETTER if name != "loss"], (0.0, math.inf)),
    **dict.fromkeys(["chrf", "bleu"], (0.0, 100.0)),
    **dict.fromkeys(["accuracy", "f1", "balanced_accuracy", "roc_auc", "average_precision", "micro_f1", "exact_match",
                     "coverage", "answerable", "micro_average_precision", "span_f1", "span_precision", "span_recall",
                     "mean_iou", "dice", "pixel_accuracy", "boundary_f1", "top_2", "top_3", "top_5",
                     "map", "map50", "map75", "map_small", "map_medium", "map_large", "recall", "mask_map",
                     "mask_map50", "mask_map75", "mask_map_small", "mask_map_medium", "mask_map_large"], SHARE),
}  # fmt: skip
BALANCED = ("balanced_accuracy", "mcc", "roc_auc", "average_precision")
"""Those of classes that are shown where one class is rare, or where one of them is asked for."""
SYNONYMS = {"auc": "roc_auc", "ap": "average_precision", "macro_f1": "f1", "miou": "mean_iou", "mcc_score": "mcc"}


def higher_is_better(name: str) -> bool:
    """Whether more of a metric is better."""
    return METRICS[name].higher_is_better if name in METRICS else name not in LOWER_IS_BETTER


def bounds(name: str) -> tuple[float, float]:
    """What a metric lies between."""
    return METRICS[name].bounds if name in METRICS else BOUNDS.get(name, (-math.inf, math.inf))


def is_share(name: str) -> bool:
    """Whether a metric is a share, from 0 to 1."""
    return bounds(name) == SHARE
