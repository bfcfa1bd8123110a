"""Flambeau: labelled data of any common kind through the whole working life of a PyTorch model.

>>> import flambeau as fb
>>> data = fb.Dataset({"x": [0.0, 0.2, 0.8, 1.0] * 10, "y": ["low", "low", "high", "high"] * 10}, target="y")
>>> data.describe()
'40 rows (32 train, 8 validate and choose the epoch): x (number) → y (category)'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from flambeau.core.compat import mend_torchvision
from flambeau.core.errors import FlambeauError
from flambeau.version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from flambeau import fields, sklearn, testing
    from flambeau.core.reporter import Reporter
    from flambeau.data.dataset import Dataset
    from flambeau.data.split import Split
    from flambeau.deployment import deploy
    from flambeau.diagnosis import doctor
    from flambeau.diagnosis.watch import watch
    from flambeau.ensembles import ensemble
    from flambeau.exports import export
    from flambeau.learner import Learner
    from flambeau.objectives import Objective
    from flambeau.predictor import Prediction, Predictor
    from flambeau.recipe import Recipe
    from flambeau.run import Run
    from flambeau.studies import attack, compare, cross_validate, stress
    from flambeau.studies.tournament import tournament
    from flambeau.studies.tune import tune
    from flambeau.techniques import Technique

mend_torchvision()

_LAZY = {
    "Dataset": "flambeau.data.dataset",
    "Learner": "flambeau.learner",
    "Objective": "flambeau.objectives",
    "Prediction": "flambeau.predictor",
    "Predictor": "flambeau.predictor",
    "Recipe": "flambeau.recipe",
    "Run": "flambeau.run",
    "Split": "flambeau.data.split",
    "Technique": "flambeau.techniques",
    "attack": "flambeau.studies",
    "compare": "flambeau.studies",
    "deploy": "flambeau.deployment",
    "doctor": "flambeau.diagnosis",
    "export": "flambeau.exports",
    "cross_validate": "flambeau.studies",
    "ensemble": "flambeau.ensembles",
    "stress": "flambeau.studies",
    "tournament": "flambeau.studies",
    "tune": "flambeau.studies",
    "watch": "flambeau.diagnosis.watch",
}

__all__ = [
    "Dataset",
    "FlambeauError",
    "Learner",
    "Objective",
    "Prediction",
    "Predictor",
    "Recipe",
    "Run",
    "Split",
    "Technique",
    "__version__",
    "attack",
    "compare",
    "cross_validate",
    "deploy",
    "doctor",
    "ensemble",
    "export",
    "fields",
    "load",
    "sklearn",
    "stress",
    "testing",
    "tournament",
    "tune",
    "watch",
]


def load(
    run: str | Path | Run,
    *,
    model: nn.Module | None = None,
    device: str = "auto",
    precision: str = "float32",
    reporter: Reporter | None = None,
) -> Predictor:
    """The Predictor of a run, of an export of one, or of one on a hub (`hf://ORGANISATION/NAME`); see
    `Predictor.load`."""
    from flambeau.predictor import Predictor

    return Predictor.load(run, model=model, device=device, precision=precision, reporter=reporter)


def __getattr__(name: str) -> Any:
    # parts are imported when first used, so that `import flambeau` costs next to nothing over `import torch`
    if name in ("fields", "sklearn", "testing"):
        return importlib.import_module(f"flambeau.{name}")
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'flambeau' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
