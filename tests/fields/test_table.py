"""Rows of numbers, categories and dates as one value."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
import torch

from flambeau.core.errors import DataError, UsageError
from flambeau.fields import Category, Date, Image, Number, Rows, Table


def table(**columns: list) -> Table:
    made = Table()
    made.fit(Rows(columns))
    return made


def test_a_missing_number_is_the_mean_and_said_where_training_rows_miss_it() -> None:
    made = table(a=[1.0, None, 3.0, 5.0], b=[1.0, 2.0, 3.0, 4.0])
    assert made.gaps == ["a"]
    row = made.prepare(torch.from_numpy(np.stack([made.encode({"a": None, "b": None}), made.encode({"a": 3, "b": 2})])))
    assert row.numbers.shape == (2, 3) and made.input_shape == (3,)
    assert row.numbers[0].tolist() == [0.0, 0.0, 1.0]
    assert row.numbers[1, 2] == 0.0


def test_unknown_missing_and_rare_categories_are_code_0_and_known_ones_are_not() -> None:
    made = table(c=["x", "x", "y", "y", "rare", None], n=[1, 2, 3, 4, 5, 6])
    codes = [int(made.encode({"c": c, "n": 1})[1]) for c in ("x", "y", "rare", None, "never seen", float("nan"))]
    assert codes == [1, 2, 0, 0, 0, 0]
    assert made.input_shape == (1, 3)


def test_categories_that_the_user_gave_are_all_known() -> None:
    made = Table({"c": Category(["p", "q"])})
    made.fit(Rows({"c": ["q"] * 5}))
    assert [int(made.encode({"c": c})[0]) for c in "pq"] == [1, 2]


def test_rows_and_columns_are_encoded_alike_in_any_form_of_the_values() -> None:
    random = np.random.default_rng(0)
    numbers, whole = random.normal(size=50), random.integers(0, 4, 50)
    days = np.datetime64("2020-02-27", "us") + np.arange(50) * np.timedelta64(1, "D")
    made = Table({"n": Number(), "c": Category(), "d": Date(), "l": Number(transform="none")})
    rows = Rows({"n": numbers, "c": whole, "d": days, "l": [*numbers[:-1], "n/a"]})
    made.fit(rows)
    together = made.encode_all(rows)
    assert together is not None and together.dtype == np.float32
    as_lists = {"n": numbers.tolist(), "c": [str(w) for w in whole], "d": [str(d)[:10] for d in days],
                "l": rows.columns["l"]}  # fmt: skip
    for row, expected in enumerate(together):
        np.testing.assert_array_equal(made.encode(rows[row]), expected)
        np.testing.assert_allclose(made.encode(Rows(as_lists)[row]), expected, rtol=1e-6)


def test_statistics_come_from_the_rows_given_alone() -> None:
    made = table(n=[1.0, 2.0, 3.0])
    assert np.abs(made.encode({"n": 1e9})).max() < 6  # where the last quantile ends, however far out


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"age": 3.0}, "no column 'city'.*age, city"),
        ({"age": 3.0, "city": "a", "citty": "b"}, "'citty' that the model does not know.*did you mean 'city'"),
        ({"age": "old", "city": "a"}, "'age' has 'old'; expected a number"),
        ({"age": float("-inf"), "city": "a"}, "'age' has -inf"),
        ([1, 2], "a list is not a row"),
    ],
)
def test_a_row_that_does_not_fit_is_named(row: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        table(age=[1.0, 2.0], city=["a", "a"]).encode(row)


def test_bad_rows_among_many_are_named_one_by_one() -> None:
    made = table(age=[1.0, 2.0, 3.0], day=["2020-01-01", "2020-01-02", "2020-01-03"])
    rows = Rows({"age": [1, "x", None, 2], "day": ["2020-01-01", "2020-01-01", None, "2020-02-31"]})
    assert made.encode_all(rows) is None
    good, age, missing, day = made.encode_batch(rows)
    assert isinstance(good, np.ndarray) and isinstance(missing, np.ndarray)
    assert "'age' has 'x'" in str(age) and "'day' has '2020-02-31'" in str(day)


def test_what_a_row_is_encoded_to_does_not_depend_on_how_often_a_category_comes() -> None:
    few, many = table(c=["x", "x", "y", "y"]), table(c=["x", "x", "y", "y"])
    vars(many.columns["c"])["counts"] = [20, 2]
    assert few.to_dict() != many.to_dict() and few.identity == many.identity


def test_it_holds_no_pictures() -> None:
    with pytest.raises(UsageError, match="'p' is of the kind image"):
        Table({"p": Image()})


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["2024-02-29", "2023-12-31"], [datetime.date(2024, 2, 29), datetime.date(2023, 12, 31)]),
        (["31.12.2023", "1.2.2024"], [datetime.date(2023, 12, 31), datetime.date(2024, 2, 1)]),
        (["12/31/2023", "1/2/2024"], [datetime.date(2023, 12, 31), datetime.date(2024, 1, 2)]),
        (["2023-12-31T06:00:00", "2024-01-01T12:30:00"], None),
    ],
)
def test_dates_are_read_in_the_form_that_fits_all(texts: list[str], expected: list[datetime.date] | None) -> None:
    field = Date()
    assert Date.recognise(texts).score > 0.8
    field.fit(texts)
    days, bad = field.days(texts)
    assert not len(bad)
    if expected:
        assert days.tolist() == [(d - datetime.date(1970, 1, 1)).days for d in expected]
    else:
        assert days[0] % 1 == 0.25


def test_the_place_in_year_week_and_day_comes_back_after_a_cycle() -> None:
    field = Date()
    field.fit(["2020-01-01", "2020-01-08"])
    first, week_later = (field.encode(d)[3:5] for d in ("2020-01-01", "2020-01-08"))
    np.testing.assert_allclose(first, week_later, atol=1e-5)
