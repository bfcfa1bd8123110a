"""Number: one number, or an array of numbers of one fixed shape."""

from __future__ import annotations

import copy
import datetime
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from flambeau.core.errors import DataError, UsageError, shown
from flambeau.core.findings import Finding, Severity
from flambeau.fields.base import FIELDS, Encoding, Field, Recognition
from flambeau.fields.describing import spread
from flambeau.fields.numerals import PLAIN, Numerals, as_numbers, find, hours
from flambeau.robustness import Corruption
from flambeau.robustness.numbers import NUMBERS, spread_of

TRANSFORMS = ("auto", "none", "log", "quantile")
MOST_QUANTILES = 1000
MOST_SIGNALS = 100  # of an array of numbers
SAMPLE = 1000  # texts, to find out how numbers are written


@FIELDS.register("number")
class Number(Field):
    """A number, or an array of numbers of one shape. Encoded as float32, standardised.

    Args:
        standardise: subtract the training rows' mean and divide by their standard deviation (over all
            axes but the first of a value of two or more axes, such as channels-first maps; per element for
            vectors). The model sees mean 0 and deviation 1; `decode` gives natural units.
        transform: what is done before: `none`; `log`, for numbers above 0 that differ by factors, such as prices;
            `quantile`, each number to where it stands among the training rows, as a normal distribution would have it,
            which outliers cannot stretch; or `auto`: `quantile` for a column of a table, else `none`.
        written: how numbers that are texts are written: `en` (1,234.50) or `de` (1.234,50), either with a unit behind a
            colon (`de:€`); `time` for durations such as 12:30:00, which are read as hours; `auto` to find out.
    """

    task = "number"
    measures = True
    in_table = "beside"
    time_format = "number"
    noun = "finite number"
    settings = ("standardise", "transform", "written")
    fitted = ("shape", "mean", "std", "quantiles", "read_as")

    def __init__(self, standardise: bool = True, transform: str = "auto", written: str = "auto"):
        if transform not in TRANSFORMS:
            raise UsageError(f"no transform of numbers is called '{transform}'", expected=", ".join(TRANSFORMS))
        self.standardise, self.transform, self.written = standardise, transform, written
        self.read_as: str | None = None if written == "auto" else str(Numerals.parse(written))
        """How texts are written, once that is known."""
        self.shape: list[int] = []
        self.mean: list[float] = [0.0]
        self.std: list[float] = [1.0]
        self.quantiles: list[float] = []

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

    @property
    def numerals(self) -> Numerals:
        """How numbers that are texts are written."""
        return Numerals.parse(self.read_as or "")

    def written_as(self, numerals: Numerals) -> Number:
        """A copy of it whose texts are written so."""
        field = copy.copy(self)
        field.written, field.read_as = str(numerals) or "en", str(numerals)
        return field

    def numerals_of(self, values: Sequence[Any]) -> Numerals:
        """The same, found from values where it is not known yet."""
        if self.read_as is None and not isinstance(values, np.ndarray):
            texts = [v for v in values if isinstance(v, str)][:SAMPLE]
            if texts:
                import polars as pl

                found = find(pl.Series(texts, dtype=pl.String))
                self.read_as = str(found[0]) if found else ""
        return self.numerals

    @classmethod
    def from_reading(cls, text: str) -> Number:
        return cls(written=text or "auto")

    @property
    def reading(self) -> str:
        return f"{self.kind}:{self.read_as}" if self.read_as else self.kind

    @property
    def reading_words(self) -> str:
        return self.numerals.words()

    def read_text(self, text: str) -> Any:
        return self.numerals.number(text)

    def fit(self, values: Sequence[Any]) -> None:
        self.numerals_of(values)
        array = _numbers(values, self.numerals)
        self.shape = list(array.shape[1:])
        if self.transform == "quantile":
            self._fit_quantiles(array)
        array = self.transformed(array)
        if self.standardise and len(array):
            axes = (0, *range(2, array.ndim))
            finite = np.where(np.isfinite(array), array, np.nan)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # a column without one finite value: mean 0
                mean, std = np.nanmean(finite, axis=axes), np.nanstd(finite, axis=axes)
            self.mean = np.atleast_1d(np.nan_to_num(mean)).tolist()
            self.std = np.where(np.nan_to_num(std) > 0, std, 1.0).reshape(-1).tolist()

    def _fit_quantiles(self, array: np.ndarray) -> None:
        if array.ndim != 1:
            raise UsageError(f"quantiles are for single numbers, and values have the shape {array.shape[1:]}")
        finite = array[np.isfinite(array)]
        count = min(MOST_QUANTILES, max(len(finite), 2))
        self.quantiles = np.quantile(finite, np.linspace(0, 1, count)).tolist() if len(finite) else [0.0, 1.0]

    def transformed(self, array: np.ndarray) -> np.ndarray:
        """Natural numbers, float64, after `transform` and before they are standardised; what it cannot take is NaN."""
        if self.transform == "log":
            return np.log(np.where(array > 0, array, np.nan).astype(np.float64))
        if self.transform == "quantile":
            return _to_normal(np.asarray(array, np.float64), np.asarray(self.quantiles))
        return array

    def signals(self, name: str, value: Any, encoded: np.ndarray | None) -> dict[str, float | str | None]:
        array = np.asarray(value) if encoded is None else self.natural(np.asarray(encoded, np.float64))
        if array.ndim == 0:
            return {name: float(array)}
        return {f"{name}[{i}]": float(number) for i, number in enumerate(array.reshape(-1)[:MOST_SIGNALS])}

    scored_by = "mae"

    def score(self, answer: Any, truth: Any) -> float:
        numbers, _ = as_numbers([truth], self.numerals)
        return float(np.abs(np.asarray(answer, np.float64) - (truth if np.ndim(truth) else numbers[0])).mean())

    def natural(self, standard: np.ndarray) -> np.ndarray:
        """Encoded numbers, float64 (…, *shape), in natural units."""
        mean, std = self._scale()
        array = standard * std + mean
        if self.transform == "log":
            return np.exp(np.minimum(array, 700.0))  # beyond it is infinite
        return _from_normal(array, np.asarray(self.quantiles)) if self.transform == "quantile" else array

    def standard(self, array: np.ndarray) -> np.ndarray:
        """The inverse of `natural`, as float32; NaN where there is nothing to encode."""
        if self.transform not in ("log", "quantile") and not self.standardise:
            return np.asarray(array, dtype=np.float32, order="C")
        mean, std = self._scale()
        return np.asarray((self.transformed(array) - mean) / std, dtype=np.float32)

    def numbered(self, values: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
        return as_numbers(values)

    def corruptions(self, values: Sequence[Any]) -> dict[str, Corruption]:
        spread = spread_of(_numbers(values, self.numerals))
        found = NUMBERS.within(lambda raw: _numbers([raw], self.numerals)[0] / spread, lambda raw, x: x * spread)
        refused = {"missing"} | ({"noise"} if self.transform == "log" else set())  # of numbers alone
        return {name: one for name, one in found.items() if name not in refused}

    def may_name_rows(self, numbers: np.ndarray) -> bool:
        # a measurement may well be different in each row
        return bool((numbers == np.round(numbers)).all()) and np.ptp(numbers) <= 3 * len(numbers)

    def example(self) -> Any:
        """The mean of the training rows, to four figures."""
        return np.vectorize(lambda number: float(f"{number:.4g}"))(self.decode(np.zeros(self.shape))).tolist()

    def asks(self, column: str) -> list[dict[str, Any]]:
        return [{"name": column, "kind": "json" if self.shape else "number", "choices": []}]

    @property
    def answer_shape(self) -> tuple[int, ...]:
        return tuple(self.shape)

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
            array = np.asarray(_as_number(value, self.numerals), dtype=np.float64)
        except (TypeError, ValueError):
            raise DataError(
                f"the value {shown(value)} is not a number", expected=f"a number {self.numerals.words()}".strip()
            ) from None
        if list(array.shape) != list(self.shape):
            raise DataError(f"the value has the shape {array.shape}", expected=f"the shape {tuple(self.shape)}")
        if not np.isfinite(array).all():
            raise DataError(
                "the value is missing (NaN)" if np.isnan(array).any() else "the value is infinite",
                expected="finite numbers",
            )
        if self.transform == "log" and not (array > 0).all():
            raise DataError(f"the value {shown(value)} has no logarithm", expected="numbers above 0")
        return self.standard(array)

    def encode_all(self, values: Sequence[Any]) -> np.ndarray | None:
        if not isinstance(values, np.ndarray) or not np.issubdtype(values.dtype, np.number):
            return None
        if list(values.shape[1:]) != list(self.shape) or not np.isfinite(values).all():
            return None  # row by row, so that the bad row is named
        if self.transform == "log" and not (values > 0).all():
            return None
        return self.standard(values)

    def decode(self, output: np.ndarray) -> Any:
        """Standardised output to natural units: a float, or an array of the field's shape."""
        natural = self.natural(np.asarray(output, dtype=np.float64).reshape(self.shape))
        return natural if self.shape else float(natural)

    def rescaling(self, other: Field) -> Callable[[torch.Tensor], torch.Tensor] | None:
        if (same := super().rescaling(other)) or not isinstance(other, Number) or other.shape != self.shape:
            return same

        def rescaled(answers: torch.Tensor) -> torch.Tensor:
            natural = other.natural(answers.detach().double().cpu().numpy().reshape(-1, *self.shape))
            return torch.from_numpy(self.standard(natural)).view(answers.shape).to(answers.device)

        return rescaled

    def describe(self, values: Sequence[Any]) -> dict[str, Any]:
        array = _numbers(values, self.numerals)
        return spread(array) if array.ndim == 1 else {}

    def check(self, values: Sequence[Any]) -> list[Finding]:
        array = _numbers(values, self.numerals)
        if array.ndim != 1:
            return []
        if not np.isfinite(array).all():
            rows = np.flatnonzero(~np.isfinite(array)).tolist()
            message = f"{len(rows)} of {len(array)} numbers are missing or infinite and are left out"
            places, fix = [f"row {r}" for r in rows], "fill them in or remove the rows"
            return [Finding("not-finite", Severity.WARNING, message, places=places, rows=rows, fix=fix)]
        if len(array) > 1 and np.ptp(array) == 0:
            message = f"every number is {array[0]:g}"
            return [Finding("constant", Severity.ERROR, message, fix="there is nothing to learn")]
        return []


def _to_normal(array: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """Where numbers stand among quantiles, as quantiles of the standard normal distribution."""
    shares = np.linspace(0, 1, len(quantiles))
    # of equal quantiles the middle one counts: the mean of the first and the last
    below = np.interp(array, quantiles, shares)
    above = -np.interp(-array, -quantiles[::-1], -shares[::-1])
    share = np.clip((below + above) / 2, 1e-7, 1 - 1e-7)
    return torch.special.ndtri(torch.as_tensor(share)).numpy()


def _from_normal(array: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    share = torch.special.ndtr(torch.as_tensor(array)).numpy()
    return np.interp(share, np.linspace(0, 1, len(quantiles)), quantiles)


def _as_number(value: Any, numerals: Numerals) -> Any:
    if isinstance(value, str):
        return numerals.number(value)
    return hours(value) if isinstance(value, (datetime.timedelta, datetime.time)) else value


def _numbers(values: Sequence[Any], numerals: Numerals) -> np.ndarray:
    """Raw values as float64 (N, …), NaN where one is missing, is no number, or has another shape than most."""
    if numerals == PLAIN or isinstance(values, np.ndarray):
        try:
            return np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            pass
    arrays: list[np.ndarray | None] = []
    for value in values:
        try:
            arrays.append(None if value is None else np.asarray(_as_number(value, numerals), dtype=np.float64))
        except (TypeError, ValueError):
            arrays.append(None)  # named when the store is built
    shapes = Counter(a.shape for a in arrays if a is not None)
    if not shapes:
        return np.full(len(values), np.nan)
    shape = shapes.most_common(1)[0][0]
    blank = np.full(shape, np.nan)
    return np.stack([a if a is not None and a.shape == shape else blank for a in arrays])
