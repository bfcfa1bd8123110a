"""Frames of pandas become polars frames without pyarrow."""

from __future__ import annotations

import datetime
import sys

import numpy as np
import pandas as pd
import pytest

import flambeau as fb
from flambeau.core.errors import DataError
from flambeau.data.sources.frames import as_polars

DAYS = pd.to_datetime(["2024-01-01", None, "2024-07-01"])


@pytest.fixture(autouse=True)
def no_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where Flambeau alone is installed."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (np.array([1.5, np.nan, 2.0]), [1.5, None, 2.0]),
        (np.array([1, 2, 2**63 + 5], np.uint64), [1, 2, 2**63 + 5]),
        (pd.array([1, None, 3], dtype="Int64"), [1, None, 3]),
        (pd.array([True, None, False], dtype="boolean"), [True, None, False]),
        (np.array([True, False, True]), [True, False, True]),
        (["x", None, "z"], ["x", None, "z"]),
        (pd.Series(["x", np.nan, "z"], dtype=object), ["x", None, "z"]),
        (pd.Categorical(["u", "v", None]), ["u", "v", None]),
        (pd.Categorical([7, 8, 7]), [7, 8, 7]),
        (DAYS, [datetime.datetime(2024, 1, 1), None, datetime.datetime(2024, 7, 1)]),
        (pd.to_timedelta([1, None, 3], unit="h"), [datetime.timedelta(hours=1), None, datetime.timedelta(hours=3)]),
        (pd.period_range("2024-01", periods=3, freq="M"), ["2024-01", "2024-02", "2024-03"]),
        (pd.cut([1, 2, 3], [0, 2, 4]), ["(0, 2]", "(0, 2]", "(2, 4]"]),
        (pd.Series([[1, 2], [3], [4]]), [[1, 2], [3], [4]]),
        (DAYS.tz_localize("+02:00"), ["2024-01-01T00:00:00+02:00", None, "2024-07-01T00:00:00+02:00"]),
    ],
    ids=str,
)
def test_values_stay_what_they_are(column: object, expected: list[object]) -> None:
    assert as_polars(pd.DataFrame({"c": column}))["c"].to_list() == expected


def test_a_zone_stays() -> None:
    (summer,) = as_polars(pd.DataFrame({"c": DAYS[2:].tz_localize("Europe/Paris")}))["c"].to_list()
    assert summer.isoformat() == "2024-07-01T00:00:00+02:00"


def test_names_become_texts_and_a_series_a_frame() -> None:
    assert as_polars(pd.DataFrame({0: [1], 1: [2]})).columns == ["0", "1"]
    assert as_polars(pd.Series([1.0], name="v")).columns == ["v"]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pd.DataFrame({"mixed": pd.Series([1, "b"], dtype=object)}), "the column 'mixed' cannot be read"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns are called 'a'"),
        (pd.DataFrame([[1, 2]], columns=[1, "1"]), "two columns are called '1'"),
    ],
    ids=["mixed", "twice", "twice as text"],
)
def test_what_is_wrong_is_named(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(DataError, match=message):
        as_polars(frame)


def test_bytes_that_are_words_are_names() -> None:
    frame = pd.DataFrame({"animal": [b"cat", b"dog"] * 20, "label": ["a", "b"] * 20})
    data = fb.Dataset.from_frame(frame, target="label")
    assert data.fields["animal"].kind == "category" and data.columns["animal"][0] == "cat"
