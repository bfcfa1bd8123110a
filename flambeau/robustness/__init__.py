"""How a model is made to fail on purpose, and what is certain nevertheless. Plain torch: models are functions of inputs
(B, …), which lie in 0…1 if nothing else is said; normalisation is a part of the model here. And how raw values are
spoilt by chance: `corruption`."""

from flambeau.robustness.ball import NORMS, Ball
from flambeau.robustness.corruption import SEVERITIES, Corruption, Corruptions
from flambeau.robustness.decision import hop_skip_jump
from flambeau.robustness.gradient import ascend, fgsm, pgd
from flambeau.robustness.smoothing import Certified, certify
from flambeau.robustness.surrogate import small_network, surrogate
from flambeau.robustness.words import swap_words

__all__ = [
    "NORMS",
    "SEVERITIES",
    "Ball",
    "Certified",
    "Corruption",
    "Corruptions",
    "ascend",
    "certify",
    "fgsm",
    "hop_skip_jump",
    "pgd",
    "small_network",
    "surrogate",
    "swap_words",
]
