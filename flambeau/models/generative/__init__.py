"""Networks that make samples anew. Importing this enters them in the registry."""

from flambeau.models.generative.adversarial import Discriminator, Generator
from flambeau.models.generative.coder import Coder
from flambeau.models.generative.convolutional import ConvolutionalCoder
from flambeau.models.generative.dense import DenseCoder
from flambeau.models.generative.time_unet import TimeUNet

__all__ = ["Coder", "ConvolutionalCoder", "DenseCoder", "Discriminator", "Generator", "TimeUNet"]
