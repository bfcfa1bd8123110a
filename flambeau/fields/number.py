"""Number: one number, or an array of numbers of one fixed shape."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.core.errors import DataError
from flambeau.core.findings import Finding, Severity
from flambeau.fields.base import FIELDS, Encoding, Field, Recognition


@FIELDS.register("number")
class Number(Field):
    """A number, or an array of numbers of one shape. Encoded as float32, standardised.

    Args:
        standardise: subtract the training rows' mean and divide by their standard deviation (over all
            axes but the first of a value of two or more axes, such as channels-first maps; per element for
            vectors). The model sees mean 0 and deviation 1; `decode` gives natural units.
    """

    kind = "number"
    settings = ("standardise",)
    fitted = ("shape", "mean", "std")

    def __init__(self, standardise: bool = True):
        self.standardise = standardise
        self.shape: list[int] = []
        self.mean: list[float] = [0.0]
        self.std: list[float] = [1.0]

    @classmethod
    def recognise(cls, values: Sequence[Any]) -> Recognition:
        sample = [v for v in values if v is not None]
        if not sample:
            return Recognition(0.0, "there are no values")
        try:
            array = np.asarray(sample, dtype=np.float64)
        except (TypeError, ValueError):
            return Recognition(0.0, "values are not numbers of one shape")
        if isinstance(sample[0], (str, bool, np.bool_)):
            return Recognition(0.0, "values are not numbers")
        return Recognition(0.6, "values are numbers" if array.ndim == 1 else f"values are arrays of {array.shape[1:]}")

    def fit(self, values: Sequence[Any]) -> None:
        array = _numbers(values)
        self.shape = list(array.shape[1:])
        if self.standardise and len(array):
            axes = (0, *range(2, array.ndim))
            finite = np.where(np.isfinite(array), array, np.nan)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # a column without one finite value: mean 0
                mean, std = np.nanmean(finite, axis=axes), np.nanstd(finite, axis=axes)
            self.mean = np.atleast_1d(np.nan_to_num(mean)).tolist()
            self.std = np.where(np.nan_to_num(std) > 0, std, 1.0).reshape(-1).tolist()

    @property
    def encoding(self) -> Encoding:
        return Encoding(np.dtype(np.float32), tuple(self.shape))

    @property
    def num_outputs(self) -> int:
        return int(np.prod(self.shape)) if self.shape else 1

    def _scale(self) -> tuple[np.ndarray, np.ndarray]:
        # one value per element of a vector, or per channel of channels-first maps
        trailing = (1,) * (len(self.shape) - 1)
        mean, std = np.asarray(self.mean), np.asarray(self.std)
        if not self.shape:
            return mean[0], std[0]
        return mean.reshape(-1, *trailing), std.reshape(-1, *trailing)

    def encode(self, value: Any) -> np.ndarray:
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise DataError(f"the value {value!r} is not a number", expected="a number") from None
        if list(array.shape) != list(self.shape):
            raise DataError(f"the value has the shape {array.shape}", expected=f"the shape {tuple(self.shape)}")
        if not np.isfinite(array).all():
            raise DataError(
                "the value is missing (NaN)" if np.isnan(array).any() else "the value is infinite",
                expected="finite numbers",
            )
        mean, std = self._scale()
        return np.asarray((array - mean) / std, dtype=np.float32)

    def encode_all(self, values: Sequence[Any]) -> np.ndarray | None:
        if not isinstance(values, np.ndarray) or not np.issubdtype(values.dtype, np.number):
            return None
        if list(values.shape[1:]) != list(self.shape) or not np.isfinite(values).all():
            return None  # row by row, so that the bad row is named
        mean, std = self._scale()
        if not self.standardise:
            return np.ascontiguousarray(values, dtype=np.float32)
        return ((values - mean) / std).astype(np.float32)

    def decode(self, output: np.ndarray) -> Any:
        """Standardised output to natural units: a float, or an array of the field's shape."""
        mean, std = self._scale()
        natural = np.asarray(output, dtype=np.float64).reshape(self.shape) * std + mean
        return natural if self.shape else float(natural)

    def check(self, values: Sequence[Any]) -> list[Finding]:
        array = _numbers(values)
        if array.ndim != 1:
            return []
        findings = []
        if not np.isfinite(array).all():
            rows = np.flatnonzero(~np.isfinite(array)).tolist()
            findings.append(
                Finding(
                    "not-finite",
                    Severity.WARNING,
                    f"{len(rows)} of {len(array)} numbers are missing or infinite and are left out",
                    places=[f"row {r}" for r in rows],
                    rows=rows,
                    fix="fill them in or remove the rows",
                )
            )
        elif len(array) > 1 and np.ptp(array) == 0:
            findings.append(
                Finding(
                    "constant",
                    Severity.ERROR,
                    f"every number is {array[0]:g}",
                    fix="there is nothing to learn",
                )
            )
        return findings


def _numbers(values: Sequence[Any]) -> np.ndarray:
    """Raw values as float64 (N, …), NaN where one is missing, is no number, or has another shape than most."""
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        pass
    arrays: list[np.ndarray | None] = []
    for value in values:
        try:
            arrays.append(None if value is None else np.asarray(value, dtype=np.float64))
        except (TypeError, ValueError):
            arrays.append(None)  # named when the store is built
    shapes = Counter(a.shape for a in arrays if a is not None)
    if not shapes:
        return np.full(len(values), np.nan)
    shape = shapes.most_common(1)[0][0]
    blank = np.full(shape, np.nan)
    return np.stack([a if a is not None and a.shape == shape else blank for a in arrays])
