"""Linear models of features, as arrays: how scikit-learn fits them, with a penalty that validation rows choose."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from flambeau.models.fitted.base import NEVER

STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
"""Inverse penalties of logistic regression that are tried, the strongest penalty first."""
PENALTIES = np.logspace(-3, 5, 17)
"""Of ridge regression."""
USUAL = 0.1
ITERATIONS = 300


class Weights(NamedTuple):
    """A linear map, float64: matrix (D, K) and bias (K); and what was chosen, a clause."""

    matrix: np.ndarray
    bias: np.ndarray
    chosen: str


def fit_linear(
    x: Any, y: np.ndarray, w: np.ndarray, num_outputs: int, numbers: bool, held_out: tuple[Any, np.ndarray] | None
) -> Weights:
    """Ridge regression of numbers, its penalty by leave-one-out; logistic regression of classes or of each label, its
    penalty by held-out rows.

    Args:
        x: features (N, D).
        y: numbers (N, …), classes (N) or labels (N, K).
        held_out: other rows, their features and targets.
    """
    if numbers:
        return _ridge(x, y.reshape(len(y), -1), w)
    if y.ndim == 1:
        return _logistic(x, y, w, num_outputs, held_out)
    parts = [
        _logistic(
            x, (y[:, k] > 0.5).astype(int), w, 2, held_out and (held_out[0], (held_out[1][:, k] > 0.5).astype(int))
        )
        for k in range(num_outputs)
    ]
    matrix = np.stack([p.matrix[:, 1] - p.matrix[:, 0] for p in parts], 1)
    bias = np.asarray([p.bias[1] - p.bias[0] for p in parts])
    return Weights(matrix, bias, f"a penalty for each of {num_outputs} labels")


def _ridge(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> Weights:
    from sklearn.linear_model import RidgeCV

    fitted = RidgeCV(alphas=PENALTIES).fit(x, y, sample_weight=w)
    return Weights(np.atleast_2d(fitted.coef_).reshape(y.shape[1], -1).T, np.ravel(fitted.intercept_),
                   f"penalty {fitted.alpha_:.3g} by leave-one-out")  # fmt: skip


def _logistic(
    x: np.ndarray, y: np.ndarray, w: np.ndarray, num_classes: int, held_out: tuple[Any, np.ndarray] | None
) -> Weights:
    from sklearn.linear_model import LogisticRegression

    there = np.unique(y)
    if len(there) < 2:
        return spread(np.zeros((1, x.shape[1])), np.zeros(1), there, num_classes, "one class alone")
    best: tuple[float, Any] | None = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it could go on: what it has reached is what held-out rows judge
        fitted = LogisticRegression(max_iter=ITERATIONS, warm_start=True)
        for strength in STRENGTHS if held_out is not None else (USUAL,):
            fitted.set_params(C=strength).fit(x, y, sample_weight=w)
            loss = 0.0 if held_out is None else _loss(fitted, *held_out)
            if best is None or loss < best[0]:
                best = loss, (strength, fitted.coef_.copy(), fitted.intercept_.copy())
    assert best is not None
    strength, matrix, bias = best[1]
    chosen = f"penalty {1 / strength:g}" + (" by validation rows" if held_out is not None else "")
    return spread(matrix, bias, there, num_classes, chosen)


def _loss(fitted: Any, x: Any, y: np.ndarray) -> float:
    """The log-loss on rows of the classes that it knows."""
    known = np.isin(y, fitted.classes_)
    if not known.any():
        return 0.0
    said = fitted.predict_proba(x[known])
    places = np.searchsorted(fitted.classes_, y[known])
    return -float(np.log(np.maximum(said[np.arange(len(said)), places], 1e-12)).mean())


def spread(matrix: np.ndarray, bias: np.ndarray, there: np.ndarray, num_classes: int, chosen: str) -> Weights:
    """Scikit-learn's coefficients (K', D) and intercepts of the classes that are there, to those of all; of two classes
    it has one row, which speaks for the second."""
    out, start = np.zeros((matrix.shape[1], num_classes)), np.full(num_classes, NEVER)
    start[there] = 0.0
    speaking = there[-len(matrix) :]
    out[:, speaking], start[speaking] = matrix.T, bias
    return Weights(out, start, chosen)
