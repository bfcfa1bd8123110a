"""Colour spaces are those of the standard library, of Pillow and of the CIE."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch
from PIL import Image as PILImage
from sklearn.datasets import load_sample_image

from flambeau.fields.picture.colour_spaces import COLOURS, convert

PHOTO = load_sample_image("flower.jpg")[::16, ::16]
RGB = torch.from_numpy(PHOTO.transpose(2, 0, 1)[None] / 255)


def test_hsv_is_that_of_colorsys() -> None:
    ours = convert(RGB, "hsv")[0].permute(1, 2, 0).reshape(-1, 3).numpy()
    theirs = np.asarray([colorsys.rgb_to_hsv(*(c / 255)) for c in PHOTO.reshape(-1, 3)])
    turn = np.abs(ours[:, 0] - theirs[:, 0])
    assert np.minimum(turn, 1 - turn).max() < 1e-9
    np.testing.assert_allclose(ours[:, 1:], theirs[:, 1:], atol=1e-12)


def test_ycbcr_is_that_of_pillow() -> None:
    ours = convert(RGB, "ycbcr")[0].permute(1, 2, 0).numpy() * 255
    theirs = np.asarray(PILImage.fromarray(np.ascontiguousarray(PHOTO)).convert("YCbCr"), dtype=float)
    # Pillow rounds, and puts the middle of Cb and Cr at 128 and not at 127.5
    assert np.abs(ours - theirs).max() <= 1.01


def test_lab_is_that_of_the_cie() -> None:
    """Values of IEC 61966-2-1 colours under D65, as any colour calculator gives them."""
    known = {
        (255, 255, 255): (100.0, 0.0, 0.0),
        (0, 0, 0): (0.0, 0.0, 0.0),
        (255, 0, 0): (53.24, 80.09, 67.20),
        (0, 255, 0): (87.73, -86.18, 83.18),
        (0, 0, 255): (32.30, 79.19, -107.86),
        (119, 119, 119): (50.03, 0.0, 0.0),
    }
    rgb = torch.tensor(list(known), dtype=torch.float64).T[None, :, None] / 255
    lab = convert(rgb, "lab")[0, :, 0].T
    found = torch.stack([lab[:, 0] * 100, lab[:, 1] * 255 - 128, lab[:, 2] * 255 - 128], 1)
    torch.testing.assert_close(found, torch.tensor(list(known.values()), dtype=torch.float64), atol=0.02, rtol=0)


@pytest.mark.parametrize("colour", COLOURS)
def test_channels_lie_in_about_zero_to_one(colour: str) -> None:
    grid = torch.linspace(0, 1, 9)
    every = torch.cartesian_prod(grid, grid, grid).T[None, :, None]
    planes = convert(every, colour)
    assert planes.shape == every.shape and bool(torch.isfinite(planes).all())
    assert float(planes.min()) >= -1e-4 and float(planes.max()) <= 1.0001
