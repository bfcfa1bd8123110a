"""Columns of strings that take little memory: the same as a list of them, whatever part is taken."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from flambeau.data.sources.columns import from_polars
from flambeau.fields.strings import Names, Strings, Texts

TEXTS = [f"text {i}" if i % 7 else None for i in range(20_000)]
NAMES = [("red", "green", None)[i % 3] for i in range(20_000)]


@pytest.mark.parametrize(("values", "kind"), [(TEXTS, Texts), (NAMES, Names)])
def test_any_part_is_that_of_the_list(values: list[str | None], kind: type[Strings]) -> None:
    column = from_polars(pl.DataFrame({"column": values}), None).values["column"]
    assert isinstance(column, kind) and column == values and len(column) == len(values)
    rows = np.random.default_rng(0).permutation(len(values))[:9000]
    taken = column.take(rows)
    expected = [values[row] for row in rows]
    assert list(taken) == expected and taken[17] == expected[17] and taken[-1] == expected[-1]
    assert taken[3:40:5] == expected[3:40:5] and column[-5:] == values[-5:]
    assert taken.take(np.arange(10, 20))[2:4] == expected[12:14]
    with pytest.raises(IndexError):
        taken[len(expected)]


def test_taking_texts_copies_none_of_them() -> None:
    column = from_polars(pl.DataFrame({"column": TEXTS}), None).values["column"]
    assert isinstance(column, Texts)
    taken = column.take(np.arange(100)).take(np.arange(5))
    assert isinstance(taken, Texts) and taken.series is column.series


@pytest.mark.parametrize("odd", ["n/a", "unknown thing"])
def test_a_long_column_of_numbers_is_known_though_texts_stand_between(odd: str) -> None:
    values = [f"{i / 8}" if i % 20 else odd for i in range(200_000)]  # and each 20th value is such a text
    column = from_polars(pl.DataFrame({"column": values, "other": TEXTS * 10}), None)
    if odd == "n/a":
        numbers = np.asarray(column.values["column"])
        assert np.isnan(numbers[20]) and numbers[8] == 1.0 and int(np.isnan(numbers).sum()) == 10_000
    else:
        assert column.fields["column"].kind == "number" and column.values["column"][20] == odd
    assert isinstance(column.values["other"], Strings)
