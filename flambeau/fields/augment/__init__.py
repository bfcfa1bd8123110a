"""Augmentation of whole batches of pictures on their device, and the same path without randomness."""

from flambeau.fields.augment.effects import EFFECTS, Effect
from flambeau.fields.augment.flips import FlipProbe, flip_safe
from flambeau.fields.augment.pipeline import Augmentation, normalise
from flambeau.fields.augment.policy import PictureStatistics, choose, default_policy, picture_statistics, preset

__all__ = [
    "EFFECTS",
    "Augmentation",
    "Effect",
    "FlipProbe",
    "PictureStatistics",
    "choose",
    "default_policy",
    "flip_safe",
    "normalise",
    "picture_statistics",
    "preset",
]
