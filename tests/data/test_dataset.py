"""A Dataset holds its columns together and says what does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flambeau.core.errors import DataError, UsageError
from flambeau.data.dataset import Dataset
from flambeau.fields import Category, Number

X = [i + 0.5 for i in range(20)]
Y = ["a", "b"] * 10


def test_take_gives_raw_values_of_lists_and_arrays() -> None:
    data = Dataset({"x": np.asarray(X), "y": Y}, target="y")  # type: ignore[dict-item]
    assert data.take("x", [3, 1]).tolist() == [3.5, 1.5]  # type: ignore[attr-defined]
    assert data.take("y", np.asarray([0, 1, 3])) == ["a", "b", "b"]


def test_fields_set_by_hand_win_and_the_rest_is_recognised() -> None:
    data = Dataset({"x": [1, 2] * 10, "z": X, "y": Y}, target="y", fields={"x": Number()})
    assert [data.fields[c].kind for c in ("x", "z", "y")] == ["number", "number", "category"]
    assert "z" in data.reasons and "x" not in data.reasons
    assert (
        data.describe() == "20 rows (16 train, 4 validate and choose the epoch): x (number) + z (number) → y (category)"
    )


def test_fields_are_fitted_on_training_rows_alone() -> None:
    values = [0.25] * 10 + [1000.5] * 10
    names = ["a", "b"] * 5 + ["c", "d"] * 5
    data = Dataset({"x": values, "y": names}, target="y", split=["train"] * 10 + ["valid"] * 10)
    data.fit()
    assert data.fields["x"].mean == [0.25]  # type: ignore[attr-defined]
    assert data.fields["y"].classes == ["a", "b"]  # type: ignore[attr-defined]


def test_columns_that_are_not_inputs_are_kept_and_not_learned_from() -> None:
    data = Dataset({"x": X, "id": [object()] * 20, "y": Y}, target="y", inputs=["x"])
    assert set(data.fields) == {"x", "y"} and "id" in data.columns


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dataset({}), "the dataset has no columns"),
        (lambda: Dataset({"x": []}), "the dataset has no rows"),
        (lambda: Dataset({"x": X, "y": Y[:3]}), "different lengths"),
        (lambda: Dataset({"x": X, "label": Y}, target="lable"), "no column 'lable'; did you mean 'label'"),
        (lambda: Dataset({"x": X, "y": Y}, inputs=["z"]), "no column 'z'"),
        (lambda: Dataset({"x": X, "y": Y}, fields={"w": Category()}), "given for 'w'"),
        (lambda: Dataset({"x": [object()] * 3}), "column 'x': no kind of field suits values such as a object"),
        (lambda: Dataset({"x": X, "y": Y}, target="y", split=["valid"] * 20).fit(), "no row is left to train on"),
    ],
)
def test_mistakes_are_told(make: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make()


def test_columns_of_mixed_values_are_recognised_without_a_crash() -> None:
    for values in ([1, "two", 3] * 7, ["a", ["b"]] * 10, [None, 1.5] * 10, [[1, 2], [3]] * 10, [b"a", 1] * 10):
        try:
            data = Dataset(
                {"x": X[: len(values)] if len(values) <= 20 else [0.5] * len(values), "y": values}, target="y"
            )
        except DataError as error:
            assert "no kind of field suits" in str(error)
        else:
            assert data.fields["y"].kind


def test_why_a_column_is_of_its_kind_is_said_of_all_rows_or_of_how_many() -> None:
    """The last classes are in rows that the sample does not have."""
    names = [*["a", "b"] * 1500, "c", "d"]
    data = Dataset({"x": [float(i) for i in range(3002)], "y": names}, target="y")
    assert data.reasons["y"] == "category: 4 distinct names"
    assert data.reasons["x"] == "number: values are numbers (1,000 of 3,002 rows looked at)"


@pytest.mark.parametrize(
    ("read", "option", "message"),
    [
        (Dataset.from_table, "label", r"from_table has no option 'label'; did you mean 'target'\?"),
        (Dataset.from_folder, "val_split", r"from_folder has no option 'val_split'; give split=fb.Split\(valid=…\)"),
        (Dataset.from_frame, "targt", r"from_frame has no option 'targt'; did you mean 'target'\?"),
        (Dataset.from_arrays, "zzz", r"from_arrays has no option 'zzz'; known: "),
    ],
)
def test_options_that_do_not_exist_are_answered(read: Any, option: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read("nowhere", **{option: 1})
