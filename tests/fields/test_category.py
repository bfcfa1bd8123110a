"""Category and MultiLabel: names to numbers and back, and what is wrong with labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris

from flambeau.core.errors import DataError
from flambeau.fields import Category, MultiLabel, recognise
from flambeau.fields.category import class_name

IRIS = load_iris()
SPECIES = [str(IRIS.target_names[t]) for t in IRIS.target]


def test_classes_are_sorted_numbers_by_value() -> None:
    category = Category()
    category.fit(["10", "9", "b", "a", "-1", "2.5"])
    assert category.classes == ["-1", "2.5", "9", "10", "a", "b"]
    category.fit(load_digits().target)
    assert category.classes == list("0123456789")


@pytest.mark.parametrize("label", [1, 1.0, "1", np.int8(1), np.float32(1), True and 1])
def test_one_class_in_any_form(label: Any) -> None:
    category = Category(["0", "1"])
    assert int(category.encode(label)) == 1 and class_name(label) == "1"


def test_given_classes_keep_their_order_and_are_not_refitted() -> None:
    category = Category(["virginica", "setosa", "versicolor"])
    category.fit(SPECIES)
    assert category.classes == ["virginica", "setosa", "versicolor"]
    assert int(category.encode("setosa")) == 1


def test_an_unknown_class_names_the_nearest() -> None:
    category = Category()
    category.fit(SPECIES)
    with pytest.raises(DataError, match=r"the class 'sertosa' is not among the 3 classes.*did you mean 'setosa'\?"):
        category.encode("sertosa")


def test_a_thousand_classes_are_refused_as_fast_as_they_are_read() -> None:
    """Looking for the nearest of many names takes milliseconds: for a column of text, hours."""
    category = Category([f"a rather long name of a class, number {i}" for i in range(2000)])
    for i in range(2000):
        with pytest.raises(DataError):
            category.encode(f"a rather long name of another class, number {i}")


def test_findings_about_classes() -> None:
    def found(values: list[Any]) -> dict[str, str]:
        return {f.check: str(f.severity) for f in Category().check(values)}

    assert found(SPECIES) == {}
    assert found(SPECIES[:50]) == {"one-class": "error"}
    assert found([*SPECIES, "rare"]) == {"few-samples": "warning", "imbalance": "warning"}
    assert found(["a"] * 200 + ["b"] * 12) == {"imbalance": "warning"}
    assert "17 times fewer" in Category().check(["a"] * 200 + ["b"] * 12)[0].message


def test_what_is_a_class_and_what_a_number() -> None:
    for values, kind in (
        (SPECIES, "category"),
        (load_digits().target, "category"),
        (IRIS.target.astype(float), "category"),
        (IRIS.target == 0, "category"),
        (IRIS.data[:, 0], "number"),
        (np.arange(1000), "number"),
        (load_digits().images.mean((1, 2)), "number"),
        ([["a"], ["a", "b"], []], "multilabel"),
        (["a;b", "b", "a;b;c"] * 5, "multilabel"),
    ):
        assert recognise(values, target=True)[0].kind == kind  # type: ignore[arg-type]


def test_several_labels_in_any_form() -> None:
    labels = MultiLabel()
    labels.fit([["b", "a"], "c;a", [], {"d"}, None, float("nan"), (1, 2.0)])
    assert labels.classes == ["1", "2", "a", "b", "c", "d"]
    assert labels.encode("a; c").tolist() == [0, 0, 1, 0, 1, 0]
    assert labels.encode([]).tolist() == labels.encode("").tolist() == [0] * 6
    assert labels.encode({"b", "a"}).tolist() == labels.encode(["a", "b", "a"]).tolist()
    with pytest.raises(DataError, match="the class 'e' is not among the 6 classes"):
        labels.encode("a;e")


def test_labels_at_or_above_the_threshold_are_predicted() -> None:
    labels = MultiLabel(["a", "b", "c"], threshold=0.3)
    assert labels.decode(np.asarray([0.3, 0.29, 0.9])) == ["a", "c"]


@pytest.mark.parametrize("separator", [", ", ",", "/", "+", "&", " "])
def test_names_that_may_be_several_labels_are_told(separator: str) -> None:
    names = [f"a{separator}b", f"b{separator}c", "a", "c"] * 30
    assert f"made of others with '{separator}'" in " ".join(str(f) for f in Category().check(names))
    for other in (["New York", "New Jersey", "Ohio"], ["n/a", "yes", "no"], ["red apple", "green apple", "red pear"]):
        assert not any(f.check == "joined-names" for f in Category().check(other * 30))


def test_a_class_is_found_again_as_programs_write_it() -> None:
    floats = Category()
    floats.fit(["1.0", "2.0"])
    assert [floats.encode(value).item() for value in ("1", "2.0", 2, 1.0)] == [0, 1, 1, 0]
    both = Category()
    both.fit(["1", "1.0", "2"])
    assert [both.place(value) for value in ("1", "1.0", "2.0", "02")] == [0, 1, 2, None]
