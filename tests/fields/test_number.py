"""Number: standardised for the model, in natural units for a person."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_wine

from flambeau.core.errors import DataError
from flambeau.fields import Number

WINE = load_wine().data


def fitted(values: Any, **settings: Any) -> Number:
    number = Number(**settings)
    number.fit(values)
    return number


def test_a_model_sees_mean_zero_and_deviation_one() -> None:
    for values in (WINE[:, 12], WINE):
        whole = fitted(values).encode_all(values)
        assert whole is not None and whole.dtype == np.float32
        np.testing.assert_allclose(whole.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(whole.std(0), 1, rtol=1e-5)


def test_channels_first_maps_share_the_statistics_of_their_channel() -> None:
    maps = np.random.default_rng(0).normal(5, 3, (50, 2, 4, 6))
    maps[:, 1] *= 10
    number = fitted(maps)
    assert len(number.mean) == 2 and number.input_shape == (2, 4, 6)
    whole = number.encode_all(maps)  # type: ignore[arg-type]
    assert whole is not None
    np.testing.assert_allclose(whole.mean((0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(number.decode(whole[3]), maps[3], rtol=1e-5)


def test_without_standardising_values_stay() -> None:
    number = fitted(WINE[:, 0], standardise=False)
    assert float(number.encode(WINE[3, 0])) == np.float32(WINE[3, 0])


def test_a_constant_column_does_not_divide_by_zero() -> None:
    number = fitted([7.0] * 10)
    assert float(number.encode(7.0)) == 0.0 and number.decode(np.asarray(0.0)) == 7.0


@pytest.mark.parametrize("bad", [None, float("nan"), float("inf"), "n/a", [1.0, 2.0], {}])
def test_bad_rows_do_not_stop_the_fit_and_are_named_one_by_one(bad: Any) -> None:
    values = [*load_diabetes().target.tolist(), bad]
    number = fitted(values)
    assert number.mean == pytest.approx([load_diabetes().target.mean()])
    with pytest.raises(DataError):
        number.encode(bad)
    findings = number.check(values)
    assert [(f.check, f.rows) for f in findings] == [("not-finite", [442])]


def test_a_column_without_one_number_is_fitted_and_every_row_refused(recwarn: pytest.WarningsRecorder) -> None:
    number = fitted([None, float("nan"), "x"])
    assert number.mean == [0.0] and number.std == [1.0] and not recwarn.list
    with pytest.raises(DataError, match=r"missing \(NaN\); expected finite numbers"):
        number.encode(None)


def test_encode_all_leaves_bad_rows_to_be_named() -> None:
    number = fitted(WINE[:, 0])
    broken = WINE[:, 0].copy()
    broken[5] = np.nan
    assert number.encode_all(broken) is None
    assert number.encode_all(WINE) is None, "another shape"
    assert number.encode_all(WINE[:, 0].tolist()) is None


def test_constant_numbers_are_an_error() -> None:
    assert [(f.check, str(f.severity)) for f in Number().check([3.0] * 5)] == [("constant", "error")]
