"""Tables as they come: gaps, texts between numbers, equal names, dates, and what of it is one input."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest

import flambeau as fb
from flambeau.core.errors import DataError
from flambeau.data.grouping import PRESENT, grouped
from flambeau.data.store.encode import encode
from flambeau.fields import Table


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    rows = []
    for i in range(60):
        age = {3: "n/a", 4: "", 7: "inf", 9: "twelve"}.get(i, str(20 + i))
        day = "2020-13-45" if i == 5 else str(datetime.date(2020, 1, 1) + datetime.timedelta(days=i))
        rows.append(f"{age},,{day},{'ab'[i % 2]},{'xy'[i % 2]},{'true' if i % 3 else 'false'},{'pq'[i % 2]}")
    return write(tmp_path / "messy.csv", "age,empty,day,city,city,smokes,y", *rows)


def test_each_flaw_is_told_in_one_line_and_the_rest_is_used(messy: Path) -> None:
    data = fb.Dataset.from_table(messy, target="y")
    kinds = {name: field.kind for name, field in data.fields.items()}
    assert kinds == {"age": "number", "day": "date", "city": "category", "city_duplicated_0": "category",
                     "smokes": "category", "y": "category"}  # fmt: skip
    told = {finding.check: finding for finding in data.findings}
    assert told["empty-column"].places == ["empty"]
    assert "'city'" in told["same-name"].message
    assert told["read-as-missing"].rows == [3] and "'n/a'" in told["read-as-missing"].message
    checked = {finding.check: finding for finding in data.check()}
    assert checked["not-a-number"].rows == [7, 9] and checked["not-a-date"].rows == [5]
    learner = fb.Learner(data, model="linear", run=False, quiet=True, epochs=1)
    learner.fit(check=False)
    left_out = {f.message: f.rows for f in learner.findings if f.check == "left-out"}
    assert sorted(row for rows in left_out.values() for row in rows) == [5, 7, 9]
    assert any("'age' has 'twelve'; expected a number" in message for message in left_out)


def test_a_target_that_is_not_called_so_is_asked_for(tmp_path: Path) -> None:
    """Many kinds of labels might as well be left out; only what has a place in another column says by itself that it is
    the target (see tests/journeys/test_boxes.py)."""
    rows = [f"{i},{'drama;crime' if i % 2 else 'crime'}" for i in range(40)]
    with pytest.raises(DataError, match=r"no column of .* looks like the target"):
        fb.Dataset.from_table(write(tmp_path / "films.csv", "length,genres", *rows))


def test_the_target_may_not_be_its_own_input(messy: Path) -> None:
    with pytest.raises(DataError, match="'y' is among its own inputs"):
        fb.Dataset.from_table(messy, target="y", inputs=["age", "y"])


def test_an_empty_column_that_was_asked_for_is_an_error(messy: Path) -> None:
    with pytest.raises(DataError, match="'empty' has no value in any row"):
        fb.Dataset.from_table(messy, target="y", inputs=["age", "empty"])


def test_a_frame_with_two_columns_of_one_name_is_refused() -> None:
    import pandas as pd

    frame = pd.DataFrame([[1, 2, "a"], [3, 4, "b"]], columns=["x", "x", "y"])
    with pytest.raises(DataError, match="two columns are called 'x'"):
        fb.Dataset.from_frame(frame, target="y")


def test_few_whole_numbers_are_numbers_as_inputs_and_classes_as_targets() -> None:
    data = fb.Dataset({"rooms": [1, 2, 3] * 10, "y": [0, 1, 0] * 10}, target="y")
    assert (data.fields["rooms"].kind, data.fields["y"].kind) == ("number", "category")


def test_tabular_inputs_become_one_column_and_one_array(messy: Path) -> None:
    data = grouped(fb.Dataset.from_table(messy, target="y"))
    assert data.inputs == ["table"] and isinstance(data.fields["table"], Table)
    data.fit()
    store = encode(data)
    assert set(store.columns) == {"table", "y"}
    values = store.columns["table"].values  # type: ignore[attr-defined]
    assert values.shape == (60, 1 + 7 + 3)  # age; the parts of a date; three categories


def test_one_vector_stays_as_it_is() -> None:
    data = fb.Dataset.from_arrays(np.zeros((9, 4)), np.arange(9) % 2)
    assert grouped(data) is data


def test_nothing_of_held_out_rows_is_in_any_statistic() -> None:
    """A column whose held-out values are planted: the fitted state must not move with them."""
    states = []
    for planted in (0.0, 1e6):
        x = [float(i) if i % 5 else planted for i in range(100)]
        c = ["a" if i % 5 else f"new {planted}" for i in range(100)]
        sides = ["train" if i % 5 else "valid" for i in range(100)]
        data = grouped(fb.Dataset({"x": x, "c": c, "y": ["p", "q"] * 50}, target="y", split=sides))
        data.fit()
        states.append(data.fields["table"].to_dict())
    assert states[0] == states[1]


def test_a_gap_in_one_of_several_inputs_is_an_input_of_its_own() -> None:
    texts = [f"some words number {i}" if i % 3 else None for i in range(30)]
    data = grouped(fb.Dataset({"t": texts, "n": [float(i) for i in range(30)], "y": ["p", "q"] * 15}, target="y"))
    assert data.inputs == ["table", "t", PRESENT]
    data.fit()
    store = encode(data)
    assert len(store.good) == 30
    there = store.columns[PRESENT].values  # type: ignore[attr-defined]
    assert there[:, 0].tolist() == [float(bool(i % 3)) for i in range(30)]
