"""How near pictures are, as the field measures it: equal to torchmetrics."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from flambeau.fields import Picture
from flambeau.objectives.perceptual import FeatureDistance
from flambeau.objectives.restoration import Quality, luma, psnr, ssim

functional = pytest.importorskip("torchmetrics.functional.image")
GENERATOR = torch.Generator().manual_seed(0)
TRUTH = torch.rand(3, 3, 40, 52, generator=GENERATOR)
ANSWER = (TRUTH + 0.1 * torch.randn(TRUTH.shape, generator=GENERATOR)).clamp(0, 1)


def test_psnr_and_ssim_are_those_of_torchmetrics() -> None:
    for i in range(3):
        pair = ANSWER[i : i + 1], TRUTH[i : i + 1]
        theirs = functional.peak_signal_noise_ratio(*pair, data_range=1.0)
        assert float(psnr(*pair)) == pytest.approx(float(theirs), abs=1e-4)
    theirs = functional.structural_similarity_index_measure(ANSWER, TRUTH, data_range=1.0, reduction="none")
    pair = [F.pad(pictures, (5, 5, 5, 5), "reflect") for pictures in (ANSWER, TRUTH)]  # windows reach beyond there
    torch.testing.assert_close(ssim(*pair), theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", [1, 2])
def test_larger_pictures_are_measured_on_y_without_their_edges(scale: int) -> None:
    field = Picture(scale, size=[40, 52], colour="rgb")
    field.mean, field.std = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
    mean, std = (torch.tensor(figures).view(-1, 1, 1) for figures in (field.mean, field.std))
    quality, rounded = Quality(field, detail=True), (ANSWER * 255).round() / 255
    exact = (TRUTH * 255).round() / 255
    for rows in ([0, 1], [2]):
        quality.update((rounded[rows] - mean) / std, (exact[rows] - mean) / std, torch.tensor(rows))
    pair = (rounded, exact) if scale == 1 else tuple(luma(x)[:, :, 2:-2, 2:-2] for x in (rounded, exact))
    assert quality.values()["psnr"] == pytest.approx(float(psnr(*pair).mean()), abs=1e-3)
    assert quality.values()["ssim"] == pytest.approx(float(ssim(*pair).mean()), abs=1e-4)
    assert len(quality.detail()["pictures"]) == 3


def test_features_are_nearer_the_nearer_a_picture_is() -> None:
    field = Picture(size=[40, 52], colour="rgb")
    field.mean, field.std = [0.0] * 3, [1.0] * 3
    found = []
    for picture in (TRUTH, 0.9 * TRUTH + 0.1 * ANSWER, ANSWER):
        metric = FeatureDistance(field)
        metric.name = "feature_distance"
        metric.update(picture, TRUTH, torch.arange(3))
        found.append(metric.values()["feature_distance"])
    assert found[0] == pytest.approx(0, abs=1e-6) and found[0] < found[1] < found[2]
