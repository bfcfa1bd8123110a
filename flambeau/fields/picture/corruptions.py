"""What happens to pictures, uint8 (H, W, C) as a model's store has them: severities of ImageNet-C where it has them;
blur is a share of the shorter side, so that small pictures are not wiped out.

D. Hendrycks, T. Dietterich, 2019, https://arxiv.org/abs/1903.12261.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image as PILImage
from PIL import ImageFilter

from flambeau.robustness import Corruptions

PICTURES = Corruptions("corruption of pictures")


def _by_pillow(picture: np.ndarray, change: Callable[[PILImage.Image], PILImage.Image]) -> np.ndarray:
    """A change of a PIL image, of an array with 1 or 3 channels."""
    image = PILImage.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
    return np.asarray(change(image)).reshape(picture.shape)


def _pixels(numbers: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(numbers), 0, 255).astype(np.uint8)


@PICTURES.enter("noise", (0.08, 0.12, 0.18, 0.26, 0.38), "normal noise of deviation {level:g} (white is 1)",
              "--set augment.gaussian_noise=0.2")  # fmt: skip
def noise(picture: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise, as of a sensor in the dark."""
    return _pixels(picture + 255 * level * rng.standard_normal(picture.shape))


@PICTURES.enter("blur", (0.005, 0.01, 0.015, 0.02, 0.03), "a Gaussian blur of {level:.1%} of the shorter side",
              "--set augment.blur=3")  # fmt: skip
def blur(picture: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Out of focus."""
    return _by_pillow(picture, lambda p: p.filter(ImageFilter.GaussianBlur(level * min(p.size))))


@PICTURES.enter("jpeg", (25, 18, 15, 10, 7), "JPEG of quality {level:g}",
              "training pictures that were saved so")  # fmt: skip
def jpeg(picture: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Saved small."""

    def saved(image: PILImage.Image) -> PILImage.Image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=int(level))
        return PILImage.open(buffer, formats=["JPEG"])

    return _by_pillow(picture, saved)


@PICTURES.enter("brightness", (0.1, 0.2, 0.3, 0.4, 0.5), "brighter by {level:.0%} of white",
              "--set augment.brightness=0.5 --set augment.contrast=0.8")  # fmt: skip
def brightness(picture: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Overexposed."""
    return _pixels(picture + 255 * level)


@PICTURES.enter("darkness", (0.1, 0.2, 0.3, 0.4, 0.5), "darker by {level:.0%} of white",
              "--set augment.brightness=0.5 --set augment.contrast=0.8")  # fmt: skip
def darkness(picture: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Underexposed."""
    return _pixels(picture - 255 * level)


@PICTURES.enter("contrast", (0.4, 0.3, 0.2, 0.1, 0.05), "{level:.0%} of the contrast left",
              "--set augment.contrast=0.8")  # fmt: skip
def contrast(picture: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """In fog."""
    mean = picture.mean((0, 1), keepdims=True)
    return _pixels(mean + level * (picture - mean))


@PICTURES.enter("rotation", (5, 10, 15, 25, 45), "turned by {level:g} degrees", "--set augment.rotation=30", moves=True)
def rotation(picture: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Held askew, to either side; what comes in has the mean colour of the border."""
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    fill = tuple(int(c) for c in border.mean(0).round())
    degrees = level if rng.random() < 0.5 else -level
    return _by_pillow(picture, lambda p: p.rotate(
        degrees, PILImage.Resampling.BILINEAR, fillcolor=fill if len(fill) > 1 else fill[0]))  # fmt: skip


@PICTURES.enter("pixelate", (0.6, 0.5, 0.4, 0.3, 0.25), "{level:.0%} of the pixels a side",
              "--set augment.blur=3, or a smaller size of the pictures")  # fmt: skip
def pixelate(picture: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Made small and large again."""

    def coarse(image: PILImage.Image) -> PILImage.Image:
        size = tuple(max(1, int(side * level)) for side in image.size)
        small = image.resize((size[0], size[1]), PILImage.Resampling.BOX)
        return small.resize(image.size, PILImage.Resampling.NEAREST)

    return _by_pillow(picture, coarse)
