"""Studies: several trainings on the same data that are compared with one another."""

from flambeau.studies.base import Study, variant

__all__ = ["Study", "variant"]
