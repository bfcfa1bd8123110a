"""Studies: several trainings on the same data that are compared with one another."""

from flambeau.studies.base import Study, variant
from flambeau.studies.folds import CrossValidation, cross_validate
from flambeau.studies.tune import tune

__all__ = ["CrossValidation", "Study", "cross_validate", "tune", "variant"]
