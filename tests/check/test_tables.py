"""Checks of tables: each planted flaw is found, and clean columns give none."""

from __future__ import annotations

import numpy as np

from flambeau.core.findings import Finding, Severity
from flambeau.data.dataset import Dataset

N = 400
random = np.random.default_rng(0)
Y = random.integers(0, 2, N)


def check(split: object = "auto", y: object = Y, **columns: object) -> dict[str, Finding]:
    data = Dataset({"clean": random.normal(size=N), **columns, "y": y}, target="y", split=split)  # type: ignore[dict-item]
    return {finding.check: finding for finding in data.check()}


def test_clean_columns_give_no_finding() -> None:
    assert not check(other=random.normal(size=N), city=random.choice(["a", "b", "c"], N).tolist())


def test_an_identifier() -> None:
    assert "'id'" in check(id=np.arange(N) + 17)["identifier"].message
    assert "'key'" in check(key=[f"K{i:04}" for i in range(N)])["identifier"].message


def test_two_columns_that_say_the_same() -> None:
    x = random.normal(size=N)
    assert check(a=x, b=x.copy())["duplicate-column"].places == ["a", "b"]


def test_a_column_that_alone_tells_the_class() -> None:
    found = check(outcome=(Y * 7.0 + random.normal(size=N) * 0.1))["target-leakage"]
    assert found.places == ["outcome"] and found.severity is Severity.WARNING
    assert "target-leakage" not in check(useful=Y + random.normal(size=N))


def test_a_column_that_alone_tells_the_number() -> None:
    y = random.normal(size=N)
    assert check(y=y, twice=2 * y + 1)["target-leakage"].places == ["twice"]


def test_one_hot_columns_of_which_one_is_the_target() -> None:
    species = np.eye(3, dtype=int)[random.integers(0, 3, N)]
    for written in (species, species.astype(str), species.astype(bool)):
        columns = {f"species_{name}": written[:, i].tolist() for i, name in enumerate(("setosa", "blue", "white"))}
        data = Dataset({"x": random.normal(size=N), **columns}, target="species_setosa")
        (found,) = [f for f in data.check() if f.check == "target-leakage"]
        assert found.places == ["species_blue", "species_white"]
        assert "'species_setosa' and 2 inputs are one category" in found.message
    free = {f"has_{name}": random.integers(0, 2, N) for name in ("a", "b", "c")}
    assert not [f for f in Dataset({**free}, target="has_a").check() if f.check == "target-leakage"]


def test_outliers_carry_their_rows_the_worst_first() -> None:
    x = random.normal(size=N)
    x[[5, 9]] = 1e3, 1e6
    assert check(x=x)["outlier"].rows == [9, 5]


def test_drift_between_the_sides() -> None:
    sides = ["train"] * 300 + ["valid"] * 100
    moved = random.normal(size=N) + np.r_[np.zeros(300), np.full(100, 3.0)]
    assert "'moved'" in check(split=sides, moved=moved)["drift"].message
    assert "drift" not in check(split=sides, same=random.normal(size=N))


def test_a_category_of_held_out_rows_alone() -> None:
    sides = ["train"] * 300 + ["valid"] * 100
    city = ["a", "b"] * 149 + ["a"] * 99 + ["new"] * 3
    assert check(split=sides, city=city)["unseen-category"].count == 3


def test_missing_values_are_counted_and_not_left_out() -> None:
    x = np.where(np.arange(N) % 4 == 0, np.nan, random.normal(size=N))
    found = check(x=x)["missing-values"]
    assert found.count == N / 4 and "25.0%" in found.message and found.severity is Severity.NOTE
