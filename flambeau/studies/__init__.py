"""Studies: several trainings on the same data that are compared with one another."""

from flambeau.studies.attacks import attack
from flambeau.studies.base import Study, variant
from flambeau.studies.budget import in_a_sitting, within
from flambeau.studies.comparison import Comparison, compare
from flambeau.studies.corrupted import stress
from flambeau.studies.entrants import is_usual
from flambeau.studies.folds import CrossValidation, cross_validate
from flambeau.studies.tournament import KIND, asked_in, planned, resumed, tournament
from flambeau.studies.tune import tune
from flambeau.studies.variants import ablate, compare_settings

__all__ = [
    "KIND", "Comparison", "CrossValidation", "Study", "ablate", "asked_in", "attack", "compare", "compare_settings",
    "cross_validate", "in_a_sitting", "is_usual", "planned", "resumed", "stress", "tournament", "tune", "variant",
    "within",
]  # fmt: skip
