"""The metrics by name: in which direction they are better, and which lie between 0 and 1."""

from __future__ import annotations

import math

LOWER_IS_BETTER = ("loss", "mae", "rmse", "mape", "mase", "smape")
SHARES = ("accuracy", "f1", "balanced_accuracy", "roc_auc", "average_precision", "micro_f1", "exact_match", "coverage",
          "micro_average_precision", "span_f1", "span_precision", "span_recall")  # fmt: skip
"""Those that lie between 0 and 1."""
BOUNDS = {
    "r2": (-math.inf, 1.0),
    "mcc": (-1.0, 1.0),
    **dict.fromkeys([name for name in LOWER_IS_BETTER if name != "loss"], (0.0, math.inf)),
}
"""What others lie between."""
BALANCED = ("balanced_accuracy", "mcc", "roc_auc", "average_precision")
"""Those of classes that are shown where one class is rare, or where one of them is asked for."""
SYNONYMS = {"auc": "roc_auc", "ap": "average_precision", "macro_f1": "f1", "mcc_score": "mcc"}
