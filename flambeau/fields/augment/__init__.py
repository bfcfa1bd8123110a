"""Augmentation of whole batches of pictures on their device, and the same path without randomness."""

from flambeau.fields.augment.effects import EFFECTS, Effect
from flambeau.fields.augment.pipeline import Augmentation, normalise

__all__ = ["EFFECTS", "Augmentation", "Effect", "normalise"]
