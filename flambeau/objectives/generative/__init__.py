"""Objectives that make samples anew, one file per family, and how what they make is measured and watched."""

from flambeau.objectives.generative.autoencoder import Autoencoder, Denoising
from flambeau.objectives.generative.base import Generative
from flambeau.objectives.generative.cycle import CycleGAN
from flambeau.objectives.generative.flow import ClassDiffusion, Diffusion, FlowMatching
from flambeau.objectives.generative.gan import GAN
from flambeau.objectives.generative.vae import CVAE, VAE

__all__ = [
    "CVAE",
    "GAN",
    "VAE",
    "Autoencoder",
    "ClassDiffusion",
    "CycleGAN",
    "Denoising",
    "Diffusion",
    "FlowMatching",
    "Generative",
]
