"""Every error says what was found, where, what was expected and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from flambeau.core import errors
from flambeau.core.errors import DataError, FlambeauError, MissingExtra, nearest
from flambeau.core.registry import Registry


def test_the_parts_make_one_line() -> None:
    error = DataError("the label is 12", where="row 3", expected="0…9", fix="number the classes from 0")
    assert str(error) == "row 3: the label is 12; expected 0…9; number the classes from 0"
    assert (error.found, error.where, error.expected, error.fix) == (
        "the label is 12", "row 3", "0…9", "number the classes from 0",
    )  # fmt: skip
    assert str(DataError("nothing else")) == "nothing else"


def test_its_code_is_that_of_its_class_or_of_what_happened() -> None:
    assert DataError("the label is 12").code == "data"
    assert DataError("there is no column 'lable'", fix=nearest("lable", ["label"])).code == "unknown-name"
    assert DataError("there is no such file", fix=nearest("a.csv", ["b.csv"]), code="not-found").code == "not-found"
    told = DataError("it is empty", where=Path("a.csv")).to_dict()
    assert told == {"error": "a.csv: it is empty", "code": "data", "found": "it is empty", "where": "a.csv",
                    "expected": None, "fix": None}  # fmt: skip


def test_they_are_one_family() -> None:
    kinds = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]
    assert len(kinds) >= 7 and all(issubclass(e, FlambeauError) for e in kinds)


def test_a_missing_package_says_how_to_get_it_and_is_an_import_error() -> None:
    error = MissingExtra("timm", "vision", "the model timm:x")
    assert str(error) == "the model timm:x needs the package timm; pip install 'flambeau[vision]'"
    assert isinstance(error, ImportError)


@pytest.mark.parametrize(
    ("name", "known", "told"),
    [
        ("lable", ["label", "path"], "did you mean 'label'?"),
        ("zzz", ["a", "b"], "known: a, b"),
        ("zzz", [], "there is none"),
        ("zzz", [str(i) for i in range(20)], "known: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, …"),
        ("1", [1, 2], "did you mean '1'?"),
    ],
)
def test_nearest(name: str, known: list[str], told: str) -> None:
    assert nearest(name, known) == told


def test_a_registry_names_the_nearest_part() -> None:
    parts = Registry[int]("part")
    assert parts.register("screw")(3) == 3
    assert list(parts) == ["screw"] and parts.items() == [("screw", 3)] and "screw" in parts and "nail" not in parts
    with pytest.raises(FlambeauError, match=r"no part is called 'scerw'; did you mean 'screw'\?"):
        parts["scerw"]
