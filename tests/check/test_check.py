"""check finds what is wrong with labels, splits and values, names the rows, and says nothing about sound data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage
from realdata.pictures import digits

from flambeau.check import Case, looks_at
from flambeau.check.base import CHECKS
from flambeau.core.findings import Finding, Severity, has_errors
from flambeau.data.dataset import Dataset
from flambeau.data.split import Split
from flambeau.fields import Category, MultiLabel, Number


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    """Findings by the name of the check, which the tests here expect to be there once."""
    assert len({f.check for f in findings}) == len(findings), [str(f) for f in findings]
    return {f.check: f for f in findings}


def labelled(labels: list, split="none", **options) -> Dataset:
    return Dataset({"x": np.arange(len(labels)) * 1.5, "y": labels}, target="y", split=split, **options)


def test_a_clean_folder_has_nothing_worth_a_warning(digits_folder: Path) -> None:
    data = Dataset.from_folder(digits_folder)
    findings = data.check()
    assert [str(f) for f in findings if f.severity is not Severity.NOTE] == []
    assert all("duplicate" not in f.check for f in findings)


def test_nothing_is_fitted_or_changed(digits_folder: Path) -> None:
    data = Dataset.from_folder(digits_folder)
    before = {name: field.to_dict() for name, field in data.fields.items()}
    data.check()
    assert {name: field.to_dict() for name, field in data.fields.items()} == before


def test_pictures_in_memory_are_checked_like_files(digits_folder: Path) -> None:
    x, y = digits()
    x, y = np.concatenate([x, x[:3], x[10:11]]), np.concatenate([y, y[:3], [(y[10] + 1) % 10]])
    data = Dataset.from_arrays(x, y, split="none")
    checks = by_check(data.check())
    assert checks["duplicate"].rows == [0, 1797, 1, 1798, 2, 1799]
    assert checks["label-conflict"].rows == [10, 1800]
    assert checks["label-conflict"].places == [f"row 10 ({y[10]}) = row 1800 ({y[1800]})"]


def test_one_class_is_an_error() -> None:
    findings = labelled(["cat"] * 30).check()
    assert has_errors(findings)
    assert "'cat'" in by_check(findings)["one-class"].message


def test_a_class_whose_pictures_are_all_unreadable_does_not_count(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
    rng = np.random.default_rng(0)
    for i in range(12):
        PILImage.fromarray(rng.integers(0, 255, (16, 16), np.uint8)).save(tmp_path / "cat" / f"{i}.png")
        (tmp_path / "dog" / f"{i}.png").write_text("not a picture")
    findings = Dataset.from_folder(tmp_path).check()
    assert "one-class" in {f.check for f in findings if f.severity is Severity.ERROR}


def test_few_samples_and_imbalance_count_training_rows_only() -> None:
    labels = ["a"] * 200 + ["b"] * 8 + ["b"] * 100
    split = ["train"] * 208 + ["valid"] * 100
    checks = by_check(labelled(labels, split).check())
    assert checks["few-samples"].places == ["b: 8"]
    assert "'a' has 200" in checks["imbalance"].message
    assert checks["imbalance"].severity is Severity.WARNING
    assert "few-samples" not in by_check(labelled(labels).check())


def test_a_class_that_does_not_train_is_named_with_its_rows() -> None:
    labels = ["a", "b"] * 20 + ["a", "zebra", "zebra"]
    split = ["train"] * 40 + ["valid"] * 2 + ["test"]
    finding = by_check(labelled(labels, split).check())["unseen-class"]
    assert "'zebra' (2)" in finding.message
    assert finding.severity is Severity.WARNING
    assert finding.rows == [41, 42]


def test_a_class_outside_the_given_ones_is_named() -> None:
    data = labelled(["a", "b"] * 20 + ["c"], fields={"y": Category(["a", "b"])})
    assert by_check(data.check())["unseen-class"].rows == [40]


def test_classes_of_several_labels_are_checked_too() -> None:
    labels = [["sky"], ["sky", "sea"], []] * 10 + [["moon", "sky"]]
    data = Dataset(
        {"x": np.arange(31.0), "y": labels}, target="y", fields={"y": MultiLabel()}, split=["train"] * 30 + ["valid"]
    )
    assert by_check(data.check())["unseen-class"].rows == [30]


def test_classes_that_differ_in_spelling_only() -> None:
    finding = by_check(labelled(["Cat", "dog", "cat "] * 15).check())["similar-classes"]
    assert finding.places == ["Cat", "cat "]


def test_missing_values_are_named_by_column_and_row() -> None:
    labels = ["a", "b"] * 10 + [None, "a"]
    checks = by_check(labelled(labels).check())
    assert checks["missing"].rows == [20]
    assert "'y'" in checks["missing"].message
    numbers = Dataset(
        {"x": list("abcdefghij"), "y": [1.0, np.nan, *np.arange(8.0)]}, target="y", fields={"y": Number()}, split="none"
    )
    finding = by_check(numbers.check())["not-finite"]
    assert (finding.rows, finding.places) == ([1], ["row 1"])


def test_places_of_a_table_are_those_of_the_dataset(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("x,label\n" + "".join(f"{i},{i * 0.5 if i != 7 else ''}\n" for i in range(30)))
    data = Dataset.from_table(table, fields={"label": Number()})
    assert by_check(data.check())["not-finite"].places == [data.place(7)]


def test_no_training_rows_is_an_error_and_none_held_out_a_note() -> None:
    assert has_errors(labelled(["a", "b"] * 10, split=["valid"] * 20).check())
    checks = by_check(labelled(["a", "b"] * 10).check())
    assert checks["nothing-held-out"].severity is Severity.NOTE
    held = labelled(["a", "b"] * 50, split=Split("stratified"))
    assert "nothing-held-out" not in by_check(held.check())


def test_a_column_without_one_usable_value_is_an_error() -> None:
    data = Dataset({"x": ["a", "b", "c"], "y": [1, 2, 3]}, target="y", fields={"x": Number()}, split="none")
    finding = by_check(data.check())["not-finite"]
    assert finding.severity is Severity.ERROR
    assert "'x'" in finding.message


def test_values_that_a_kind_cannot_take_are_an_error() -> None:
    columns = {"x": np.zeros((12, 3)), "y": np.arange(12) % 2}
    finding = by_check(Dataset(columns, target="y", fields={"x": Category()}, split="none").check())["wrong-kind"]
    assert finding.severity is Severity.ERROR
    assert "'x'" in finding.message


def test_what_would_spoil_a_target_is_a_note_in_an_input() -> None:
    data = Dataset(
        {"constant": [3.0] * 40, "rare": ["p"] * 39 + ["q"], "y": ["a", "b"] * 20},
        target="y",
        split="none",
        fields={"constant": Number(), "rare": Category()},
    )
    findings = data.check()
    assert all(f.severity is Severity.NOTE for f in findings), [str(f) for f in findings]
    assert {"constant", "label-conflict"} <= {f.check for f in findings}


@pytest.mark.parametrize(
    "inputs", [{"x": [[0.0, i % 20] for i in range(40)]}, {"x": [f"text {i % 20}" for i in range(40)]}]
)
def test_equal_rows_across_the_split_are_leakage(inputs: dict) -> None:
    columns = {**inputs, "y": ["a", "b"] * 20}
    kind = Number() if isinstance(inputs["x"][0], list) else Category()
    data = Dataset(columns, target="y", split=["train"] * 20 + ["valid"] * 20, fields={"x": kind})
    leak = by_check(data.check())["leakage"]
    assert leak.count == 20
    assert leak.rows[:4] == [0, 20, 1, 21]
    # rows of single classes and numbers may well be equal by chance
    assert leak.severity is (Severity.WARNING if kind.kind == "number" else Severity.NOTE)


def test_a_dataset_without_target_is_checked_too() -> None:
    checks = by_check(Dataset.from_arrays(digits()[0][[0, 1, 2, 0]], split="none").check())
    assert checks["duplicate"].rows == [0, 3]


def test_equal_rows_with_a_number_to_predict_are_in_no_class() -> None:
    data = Dataset({"x": ["a b", "a b", "c d", "e f"] * 10, "y": [0.5] * 40}, target="y", split="none")
    told = [f.message for f in data.check() if f.check == "duplicate"]
    assert told and all("class" not in message for message in told)


class Codes(Number):
    """A kind of its own, as a plug-in would have it."""

    kind = "codes"


def test_a_kind_brings_its_own_check() -> None:
    registered = list(CHECKS)

    @looks_at(Codes)
    def look(case: Case, fields: Mapping[str, Codes]) -> list[Finding]:
        case.usable[0] = False
        return [Finding("odd-code", Severity.WARNING, f"the codes of {name} are odd", rows=[0]) for name in fields]

    try:
        plain = {f.check for f in labelled(["a", "b"] * 20).check()}
        data = labelled(["a", "b"] * 20, fields={"x": Codes()})
        told = {f.check: f for f in data.check()}
    finally:
        CHECKS[:] = registered
    assert told.keys() - plain == {"odd-code"} and told["odd-code"].message == "the codes of x are odd"
    assert plain - told.keys() == set(), "a kind made of numbers is looked at as numbers are"
