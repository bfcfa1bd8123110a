"""Models: a few readable ones of our own, any timm or torchvision classifier by name, and what they cost."""

from flambeau.models.auto import choose
from flambeau.models.build import build, check_name, head_parameters, recommended_size
from flambeau.models.catalog import ModelInfo, list_models
from flambeau.models.spec import InputSpec, Recommended
from flambeau.models.summary import Summary, summary

__all__ = [
    "InputSpec",
    "ModelInfo",
    "Recommended",
    "Summary",
    "build",
    "check_name",
    "choose",
    "head_parameters",
    "list_models",
    "recommended_size",
    "summary",
]
