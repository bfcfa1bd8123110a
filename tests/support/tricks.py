"""Settings of every technique, for the tests that each must pass, alone and with every other."""

from __future__ import annotations

from typing import Any

# settings that make each technique do something within ten steps
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "clip": [{"norm": 0.05}],
    "early_stopping": [{"patience": 1}, {"patience": 50}],
    "ema": [{"decay": 0.9}],
    "label_smoothing": [{"amount": 0.2}],
    "mixup": [{"alpha": 0.4}],
}
# settings under which a technique leaves the weights as they would be without it
NEUTRAL: dict[str, dict[str, Any]] = {
    "clip": {"norm": 1e9},
    "early_stopping": {"patience": 50},
    "label_smoothing": {"amount": 0.0},
}
IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "clip": {"norm": 0.0},
    "early_stopping": {"patience": 0},
    "ema": {"decay": 1.0},
    "label_smoothing": {"amount": 1.0},
    "mixup": {"alpha": 0.0},
}
