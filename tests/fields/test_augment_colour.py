"""Colour augmentations equal torchvision's, one by one and in a chain, in both memory layouts."""

from __future__ import annotations

import colorsys
import math

import pytest
import torch

from flambeau.fields.augment import Augmentation, colour, normalise
from flambeau.fields.augment.draws import Draws

CPU = torch.device("cpu")
LAYOUTS = [torch.channels_last, torch.contiguous_format]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def noise(B: int, H: int, W: int, C: int = 3, low: int = 0, high: int = 256) -> torch.Tensor:
    return torch.randint(low, high, (B, H, W, C), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def factors(name: str, strength: float, batch: int, seed: int = 0) -> list[float]:
    draws = Draws(batch, seeded(seed), CPU)
    return draws.between(name, max(0, 1 - strength), 1 + strength, 1.0, 1.0).tolist()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(16, 16), (7, 9), (1, 1)])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_one_operation_is_torchvision_s(name: str, size: tuple[int, int], layout: torch.memory_format) -> None:
    TF = pytest.importorskip("torchvision.transforms.v2.functional")
    images = noise(6, *size)
    out = Augmentation(**{name: 0.7})(images, generator=seeded(), memory_format=layout)
    adjust = getattr(TF, f"adjust_{name}")
    floats = images.permute(0, 3, 1, 2).float() / 255
    for image, after, factor in zip(floats, out, factors(name, 0.7, 6), strict=True):
        # torchvision's luma weights add up to 0.9999 in some places and are used so here
        assert torch.allclose(after, adjust(image, factor), atol=2e-6 * 255 / 2)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_greyscale_is_torchvision_s(layout: torch.memory_format) -> None:
    TF = pytest.importorskip("torchvision.transforms.v2.functional")
    images = noise(4, 8, 8)
    out = Augmentation(greyscale=1.0)(images, generator=seeded(), memory_format=layout)
    expected = TF.rgb_to_grayscale(images.permute(0, 3, 1, 2).float() / 255, num_output_channels=3)
    assert torch.allclose(out, expected, atol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_chain_with_normalisation_is_torchvision_s(layout: torch.memory_format) -> None:
    """Brightness, contrast, saturation in one matrix, where no step leaves the range (there torchvision clips)."""
    TF = pytest.importorskip("torchvision.transforms.v2.functional")
    images = noise(8, 12, 10, low=90, high=160)
    augmentation = Augmentation(brightness=0.2, contrast=0.4, saturation=0.5)
    out = augmentation(images, generator=seeded(), mean=MEAN, std=STD, memory_format=layout)
    drawn = [factors(n, s, 8) for n, s in (("brightness", 0.2), ("contrast", 0.4), ("saturation", 0.5))]
    for image, after, brightness, contrast, saturation in zip(images, out, *drawn, strict=True):
        floats = TF.adjust_brightness(image.permute(2, 0, 1).float() / 255, brightness)
        floats = TF.adjust_saturation(TF.adjust_contrast(floats, contrast), saturation)
        assert torch.allclose(after, TF.normalize(floats, MEAN, STD), atol=1e-4)


def test_factors_are_uniform_around_one() -> None:
    drawn = torch.tensor(factors("contrast", 0.4, 5000))
    assert drawn.min() >= 0.6 and drawn.max() <= 1.4
    assert abs(drawn.mean() - 1) < 4 * 0.8 / math.sqrt(12 * 5000) and abs(drawn.std() - 0.8 / math.sqrt(12)) < 0.01
    assert min(factors("brightness", 3.0, 500)) >= 0, "a factor below 0 would turn light into dark"


def test_hue_turns_about_the_grey_axis_and_keeps_luma() -> None:
    turns = torch.tensor([0.0, 0.1, 1 / 3, -1 / 3, 0.5, 1.0])
    matrices = colour.hue_rotation(turns)
    luma = torch.tensor([0.299, 0.587, 0.114])
    assert torch.allclose(matrices @ torch.ones(3), torch.ones(6, 3), atol=1e-6), "greys stay"
    assert torch.allclose(luma @ matrices, luma.expand(6, 3), atol=1e-6), "luma stays"
    assert torch.allclose(matrices[[0, 5]], torch.eye(3).expand(2, 3, 3), atol=1e-6)
    assert torch.allclose(matrices[1] @ matrices[1], colour.hue_rotation(torch.tensor([0.2]))[0], atol=1e-6)
    red = matrices @ torch.tensor([1.0, 0.0, 0.0])
    assert red[2].argmax() == 1 and red[3].argmax() == 2, "as in HSV, a third of the turn leads from red to green"


@pytest.mark.parametrize("turn", [0.02, -0.05, 0.1])
def test_hue_turns_as_far_as_that_of_hsv_on_average(turn: float) -> None:
    colours = noise(1, 20, 20, low=60, high=190).reshape(-1, 3).float() / 255
    turned = colours @ colour.hue_rotation(torch.tensor([turn]))[0].T

    def hue(rgb: torch.Tensor) -> torch.Tensor:
        return torch.tensor([colorsys.rgb_to_hsv(*pixel)[0] for pixel in rgb.clamp(0, 1).tolist()])

    change = (hue(turned) - hue(colours) + 0.5) % 1 - 0.5
    assert 0.8 < change.mean() / turn < 1.2
    assert (change / turn > 0).float().mean() > 0.99


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_other_channel_counts_get_brightness_and_contrast_only(channels: int, layout: torch.memory_format) -> None:
    images = noise(5, 6, 7, channels, low=80, high=160)
    on = Augmentation(brightness=0.2, contrast=0.3, saturation=0.5, hue=0.2, greyscale=1.0)
    out = on(images, generator=seeded(), memory_format=layout)
    assert out.shape == (5, channels, 6, 7) and out.is_contiguous(memory_format=layout)
    floats = images.permute(0, 3, 1, 2).float() / 255
    drawn = zip(factors("brightness", 0.2, 5), factors("contrast", 0.3, 5), strict=True)
    for image, after, (brightness, contrast) in zip(floats, out, drawn, strict=True):
        brighter = image * brightness
        assert torch.allclose(after, contrast * brighter + (1 - contrast) * brighter.mean(), atol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_results_stay_within_black_and_white(layout: torch.memory_format) -> None:
    images = noise(16, 9, 9)
    strong = Augmentation(brightness=2.0, contrast=2.0, saturation=3.0, gaussian_noise={"sigma": 0.5, "p": 1.0})
    out = strong(images, generator=seeded(), mean=MEAN, std=STD, memory_format=layout)
    pixels = out * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    assert pixels.min() > -1e-6 and pixels.max() < 1 + 1e-6
    assert (pixels < 1e-6).any() and (pixels > 1 - 1e-6).any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_noise_has_the_asked_deviation_on_the_chosen_samples_only(layout: torch.memory_format) -> None:
    images = torch.full((300, 16, 16, 3), 128, dtype=torch.uint8)
    noisy = Augmentation(gaussian_noise={"sigma": 0.1, "p": 0.5})
    settings = {"mean": MEAN, "std": STD, "memory_format": layout}
    difference = noisy(images, generator=seeded(), **settings) - normalise(images, **settings)
    difference *= torch.tensor(STD).view(3, 1, 1)
    touched = (difference.abs() > 1e-5).flatten(1).float().mean(1)
    assert set((touched > 0.9).tolist()) == {True, False} and ((touched > 0.99) | (touched == 0)).all()
    assert abs((touched > 0.9).float().mean() - 0.5) < 4 * 0.5 / math.sqrt(300)
    values = difference[touched > 0.9]
    assert abs(values.std() - 0.1) < 0.002 and abs(values.mean()) < 0.002
    assert abs(values.std((0, 2, 3)) - 0.1).max() < 0.004, "each channel has the same deviation in 0…1 units"
