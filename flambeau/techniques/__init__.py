"""Techniques: one file per trick. A new trick is a new file here, entered into TECHNIQUES."""

from flambeau.techniques.adversarial import Adversarial
from flambeau.techniques.base import HOOKS, TECHNIQUES, Step, Technique, Training, made, not_kept
from flambeau.techniques.class_weights import ClassWeights
from flambeau.techniques.clip import Clip
from flambeau.techniques.clip_value import ClipValue
from flambeau.techniques.continued_pretraining import ContinuedPretraining
from flambeau.techniques.cutmix import CutMix
from flambeau.techniques.discriminative_rates import DiscriminativeRates
from flambeau.techniques.distill import Distill
from flambeau.techniques.early_stopping import EarlyStopping
from flambeau.techniques.ema import EMA
from flambeau.techniques.fine_tune import FineTune
from flambeau.techniques.freeze import Freeze
from flambeau.techniques.gradient_centralisation import GradientCentralisation
from flambeau.techniques.gradient_checkpointing import GradientCheckpointing
from flambeau.techniques.gradient_noise import GradientNoise
from flambeau.techniques.init import Init
from flambeau.techniques.keyed import keyed, name_of, objects
from flambeau.techniques.label_smoothing import LabelSmoothing
from flambeau.techniques.lora import LoRA
from flambeau.techniques.mixes import Mixes
from flambeau.techniques.mixup import Mixup
from flambeau.techniques.nt_asgd import NTASGD
from flambeau.techniques.penalties import L1, L2
from flambeau.techniques.progressive_resizing import ProgressiveResizing
from flambeau.techniques.qat import QuantisationAware
from flambeau.techniques.sam import SAM
from flambeau.techniques.snapshots import Snapshots
from flambeau.techniques.swa import SWA
from flambeau.techniques.unfreeze import GradualUnfreezing

__all__ = [
    "EMA",
    "HOOKS",
    "L1",
    "L2",
    "NTASGD",
    "SAM",
    "SWA",
    "TECHNIQUES",
    "Adversarial",
    "ClassWeights",
    "Clip",
    "ClipValue",
    "ContinuedPretraining",
    "CutMix",
    "DiscriminativeRates",
    "Distill",
    "EarlyStopping",
    "FineTune",
    "Freeze",
    "GradientCentralisation",
    "GradientCheckpointing",
    "GradientNoise",
    "GradualUnfreezing",
    "Init",
    "LabelSmoothing",
    "LoRA",
    "Mixes",
    "Mixup",
    "ProgressiveResizing",
    "QuantisationAware",
    "Snapshots",
    "Step",
    "Technique",
    "Training",
    "keyed",
    "made",
    "name_of",
    "not_kept",
    "objects",
]
