"""Columns that take little memory: the same as a list of their values, whatever part is taken."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from flambeau.data.sources.columns import from_polars
from flambeau.fields.columns import Column, Names, Rows, Strings, Texts, Views, counts_of, mapped, taken

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


STORED = {
    "names": Names(np.array([1, 0, 1, 2], np.int32), ["no", "yes", None]),
    "texts": Texts(pl.Series(["a", "b", None, "c"])),
    "views": Views(np.arange(10.0), np.array([0, 5, 2, 7]), 3),
    "rows": Rows({"a": [1, 2, 3, 4], "b": np.arange(4), "c": Names(np.array([0, 1, 0, 0], np.int32), ["x", "y"])}),
    "list": ["a", "b", None, "a"],
    "array": np.array([3, 1, 3, 2]),
}


@pytest.mark.parametrize("storage", STORED)
def test_each_storage_is_taken_alike(storage: str) -> None:
    values = STORED[storage]
    rows, listed = [3, 0, 0], [repr(value) for value in values]
    part = taken(values, rows)
    assert type(part) is type(values) and [repr(value) for value in part] == [listed[row] for row in rows]
    assert [repr(value) for value in taken(part, [2, 0])] == [listed[0], listed[3]]
    assert [repr(value) for value in values[1:3]] == listed[1:3] and repr(values[-1]) == listed[-1]
    if storage in ("views", "rows"):
        return
    plain = list(values)
    assert dict(counts_of(values)) == {value: plain.count(value) for value in plain}
    assert mapped(values, lambda value: -1 if value is None else plain.index(value)).tolist() == [
        -1 if value is None else plain.index(value) for value in plain
    ]
    assert not isinstance(values, Column) or values.distinct == (storage == "texts")


def test_what_cannot_be_counted_has_a_number_of_its_own() -> None:
    assert counts_of([[1], "a", [1]]) == [("a", 1)] and mapped([[1, 2], "a", [1]], len).tolist() == [2, 1, 1]


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
