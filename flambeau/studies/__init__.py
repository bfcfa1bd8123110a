"""Studies: several trainings on the same data that are compared with one another."""

from flambeau.studies.base import Study, variant
from flambeau.studies.tune import tune

__all__ = ["Study", "tune", "variant"]
