"""Flambeau's networks as scikit-learn's estimators: pipelines, grids and cross-validation take them as any other.

>>> from sklearn.datasets import load_iris
>>> from sklearn.model_selection import cross_val_score
>>> import flambeau as fb
>>> x, y = load_iris(return_X_y=True)
>>> bool(cross_val_score(fb.sklearn.FlambeauClassifier(epochs=10, random_state=0), x, y, cv=3).mean() > 0.8)
True
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import polars as pl
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _check_y,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from flambeau.core.errors import FlambeauError
from flambeau.data.dataset import Dataset
from flambeau.data.sources.frames import as_polars
from flambeau.fields import FIELDS, Field
from flambeau.learner import Learner
from flambeau.predictor import Predictor

TARGET = "target of the estimator"
BATCH = 256  # samples predicted at once


class _Estimator(BaseEstimator):
    """What both have in common. Trained on all rows that `fit` is given, without a validation part, to the last epoch;
    nothing is said, and no run is left.

    `X` may be numbers (N, D), NaN where one is missing, pictures (N, H, W) or (N, H, W, C), a pandas or polars frame of
    any columns, or a list of texts.

    Args:
        model: a name, see `flambeau models`, or `auto`.
        epochs, batch_size, learning_rate: chosen by the number of rows if not given.
        techniques: as for a Learner.
        settings: further settings of the recipe, such as `{"weight_decay": 0.1, "model.options.hidden": [64]}`.
        device: auto, cpu, cuda, cuda:1 or mps.
        random_state: a number for the same weights each time; None draws from NumPy's own.
    """

    def __init__(
        self, model: str = "auto", *, epochs: int | None = None, batch_size: int | None = None,
        learning_rate: float | None = None, techniques: Sequence[Any] | None = None,
        settings: Mapping[str, Any] | None = None, device: str = "auto", random_state: Any = None,
    ):  # fmt: skip
        self.model, self.epochs, self.batch_size, self.learning_rate = model, epochs, batch_size, learning_rate
        self.techniques, self.settings, self.device, self.random_state = techniques, settings, device, random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _train(self, x: Any, target: Any, kind: str) -> None:
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        field = Field.from_dict({"kind": kind})
        if _is_frame(x):
            frame = as_polars(x)
            columns: dict[str, Any] = {name: frame[name].to_list() for name in frame.columns}
            data = Dataset(columns | {TARGET: target}, target=TARGET, fields={TARGET: field}, split="none")
        elif isinstance(x, list):
            fields = {"x": FIELDS["text"](), TARGET: field}
            data = Dataset({"x": x, TARGET: target}, target=TARGET, fields=fields, split="none")
        else:
            fields = {"x": FIELDS["number"]()} if x.ndim == 2 else {}
            data = Dataset.from_arrays(x, target, fields={**fields, "y": field}, split="none")
        asked = {"epochs": self.epochs, "batch_size": self.batch_size, "learning_rate": self.learning_rate}
        options: dict[str, Any] = {
            "keep": "last",
            "baseline": False,
            "loggers": [],
            "device": self.device,
            "seed": seed,
        }
        options |= {name: value for name, value in asked.items() if value is not None} | dict(self.settings or {})
        with _value_errors():
            learner = Learner(data, self.model, techniques=self.techniques, run=False, quiet=True, **options)
            learner.fit(check=False)
        assert learner.trainer is not None
        self.n_iter_ = learner.trainer.state.epoch
        self.recipe_ = learner.recipe
        self._predictor = learner.predictor

    def _checked(self, x: Any, *, reset: bool) -> Any:
        """Numbers as an array, frames with other columns and lists of texts as they are."""
        if _is_frame(x):
            with _value_errors():
                numbers = all(dtype.is_numeric() for dtype in as_polars(x).dtypes)
            if not numbers:
                _check_feature_names(self, x, reset=reset)
                _check_n_features(self, x, reset=reset)
                if not len(x):
                    raise ValueError(f"Found 0 samples (shape={x.shape}), and 1 at least is required.")
                return x
        if _is_texts(x):
            return [*x]
        images = getattr(x, "ndim", 2) > 2
        numbers = validate_data(
            self, x, reset=reset, dtype=[np.float64, np.float32, np.uint8] if images else np.float64,
            ensure_2d=not images, allow_nd=images, ensure_all_finite=True if images else "allow-nan",
        )  # fmt: skip
        if images:
            return numbers
        if reset:
            self._gaps = bool(np.isnan(numbers).any())
        # a value that is missing is one of a table's column
        return pl.DataFrame(numbers, [f"x{i}" for i in range(numbers.shape[1])]) if self._gaps else numbers

    def _outputs(self, x: Any) -> np.ndarray:
        """What the model says of each sample, after its activation."""
        check_is_fitted(self)
        predictor: Predictor = self._predictor
        x = self._checked(x, reset=False)
        out = []
        with _value_errors(), torch.inference_mode():
            if _is_frame(x):
                x, _ = predictor.listed(x)
            for start in range(0, len(x), BATCH):
                out.append(predictor.outputs([predictor.encode(value) for value in x[start : start + BATCH]]))
        return np.concatenate(out)


class FlambeauClassifier(ClassifierMixin, _Estimator):
    __doc__ = f"""A network that classifies. {_Estimator.__doc__}"""

    def fit(self, X: Any, y: Any) -> Self:
        """Trains on samples and their classes.

        Raises:
            ValueError: what scikit-learn's estimators raise for such input.
        """
        if y is None:
            raise ValueError("this classifier requires y to be passed, but the target y is None")
        X = self._checked(X, reset=True)
        y = column_or_1d(_check_y(y, multi_output=False, y_numeric=False, estimator=self), warn=True)
        check_consistent_length(X, y)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) > 1:
            self._train(X, [str(code) for code in codes], "category")
        else:
            self.n_iter_ = 1
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities (N, K), in the order of `classes_`."""
        check_is_fitted(self)
        if len(self.classes_) == 1:
            return np.ones((len(self._checked(X, reset=False)), 1))
        outputs = self._outputs(X).astype(np.float64)
        probabilities = np.empty_like(outputs)
        probabilities[:, [int(name) for name in self._predictor.classes]] = outputs
        return probabilities / probabilities.sum(1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest class of each sample (N)."""
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X).argmax(1)]


class FlambeauRegressor(RegressorMixin, _Estimator):
    __doc__ = f"""A network that predicts numbers. {_Estimator.__doc__}"""

    def fit(self, X: Any, y: Any) -> Self:
        """Trains on samples and their numbers (N). Raises ValueError, as scikit-learn's estimators do."""
        if y is None:
            raise ValueError("this regressor requires y to be passed, but the target y is None")
        X = self._checked(X, reset=True)
        y = column_or_1d(_check_y(y, multi_output=False, y_numeric=True, estimator=self), warn=True)
        check_consistent_length(X, y)
        self._train(X, np.asarray(y, np.float64), "number")
        return self

    def predict(self, X: Any) -> np.ndarray:
        """A number for each sample (N)."""
        return np.array([self._predictor.decode(output).label for output in self._outputs(X)], np.float64)


@contextmanager
def _value_errors() -> Iterator[None]:
    """Tells of bad input as scikit-learn's own estimators do."""
    try:
        yield
    except FlambeauError as error:
        raise ValueError(str(error)) from error


def _is_frame(x: Any) -> bool:
    return hasattr(x, "columns") and hasattr(x, "dtypes")


def _is_texts(x: Any) -> bool:
    """Whether it is a sequence of texts: a list, or an array or a frame's column of one axis."""
    if _is_frame(x) or not hasattr(x, "__len__") or getattr(x, "ndim", 1) != 1:
        return False
    return len(x) > 0 and all(isinstance(value, str) for value in x)


__all__ = ["FlambeauClassifier", "FlambeauRegressor"]
