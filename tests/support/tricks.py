"""Settings of every technique, for the tests that each must pass, alone and with every other."""

from __future__ import annotations

from typing import Any

# settings that make each technique do something within ten steps
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "adversarial": [
        {"epsilon": 0.1, "steps": 1, "norm": "linf", "p": 1.0},
        {"epsilon": 0.5, "steps": 2, "norm": "l2", "p": 0.5},
    ],
    "class_weights": [{"scheme": "balanced", "beta": 0.999}, {"scheme": "effective", "beta": 0.9}],
    "clip": [{"norm": 0.05}],
    "gradient_checkpointing": [{}],
    "init": [{"scheme": "kaiming"}, {"scheme": "lsuv"}],
    "discriminative_rates": [
        {"learning_rates": [0.001, 0.01], "layer_decay": None},
        {"learning_rates": None, "layer_decay": 0.5},
    ],
    "distill": [{"teacher": "", "temperature": 2.0, "weight": 0.5}],
    "early_stopping": [{"patience": 1}, {"patience": 50}],
    "ema": [{"decay": 0.9}],
    "fine_tune": [{"head_epochs": 1, "lowest": 0.1, "batch_norm": "frozen"}],
    "freeze": [{"until": -1, "pattern": None, "batch_norm": "frozen"}],
    "gradual_unfreezing": [{"epochs": 1, "batch_norm": "frozen"}],
    "clip_value": [{"value": 1e-3}],
    "gradient_centralisation": [{}],
    "gradient_noise": [{"eta": 1e-3, "gamma": 0.55}],
    "l1": [{"strength": 1e-3}],
    "l2": [{"strength": 1e-2}],
    "label_smoothing": [{"amount": 0.2}],
    "progressive_resizing": [{"start": 1.0, "until": 0.6}],
    "lora": [{"rank": 2, "alpha": 4.0, "dropout": 0.1, "pattern": None, "adapter": False}],
    "mixup": [{"alpha": 0.4, "p": 1.0}, {"alpha": 1.0, "p": 0.5}],
    "cutmix": [{"alpha": 1.0, "p": 1.0}, {"alpha": 0.5, "p": 0.5}],
    "sam": [{"rho": 0.05}],
    "snapshots": [{"every": 1}],
    "swa": [{"start": 0.0}],
}
# settings under which a technique leaves the weights as they would be without it
NEUTRAL: dict[str, dict[str, Any]] = {
    "clip": {"norm": 1e9},
    "gradient_checkpointing": {},
    "discriminative_rates": {"layer_decay": 1.0},
    "clip_value": {"value": 1e9},
    "distill": {"teacher": "", "temperature": 2.0, "weight": 0.0},
    "early_stopping": {"patience": 50},
    "gradient_noise": {"eta": 0.0, "gamma": 0.55},
    "l1": {"strength": 0.0},
    "l2": {"strength": 0.0},
    "label_smoothing": {"amount": 0.0},
    "progressive_resizing": {"start": 1.0, "until": 0.6},
    "snapshots": {"every": 1},
}
IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "adversarial": {"epsilon": 0.0},
    "class_weights": {"scheme": "even"},
    "clip": {"norm": 0.0},
    "init": {"scheme": "zeros"},
    "discriminative_rates": {"layer_decay": 0.0},
    "distill": {"weight": 1.5},
    "early_stopping": {"patience": 0},
    "ema": {"decay": 1.0},
    "fine_tune": {"head_epochs": 0},
    "freeze": {"until": 0},
    "gradual_unfreezing": {"epochs": 0},
    "clip_value": {"value": 0.0},
    "gradient_noise": {"eta": -1.0},
    "l1": {"strength": -1.0},
    "l2": {"strength": float("nan")},
    "label_smoothing": {"amount": 1.0},
    "lora": {"rank": 0},
    "mixup": {"alpha": 0.0},
    "progressive_resizing": {"start": 0.0},
    "cutmix": {"p": 0.0},
    "sam": {"rho": 0.0},
    "snapshots": {"every": 0},
    "swa": {"start": 1.0},
}
