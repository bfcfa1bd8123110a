"""Networks that give a class for each pixel. Importing this enters them in the registry."""

from flambeau.models.segmentation.unet import UNet

__all__ = ["UNet"]
