"""Objectives: one file per way of training. A new way is a new file here, entered into OBJECTIVES; losses, metrics and
tasks have registries of their own."""

from flambeau.objectives.base import OBJECTIVES, Context, Objective, defaults, made
from flambeau.objectives.esrgan import ESRGAN
from flambeau.objectives.generative import GAN, VAE, Diffusion, Generative
from flambeau.objectives.language import LanguageModel
from flambeau.objectives.language.translation import Translation
from flambeau.objectives.losses import LOSSES
from flambeau.objectives.metrics import NamedMetric
from flambeau.objectives.names import METRICS
from flambeau.objectives.prediction import Prediction
from flambeau.objectives.supervised import Supervised
from flambeau.objectives.tasks import TASKS, Task
from flambeau.objectives.tasks.answer import QuestionAnswering

__all__ = [
    "ESRGAN",
    "GAN",
    "LOSSES",
    "METRICS",
    "OBJECTIVES",
    "TASKS",
    "VAE",
    "Context",
    "Diffusion",
    "Generative",
    "LanguageModel",
    "NamedMetric",
    "Objective",
    "Prediction",
    "QuestionAnswering",
    "Supervised",
    "Task",
    "Translation",
    "defaults",
    "made",
]
