"""scikit-learn's world: its own checks of an estimator, and its tools over ours."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn.datasets
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import flambeau as fb

CANNOT: dict[str, str] = {}
"""Checks that cannot hold, each with why: none."""


@pytest.mark.slow
@parametrize_with_checks(
    [fb.sklearn.FlambeauClassifier(), fb.sklearn.FlambeauRegressor()], expected_failed_checks=lambda estimator: CANNOT
)
def test_scikit_learn_s_own_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def wine() -> tuple[np.ndarray, np.ndarray]:
    x, y = sklearn.datasets.load_wine(return_X_y=True)
    return x, np.array(["a", "b", "c"])[y]


def test_cross_validation_pipelines_grids_and_importance_just_work(wine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x, y = wine
    ours = fb.sklearn.FlambeauClassifier(epochs=5, learning_rate=1e-2, random_state=0)
    assert cross_val_score(ours, x, y, cv=3).mean() > 0.9
    rate = "flambeauclassifier__learning_rate"
    grid = GridSearchCV(make_pipeline(StandardScaler(), ours), {rate: [1e-7, 1e-2]}, cv=2).fit(x, y)
    assert grid.best_params_ == {rate: 1e-2} and grid.predict(x[:2]).tolist() == ["a"] * 2
    shuffled = permutation_importance(grid.best_estimator_, x, y, n_repeats=2, random_state=0)
    assert shuffled.importances_mean.shape == (13,) and shuffled.importances_mean.max() > 0
    assert list(Path(tmp_path).iterdir()) == []  # no run, no store


def test_the_same_random_state_gives_the_same_weights_and_classes_keep_their_order(wine):
    x, y = wine
    ours = fb.sklearn.FlambeauClassifier(epochs=2, random_state=3)
    first, again = ours.fit(x, y).predict_proba(x), clone(ours).fit(x, y).predict_proba(x)
    assert np.array_equal(first, again) and np.allclose(first.sum(1), 1)
    assert not np.array_equal(first, clone(ours).set_params(random_state=4).fit(x, y).predict_proba(x))
    assert ours.classes_.tolist() == ["a", "b", "c"]
    many = [f"{k:02d}" for k in range(12)]  # numbers of classes are no texts: 10 is behind 9
    x, y = np.repeat(np.eye(12), 8, 0), np.repeat(many, 8)
    assert fb.sklearn.FlambeauClassifier(epochs=60, random_state=0).fit(x, y).score(x, y) > 0.9


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_frames_of_any_columns_are_taken(frame):
    colour = ["red", "blue"] * 40
    columns = {"colour": colour, "size": np.arange(80.0) % 7}
    price = [10.0 * (c == "red") + s for c, s in zip(colour, columns["size"], strict=True)]
    ours = fb.sklearn.FlambeauRegressor(epochs=40, random_state=0).fit(frame(columns), price)
    assert ours.score(frame(columns), price) > 0.8 and ours.n_features_in_ == 2
    assert ours.feature_names_in_.tolist() == ["colour", "size"]


@pytest.mark.parametrize("kind", [np.asarray, pd.DataFrame])
def test_numbers_may_be_missing(wine, kind):
    x, y = wine
    gaps = x.copy()
    gaps[np.random.default_rng(0).random(x.shape) < 0.1] = np.nan
    ours = fb.sklearn.FlambeauClassifier(epochs=15, learning_rate=1e-2, random_state=0).fit(kind(gaps), y)
    assert ours.score(kind(gaps), y) > 0.95 and ours.score(kind(x), y) > 0.95


def test_a_trained_one_is_pickled_as_joblib_does(wine):
    x, y = wine
    ours = fb.sklearn.FlambeauClassifier(epochs=1, random_state=0).fit(x, y)
    assert np.array_equal(pickle.loads(pickle.dumps(ours)).predict_proba(x), ours.predict_proba(x))


def test_texts_and_pictures_are_taken():
    texts = ["a good film", "a bad film", "good acting", "bad acting and worse"] * 12
    ours = fb.sklearn.FlambeauClassifier(epochs=5, random_state=0).fit(texts, [1, 0, 1, 0] * 12)
    assert ours.predict(["good good", "bad bad"]).tolist() == [1, 0]
    digits = sklearn.datasets.load_digits()
    x, y = digits.images[:300] / 16, digits.target[:300]
    pictures = fb.sklearn.FlambeauClassifier("mlp", epochs=8, random_state=0).fit(x, y)
    assert pictures.score(x, y) > 0.8 and pictures.recipe_.model.name == "mlp"


def test_what_is_wrong_is_told_as_scikit_learn_does(wine):
    x, y = wine
    with pytest.raises(NotFittedError):
        fb.sklearn.FlambeauClassifier().predict(x)
    with pytest.raises(ValueError, match="did you mean 'mlp'"):
        fb.sklearn.FlambeauClassifier("mlpp").fit(x, y)
    with pytest.raises(ValueError, match="NaN"):
        fb.sklearn.FlambeauClassifier(epochs=1).fit(x, y).predict(np.full_like(x, np.nan))
    with pytest.raises(ValueError, match="infinity"):
        fb.sklearn.FlambeauClassifier().fit(np.full_like(x, np.inf), y)
    frame = pd.DataFrame({"age": [30, 31, 52, 50] * 6, "city": ["Lyon", "Köln", "Köln", "Lyon"] * 6})
    ours, labels = fb.sklearn.FlambeauClassifier(epochs=1, random_state=0), [0, 0, 1, 1] * 6
    with pytest.raises(ValueError, match="0 samples"):
        ours.fit(frame.iloc[:0], [])
    with pytest.raises(ValueError, match="two columns are called 'age'"):
        ours.fit(pd.concat([frame, frame], axis=1), labels)
    ours.fit(frame, labels)
    with pytest.raises(ValueError, match="0 samples"):
        ours.predict(frame.iloc[:0])
    with pytest.raises(ValueError, match="there is no setting 'epoks'"):
        fb.sklearn.FlambeauClassifier(settings={"epoks": 3}).fit(x, y)
