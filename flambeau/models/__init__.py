"""Models: a few readable ones of our own, any timm or torchvision classifier and any transformers encoder by name, and
what they cost."""

from flambeau.models.auto import choose
from flambeau.models.build import (
    build,
    check_name,
    compares,
    max_positions,
    skeleton,
    starts_pretrained,
    takes_several,
    wanted,
)
from flambeau.models.catalog import ModelInfo, list_models
from flambeau.models.cut import Activations, Cut
from flambeau.models.fitted import Examples, FittedModel, make_room
from flambeau.models.fusion import Fusion, default_encoder, fuse
from flambeau.models.groups import Group, layer_groups
from flambeau.models.inputs import FUSION, InputSpec
from flambeau.models.own_loss import LossAndAnswers, OwnLoss
from flambeau.models.spec import OWN, Built, Ensemble, FromData, OutputSpec, Recommended, Undecayed
from flambeau.models.summary import Summary, summary
from flambeau.models.text.vectors import Embeddings, is_vectors, load_embeddings

__all__ = [
    "FUSION",
    "OWN",
    "Activations",
    "Built",
    "Cut",
    "Embeddings",
    "Ensemble",
    "Examples",
    "FittedModel",
    "FromData",
    "Fusion",
    "Group",
    "InputSpec",
    "LossAndAnswers",
    "ModelInfo",
    "OutputSpec",
    "OwnLoss",
    "Recommended",
    "Summary",
    "Undecayed",
    "build",
    "check_name",
    "choose",
    "compares",
    "default_encoder",
    "fuse",
    "is_vectors",
    "layer_groups",
    "list_models",
    "load_embeddings",
    "make_room",
    "max_positions",
    "skeleton",
    "starts_pretrained",
    "summary",
    "takes_several",
    "wanted",
]
