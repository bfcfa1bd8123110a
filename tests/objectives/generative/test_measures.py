"""Measures of generated samples: beside plain references, and where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import linalg
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.objectives.generative import measures


def drawn(rows: int, features: int = 6, shift: float = 0.0, scale: float = 1.0, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(features, features, generator=torch.Generator().manual_seed(9))
    return torch.randn(rows, features, generator=generator) @ mix * scale + shift


def by_hand(real: np.ndarray, made: np.ndarray) -> dict[str, float]:
    """Precision, recall, density and coverage as the papers define them, with whole tables of distances."""

    def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.sqrt(((a[:, None] - b[None]) ** 2).sum(2))

    def radius(rows: np.ndarray, k: int) -> np.ndarray:
        return np.sort(apart(rows, rows), 1)[:, k]  # its own distance, 0, is the first

    between = apart(real, made)
    dense = between < radius(real, 5)[:, None]
    return {
        "precision": (between <= radius(real, 3)[:, None]).any(0).mean(),
        "recall": (between <= radius(made, 3)[None]).any(1).mean(),
        "density": dense.sum(0).mean() / 5,
        "coverage": dense.any(1).mean(),
    }


@pytest.mark.parametrize("rows", [400, 5])  # fewer rows than features: the covariance has no full rank
def test_the_frechet_distance_is_that_of_the_root_of_a_matrix(rows: int) -> None:
    real, made = drawn(300).double(), drawn(rows, shift=0.3, scale=1.2, seed=1).double()
    covariances = [np.cov(x.numpy(), rowvar=False) for x in (real, made)]
    root = linalg.sqrtm(covariances[0] @ covariances[1]).real
    theirs = ((real.mean(0) - made.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert measures.frechet(real, made) == pytest.approx(float(theirs), rel=1e-6)


def test_the_frechet_distance_where_it_is_known() -> None:
    real = drawn(500)
    assert measures.frechet(real, real) == pytest.approx(0, abs=1e-9)
    assert measures.frechet(real, real + 2) == pytest.approx(4 * 6, rel=1e-6)
    assert measures.frechet(real, real * 3) == pytest.approx(  # means and standard deviations three times as large
        float(4 * real.double().mean(0).square().sum() + 4 * real.double().var(0).sum()), rel=1e-6
    )


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.8, 0.5), (0.0, 2.0)])
def test_overlap_is_that_of_the_papers(shift: float, scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "BLOCK", 37)  # several blocks, the last one short
    real, made = drawn(120), drawn(90, shift=shift, scale=scale, seed=1)
    assert measures.overlap(real, made) == pytest.approx(by_hand(real.double().numpy(), made.double().numpy()))


def test_overlap_where_it_is_known() -> None:
    real = drawn(200)
    far = measures.overlap(real, real + 1000)
    assert far == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}
    same = measures.overlap(real, real)
    assert (same["precision"], same["recall"], same["coverage"]) == (1, 1, 1)
    one_mode = measures.overlap(torch.cat([real, real + 1000]), drawn(400, seed=1))
    assert one_mode["recall"] <= 0.5 < one_mode["precision"] and one_mode["coverage"] <= 0.5


def test_samples_that_are_alike_are_told() -> None:
    real, held_out, made = drawn(300), drawn(300, seed=1), drawn(100, seed=2)
    assert measures.diversity(real, real) == pytest.approx(1)
    assert measures.diversity(real, real * 0.1) == pytest.approx(0.1)
    assert measures.duplicates(real, made) == 0
    assert measures.duplicates(real, torch.cat([made, made[:50] + 1e-6])) == pytest.approx(100 / 150)
    usual, far, near = (measures.nearest(x, real)[0][:, 0] for x in (held_out, made, torch.cat([made[:50], real[:50]])))
    assert measures.copied(usual, far) == 0 and measures.copied(usual, near) == 0.5


@pytest.mark.usefixtures("unchecked")
def test_features_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match=r"\(5, 6\) and \(5, 4\) are not alike"):
        measures.frechet(drawn(5), drawn(5, features=4))
    with pytest.raises(UsageError, match="2 or more of each"):
        measures.frechet(drawn(5), drawn(1))
    with pytest.raises(UsageError, match="no 5 neighbours"):
        measures.overlap(drawn(5), drawn(50))
