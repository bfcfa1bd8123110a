"""What a cell says is kept: codes stay codes, numbers are read as people write them, and how is said and can be set."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import flambeau as fb
from flambeau.core.errors import DataError, UsageError
from flambeau.data.sources.opening import from_source


def table(path: Path, header: str, *rows: str, **options: Any) -> fb.Dataset:
    """A CSV of some rows over and over, 120 in all, with their number before."""
    lines = [f"{i},{rows[i % len(rows)]}" for i in range(120)]
    (path / "t.csv").write_text("\n".join([f"x,{header}", *lines]))
    return fb.Dataset.from_table(path / "t.csv", **{"target": header.split(",")[-1], **options})


def messages(data: fb.Dataset) -> str:
    return "\n".join(str(finding) for finding in data.findings)


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["007", "012", "100"], ["007", "012", "100"]),
        (["01", "1", "2"], ["01", "1", "2"]),
        (["true", "false"], ["false", "true"]),
        (["1.1", "1.10", "1.2"], ["1.1", "1.10", "1.2"]),
        (["1.0", "2.0", "3.0"], ["1.0", "2.0", "3.0"]),
        (["1", "2", "N/A", "3"], ["1", "2", "3"]),
        (["+1", "-1"], ["-1", "+1"]),
        (["New York", "Los Angeles", "New Orleans"], ["Los Angeles", "New Orleans", "New York"]),
        (["very good", "good", "bad", "very bad"], ["bad", "good", "very bad", "very good"]),
        (["Smith, John", "Smith, Ann"], ["Smith, Ann", "Smith, John"]),
    ],
)
def test_classes_are_called_as_the_file_calls_them(tmp_path: Path, names: list[str], classes: list[str]) -> None:
    data = table(tmp_path, "label", *(f'"{name}"' for name in names))
    data.fit()
    assert data.fields["label"].kind == "category" and data.fields["label"].classes == classes  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("texts", "numbers", "form"),
    [
        (["1,234", "2,500"], [1234, 2500], "number"),
        (["1.234,50", "2,5"], [1234.5, 2.5], "number:de"),
        (["€ 1.234,50", "€ 20,00"], [1234.5, 20], "number:de:€"),
        (["$1,234.00", "($5.20)", "-$3"], [1234, -5.2, -3], "number:en:$"),
        (["12 %", "5%"], [12, 5], "number:en:%"),
        (["12 kg", "5.5 kg"], [12, 5.5], "number:en:kg"),
        (["1\u202f234,5", "2,5"], [1234.5, 2.5], "number:de"),
        (["1'234.50", "3.2"], [1234.5, 3.2], "number"),
        (["1,00,000", "50,000"], [100_000, 50_000], "number"),
        (["1.2e3", "−5"], [1200, -5], "number"),
        (["1.234.567", "2.000"], [1_234_567, 2000], "number:de"),
        (["12:30:00", "1:15:00"], [12.5, 1.25], "number:time"),
        (["¥1,000", "¥20,500"], [1000, 20500], "number:en:¥"),
        (["1.000 €", "20.500 €"], [1000, 20500], "number:de:€"),
        (["$(1,250.00)", "$3.50"], [-1250, 3.5], "number:en:$"),
        (["Rs. 1,250.50", "Rs. 20"], [1250.5, 20], "number:en:Rs."),
        (["1.234,50 kr.", "20,00 kr."], [1234.5, 20], "number:de:kr."),
        (["CHF 5.–", "CHF 7.50"], [5, 7.5], "number:en:CHF"),
        (["12.5-", "3.0"], [-12.5, 3], "number"),
        (["１，２３４", "５"], [1234, 5], "number"),
    ],
)
def test_numbers_are_read_as_people_write_them(
    tmp_path: Path, texts: list[str], numbers: list[float], form: str
) -> None:
    data = table(tmp_path, "size,label", *(f'"{text}",{"ab"[i % 2]}' for i, text in enumerate(texts)))
    assert np.asarray(data.columns["size"], float)[: len(texts)].tolist() == numbers
    (reading,) = [column for column in data.readings() if column["column"] == "size"]
    assert reading["form"] == form and reading["value"] == pytest.approx(
        numbers[next(i for i, text in enumerate(texts) if text == reading["example"])]
    )
    assert form == "number" or "'size'" in messages(data)


@pytest.mark.parametrize("missing", ["\\N", "#DIV/0!", "n.a.", "--", ".", "k.A.", "(null)"])
def test_what_stands_for_a_missing_number_is_no_name(tmp_path: Path, missing: str) -> None:
    data = table(tmp_path, "price,label", "1.5,a", "2.5,b", f"{missing},a")
    assert data.fields["price"].kind == "number" and "stand for a missing number" in messages(data)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (
            [f"{i / 8}" if i % 2 else "sold out" for i in range(60)],
            "30 of 60 values, such as 'sold out', are no numbers",
        ),
        ([f"{i}.5{'kM'[i % 2]}" for i in range(60)], "are not all written alike"),
    ],
)
def test_numbers_that_are_read_as_names_are_told(tmp_path: Path, texts: list[str], said: str) -> None:
    rows = "".join(f"{text},{'ab'[i % 2]}\n" for i, text in enumerate(texts))
    (tmp_path / "t.csv").write_text(f"size,label\n{rows}")
    assert said in messages(fb.Dataset.from_table(tmp_path / "t.csv", target="label"))


@pytest.mark.parametrize("texts", [["A12", "B5"], ["v1", "v2"], ["3 kg", "300 g"], ["1.1.2", "1.2.0"], ["1st", "2nd"]])
def test_names_with_digits_are_no_numbers(tmp_path: Path, texts: list[str]) -> None:
    data = table(tmp_path, "size,label", *(f"{text},{'ab'[i % 2]}" for i, text in enumerate(texts)))
    assert data.fields["size"].kind == "category"


def test_codes_stay_names_unless_they_are_asked_to_be_numbers(tmp_path: Path) -> None:
    rows = ("007,a", "012,b", "100,a")
    data = table(tmp_path, "code,label", *rows)
    assert data.fields["code"].kind == "category" and data.columns["code"][0] == "007"
    assert "--read code=number" in messages(data)
    asked = table(tmp_path, "code,label", *rows, read={"code": "number"})
    assert asked.fields["code"].kind == "number" and asked.columns["code"][0] == 7
    plain = table(tmp_path, "code,label", "7,a", "12,b", read={"code": "text"})
    assert plain.fields["code"].kind == "category" and plain.columns["code"][0] == "7"
    again = from_source(plain.source)
    assert again.fields["code"].kind == "category" and again.columns["code"][1] == "12"


def test_versions_are_names_as_an_input_too(tmp_path: Path) -> None:
    data = table(tmp_path, "version,label", "1.1,a", "1.10,b", "1.2,a")
    assert data.fields["version"].kind == "category" and "'1.1' and '1.10' are written differently" in messages(data)
    assert table(tmp_path, "size,label", "1,a", "1.0,b", "2,a").fields["size"].kind == "number"


def test_a_clear_column_decides_for_one_that_is_not(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a;b;label\n" + "1.234;0,5;x\n2.345;1,5;y\n" * 40)
    data = fb.Dataset.from_table(tmp_path / "t.csv")
    assert list(data.columns["a"][:2]) == [1234, 2345] and "--read a=number:en" in messages(data)
    (tmp_path / "t.csv").write_text("a;b;label\n" + "1.234;0.5;x\n2.345;1.5;y\n" * 40)
    assert list(fb.Dataset.from_table(tmp_path / "t.csv").columns["a"][:2]) == [1.234, 2.345]
    (tmp_path / "t.csv").write_text("a;label\n" + "1,234;x\n2,345;y\n" * 40)
    unsure = fb.Dataset.from_table(tmp_path / "t.csv")
    assert list(unsure.columns["a"][:2]) == [1.234, 2.345] and "--read a=number:en" in messages(unsure)
    asked = fb.Dataset.from_table(tmp_path / "t.csv", read={"a": "number:en"})
    assert list(asked.columns["a"][:2]) == [1234, 2345]


def test_a_target_of_numbers_with_a_few_gaps_is_a_number(tmp_path: Path) -> None:
    rows = [f"{i},{'N/A' if i % 20 == 0 else 1000 + i * 37.5}" for i in range(200)]
    (tmp_path / "t.csv").write_text("\n".join(["x,price", *rows]))
    data = fb.Dataset.from_table(tmp_path / "t.csv", target="price")
    assert data.fields["price"].kind == "number" and data.columns["price"][:2] == [None, 1037.5]
    assert "10 values of the column 'price' such as 'N/A'" in messages(data)


def test_what_reads_a_column_is_told_where_it_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no kind of field is called 'numbr'; did you mean 'number'"):
        table(tmp_path, "a,label", "1,x", read={"a": "numbr"})
    with pytest.raises(DataError, match="there is no column 'aa' to read; did you mean 'a'"):
        table(tmp_path, "a,label", "1,x", read={"aa": "number"})
    with pytest.raises(UsageError, match="both read and fields"):
        table(tmp_path, "a,label", "1,x", read={"a": "number"}, fields={"a": fb.fields.Number()})


def test_dates_in_a_form_of_ones_own(tmp_path: Path) -> None:
    data = table(tmp_path, "when,label", "03/04/24,a", "05/06/24,b", read={"when": "date:%m/%d/%y"})
    (reading,) = [column for column in data.readings() if column["column"] == "when"]
    assert reading["value"] == "2024-03-04T00:00:00" and reading["form"] == "date:%m/%d/%y"


def test_durations_and_times_of_the_day_are_hours() -> None:
    frame = pl.DataFrame({
        "took": [dt.timedelta(hours=i, minutes=30) for i in range(60)], "at": [dt.time(i % 24, 15) for i in range(60)],
        "label": ["a", "b"] * 30,
    })  # fmt: skip
    data = fb.Dataset.from_frame(frame, target="label")
    assert list(data.columns["took"][:2]) == [0.5, 1.5] and list(data.columns["at"][:2]) == [0.25, 1.25]
    assert "read as hours: the columns 'took', 'at'" in messages(data)


@pytest.mark.parametrize(
    ("joined", "separator"),
    [
        (["a|b", "b|c", "a", "c"], "|"),
        (["a;b", "b;c", "a", "c"], ";"),
        (["haze", "clear", "haze road", "clear road", "haze water", "clear road water", "haze road water",
          "clear water"], " "),
        (["\"['a', 'b']\"", "\"['b']\"", "\"['a', 'c']\"", "[]"], "[,]"),
        (['"[""a"", ""b""]"', '"[""b""]"'], "[,]"),
        (['"{a,b}"', "{b}"], "[,]"),
        (["['a' 'b']", "['b']"], "[,]"),
    ],
)  # fmt: skip
def test_labels_that_are_joined_are_several(tmp_path: Path, joined: list[str], separator: str) -> None:
    data = table(tmp_path, "label", *joined)
    field = data.fields["label"]
    assert field.kind == "multilabel" and field.separator == separator  # type: ignore[attr-defined]
    data.fit()
    assert all(len(name) == 1 or name.isalpha() for name in field.classes)  # type: ignore[attr-defined]
    assert "COLUMN=category" in " ".join(str(finding) for finding in data.check())
    assert table(tmp_path, "label", *joined, read={"label": "category"}).fields["label"].kind == "category"


def test_only_words_of_sides_in_a_column_called_split_decide(tmp_path: Path) -> None:
    for values in (("0", "1", "2"), ("yes", "no"), ("train", "bus", "car")):
        data = table(tmp_path, "split,label", *(f"{value},{'ab'[i % 2]}" for i, value in enumerate(values)))
        assert "split" in data.inputs and "--split given" in messages(data)
    rows = ("train,a", "train,b", "valid,a", "test,b")
    data = table(tmp_path, "split,label", *rows)
    assert data.inputs == ["x"] and len(data.rows("valid")) == len(data.rows("test")) == 30
    assert "the column 'split' says which rows train" in messages(data)
    forced = table(tmp_path, "split,label", *rows, inputs=["x", "split"])
    assert forced.inputs == ["x", "split"] and not len(forced.rows("test"))
    numbers = table(tmp_path, "split,label", "0,a", "0,b", "1,a", "2,b", split="given")
    assert numbers.inputs == ["x"] and len(numbers.rows("valid")) == 30


def test_columns_that_only_name_rows_are_left_out(tmp_path: Path) -> None:
    rows = "\n".join(f"{i},{i % 7},{'ab'[i % 2]}" for i in range(120))
    for name in ("", "id", "PassengerId", "row_id", "index"):
        (tmp_path / "t.csv").write_text(f"{name},size,label\n{rows}")
        data = fb.Dataset.from_table(tmp_path / "t.csv")
        assert data.inputs == ["size"] and "only their names, left out" in messages(data)
    for name in ("paid", "valid", "x"):
        (tmp_path / "t.csv").write_text(f"{name},size,label\n{rows}")
        assert fb.Dataset.from_table(tmp_path / "t.csv").inputs == [name, "size"]
    (tmp_path / "t.csv").write_text("id,label\n" + "\n".join(f"{i:05}a,{'ab'[i % 2]}" for i in range(120)))
    with pytest.raises(DataError, match="'id' only names the rows, so there is nothing to predict 'label' from"):
        fb.Dataset.from_table(tmp_path / "t.csv")
    assert fb.Dataset.from_table(tmp_path / "t.csv", inputs=["id"]).inputs == ["id"]


def test_a_column_that_nothing_suits_is_left_out_and_said() -> None:
    frame = pl.DataFrame(
        {"x": [float(i) for i in range(60)], "odd": [[[1], [2, 3]], [[4]]] * 30, "label": ["a", "b"] * 30}
    )
    data = fb.Dataset.from_frame(frame, target="label")
    assert data.inputs == ["x"] and "left out: the column 'odd'" in messages(data)
    with pytest.raises(DataError, match="column 'odd'"):
        fb.Dataset.from_frame(frame, target="label", inputs=["x", "odd"])


def test_what_a_column_called_split_holds_is_told_as_it_is(tmp_path: Path) -> None:
    data = table(tmp_path, "split,label", "train,a", "test,b", "ignore,a")
    assert "split" in data.inputs and "holds 'ignore', which names no split" in messages(data)
    with pytest.raises(DataError, match="row 2: the split is missing"):
        table(tmp_path, "split,label", "train,a", ",b")
    assert "says which rows" not in messages(table(tmp_path, "label,split", "a,train", "b,test", "a,test"))


def test_a_number_that_is_written_otherwise_is_told_how_it_should_be() -> None:
    field = fb.fields.Number(written="de:€")
    field.fit(["1.234,50 €", "20,00 €"])
    with pytest.raises(
        DataError, match=r"the value '90.5' is not a number; expected a number with a decimal comma and '€'"
    ):
        field.encode("90.5")
