"""Splits are a pure function of the seed and of each row's key."""

from __future__ import annotations

import datetime
from collections import Counter

import numpy as np
import polars
import pytest

from flambeau.core.errors import DataError, UsageError
from flambeau.data.dataset import Dataset
from flambeau.data.sources.tabular import from_frame
from flambeau.data.split import METHODS, TEST, TRAIN, VALID, Split

KEYS = [f"{c}/{i:04d}.png" for c in "abc" for i in range(100)]
LABELS = [k[0] for k in KEYS]


def sides(split: Split, keys: list[str] = KEYS, labels: list[str] | None = None) -> dict[str, int]:
    return dict(
        zip(keys, split.assign(keys, labels if labels is not None else [k[0] for k in keys]).tolist(), strict=True)
    )


@pytest.mark.parametrize("method", ["random", "stratified", "auto"])
def test_the_same_seed_gives_the_same_split_and_another_another(method: str) -> None:
    assert sides(Split(method, seed=3)) == sides(Split(method, seed=3))
    assert sides(Split(method, seed=3)) != sides(Split(method, seed=4))


def test_a_file_added_to_one_class_moves_no_row_of_another() -> None:
    before = sides(Split("stratified", valid=0.2, test=0.1))
    after = sides(Split("stratified", valid=0.2, test=0.1), sorted([*KEYS, *(f"b/new{i}.png" for i in range(30))]))
    assert all(after[k] == before[k] for k in KEYS if not k.startswith("b"))
    # and of its own class only those move whose share changed
    assert sum(after[k] != before[k] for k in KEYS if k.startswith("b")) <= 30


def test_the_order_of_the_rows_does_not_matter() -> None:
    shuffled = np.random.default_rng(0).permutation(KEYS).tolist()
    for method in ("random", "stratified"):
        assert sides(Split(method), shuffled) == sides(Split(method))


def test_every_class_has_its_shares() -> None:
    split = Split("stratified", valid=0.25, test=0.1).assign(KEYS, LABELS)
    counts = Counter(zip(LABELS, split.tolist(), strict=True))
    assert counts == {(c, s): n for c in "abc" for s, n in ((TRAIN, 65), (VALID, 25), (TEST, 10))}


def test_a_class_of_one_trains() -> None:
    split = Split("stratified", valid=0.4, test=0.4).assign([*KEYS, "rare/0.png"], [*LABELS, "rare"])
    assert split[-1] == TRAIN


def test_random_shares() -> None:
    split = Split("random", valid=0.3, test=0.2).assign(KEYS)
    assert Counter(split.tolist()) == {TRAIN: 150, VALID: 90, TEST: 60}


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_on_both_sides(seed: int) -> None:
    groups = [f"person {i % 17}" for i in range(300)]
    split = Split("grouped", valid=0.2, test=0.1, by="person", seed=seed).assign(KEYS, LABELS, groups)
    of_group: dict[str, set[int]] = {}
    for group, side in zip(groups, split.tolist(), strict=True):
        of_group.setdefault(group, set()).add(side)
    assert all(len(s) == 1 for s in of_group.values())
    assert set(split.tolist()) == {TRAIN, VALID, TEST}
    assert abs((split == VALID).sum() / 300 - 0.2) <= 18 / 300, "near the share, to a group"


def test_two_groups_are_enough_and_one_is_not() -> None:
    split = Split("grouped", by="person").assign(KEYS, None, ["a"] * 290 + ["b"] * 10)
    assert set(split.tolist()) == {TRAIN, VALID}
    with pytest.raises(UsageError, match="one group only"):
        Split("grouped", by="person").assign(KEYS, None, ["a"] * 300)


def test_the_latest_rows_validate_and_test() -> None:
    days = [datetime.date(2020, 1, 1) + datetime.timedelta(days=(7 * i) % 300) for i in range(300)]
    split = Split("time", valid=0.2, test=0.1, by="day").assign(KEYS, None, days)
    times = np.asarray(days)
    assert times[split == TRAIN].max() <= times[split == VALID].min()
    assert times[split == VALID].max() <= times[split == TEST].min()
    assert (split == TEST).sum() == 30 and (split == VALID).sum() == 60


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_row_without_a_time_is_named(missing: object) -> None:
    with pytest.raises(DataError, match="row 2: the column 'day' has no time; fill it in"):
        Split("time", by="day").assign(KEYS[:3], None, [1.0, 2.0, missing])


def test_none_trains_on_all() -> None:
    assert Split("none").assign(KEYS, LABELS).tolist() == [TRAIN] * 300


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "stratifeid"}, "did you mean 'stratified'"),
        ({"valid": 0.8, "test": 0.2}, "together below 1"),
        ({"valid": -0.1}, "together below 1"),
        ({"method": "grouped"}, "give by='column'"),
        ({"method": "time"}, "give by='column'"),
    ],
)
def test_mistakes_are_told(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Split(**options)  # type: ignore[arg-type]


# -- in a Dataset -------------------------------------------------------------------------------------------------

X = [float(i) for i in range(100)]
Y = ["a", "b"] * 50


def test_a_given_split_by_name_or_number() -> None:
    given = ["train"] * 50 + ["val"] * 20 + ["Test"] * 20 + ["dev"] * 10
    for split in (given, [0] * 50 + [1] * 20 + [2] * 20 + [1] * 10):
        data = Dataset({"x": X, "y": Y}, target="y", split=split)
        assert [len(data.rows(s)) for s in ("train", "valid", "test")] == [50, 30, 20]


def test_what_is_wrong_with_a_given_split_is_named() -> None:
    with pytest.raises(DataError, match="row 99: the split 'tarin' is not known; expected train, valid or test"):
        Dataset({"x": X, "y": Y}, target="y", split=["train"] * 99 + ["tarin"])
    with pytest.raises(DataError, match="the split has 3 rows; expected 100"):
        Dataset({"x": X, "y": Y}, target="y", split=["train"] * 3)
    with pytest.raises(DataError, match="does not say which rows train"):
        Dataset({"x": X, "y": Y}, target="y", split="given")


def test_classes_are_stratified_by_themselves_and_numbers_are_not() -> None:
    data = Dataset({"x": X, "y": ["rare"] * 10 + ["usual"] * 90}, target="y")
    assert Counter(np.asarray(data.columns["y"])[data.rows("valid")].tolist()) == {"rare": 2, "usual": 18}
    numbers = Dataset({"x": X, "y": [v + 0.5 for v in X]}, target="y")
    assert len(numbers.rows("valid")) == 20, "a number is no class of its own"


def test_by_a_column() -> None:
    columns = {"x": X, "y": Y, "fold": [str(i % 5) for i in range(100)]}
    data = Dataset(columns, target="y", inputs=["x"], split=Split("grouped", by="fold"))  # type: ignore[arg-type]
    folds = np.asarray(columns["fold"])
    assert not set(folds[data.rows("train")]) & set(folds[data.rows("valid")])
    with pytest.raises(DataError, match="no column 'flod' to split by; did you mean 'fold'"):
        Dataset(columns, target="y", split=Split("grouped", by="flod"))  # type: ignore[arg-type]


def test_splits_that_do_not_exist() -> None:
    data = Dataset({"x": X, "y": Y}, target="y")
    with pytest.raises(UsageError, match="no split is called 'vaild'; did you mean 'valid'"):
        data.rows("vaild")
    assert data.evaluation_split == "valid"
    assert Dataset({"x": X, "y": Y}, target="y", split="none").evaluation_split == "train"
    assert len(METHODS) == 7


def test_folds_take_turns_and_deal_classes_evenly() -> None:
    keys, labels = [f"{i}.wav" for i in range(103)], ["a"] * 50 + ["b"] * 40 + ["c"] * 13
    validated = np.zeros(103, int)
    for fold in range(5):
        sides = Split(folds=5, fold=fold).assign(keys, labels)
        valid = sides == VALID
        validated += valid
        assert 20 <= valid.sum() <= 21 and set(sides.tolist()) == {TRAIN, VALID}
        assert [abs(np.asarray(labels)[valid].tolist().count(c) - n / 5) < 1 for c, n in (("a", 50), ("b", 40))]
    assert (validated == 1).all(), "each row validates once"


def test_folds_keep_groups_together_and_given_folds_as_they_are() -> None:
    groups = [str(i % 17) for i in range(200)]
    parts = [Split("grouped", by="g", folds=4, fold=f).assign(groups, by=groups) == VALID for f in range(4)]
    assert (sum(p.astype(int) for p in parts) == 1).all()
    for part in parts:
        assert not {g for g, v in zip(groups, part, strict=True) if v} & {
            g for g, v in zip(groups, part, strict=True) if not v
        }
        assert 35 <= part.sum() <= 65
    given = ["1", "2", "3"] * 4
    second = Split("grouped", by="fold", folds=3, fold=1).assign(given, by=given)
    assert [g for g, side in zip(given, second, strict=True) if side == VALID] == ["2"] * 4


@pytest.mark.parametrize("wrong", [{"folds": 1}, {"folds": 3, "fold": 3}, {"method": "none", "folds": 3}])
def test_folds_that_do_not_fit_are_told(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="does not fit"):
        Split(**wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="has 2 groups"):
        Split("grouped", by="g", folds=3).assign(["a", "b"], by=["a", "b"])


def counts(rows: int, how: Split, classes: int = 0, by: list[int] | None = None) -> list[int]:
    labels = [i % classes for i in range(rows)] if classes else None
    split = how.assign(range(rows), labels, by)
    return [int((split == s).sum()) for s in (TRAIN, VALID, TEST)]


@pytest.mark.parametrize(
    ("rows", "classes", "how", "expected"),
    [
        (1000, 2, Split(), [700, 150, 150]),
        (200, 0, Split(), [140, 30, 30]),
        (199, 0, Split(), [159, 40, 0]),  # too few to lose any
        (300, 31, Split("random"), [240, 60, 0]),  # fewer than ten for each class
        (30_000, 0, Split(), [24_000, 3_000, 3_000]),
        (100_000, 0, Split(), [90_000, 5_000, 5_000]),
        (1000, 2, Split(test=0), [800, 200, 0]),
        (1000, 2, Split(valid=0.3), [550, 300, 150]),
        (1000, 2, Split(test=0.3), [500, 200, 300]),
        (1000, 2, Split(valid=0), [1000, 0, 0]),
        (1000, 2, Split("none"), [1000, 0, 0]),
    ],
)
def test_rows_are_kept_for_a_test_where_there_are_enough(
    rows: int, classes: int, how: Split, expected: list[int]
) -> None:
    assert counts(rows, how, classes) == expected


def test_the_latest_test_and_those_before_validate() -> None:
    split = Split("time", by="day").assign(range(400), None, list(range(400)))
    assert split.tolist() == [TRAIN] * 280 + [VALID] * 60 + [TEST] * 60


def test_groups_are_kept_for_a_test_whole_where_there_are_ten() -> None:
    for groups, tested in ((20, True), (9, False)):
        by = [i % groups for i in range(400)]
        split = Split("grouped", by="person").assign(range(400), None, by)
        assert (TEST in split) == tested
        assert len(set(zip(by, split.tolist(), strict=True))) == groups


def test_a_recipe_of_before_splits_as_it_did() -> None:
    old = {"method": "auto", "valid": None, "test": 0.0, "by": None, "seed": 0, "folds": None, "fold": 0}
    assert counts(1000, Split(**old), 2) == [800, 200, 0]
    assert counts(30_000, Split(**old)) == [27_000, 3_000, 0]


def test_a_given_split_is_taken_as_it_is() -> None:
    x, y = [float(i) for i in range(400)], ["a", "b"] * 200
    given = ["train"] * 300 + ["valid"] * 100
    assert not len(Dataset({"x": x, "y": y}, target="y", split=given).rows("test")), "none is made up"
    frame = polars.DataFrame({"x": x, "y": y, "split": ["train"] * 300 + ["test"] * 100})
    data = Dataset.from_frame(frame, target="y")
    assert [len(data.rows(s)) for s in ("train", "valid", "test")] == [240, 60, 100]
    assert data.rows("test").tolist() == list(range(300, 400))


def test_what_each_part_is_for_is_said() -> None:
    data = Dataset({"x": [float(i) for i in range(1000)], "y": ["a", "b"] * 500}, target="y")
    assert data.describe_split() == "700 train, 150 validate and choose the epoch, 150 test"


@pytest.mark.parametrize(
    "form", ["%d/%m/%Y", "%m/%d/%y", "%d.%m.%y", "%d-%b-%y", "%B %d, %Y", "%Y%m%d", "%d%m%Y", "%Y-%-m-%-d", "excel"]
)
@pytest.mark.parametrize("inputs", [["x"], ["x", "when"]])
def test_the_latest_rows_are_held_out_however_their_times_are_written(form: str, inputs: list[str]) -> None:
    order = np.random.default_rng(0).permutation(300)
    days = [datetime.date(1999, 6, 1) + datetime.timedelta(days=2 * int(i)) for i in order]
    when = [(d - datetime.date(1899, 12, 30)).days if form == "excel" else d.strftime(form) for d in days]
    frame = polars.DataFrame({"when": when, "x": np.arange(300.0), "y": ["a", "b"] * 150})
    data = from_frame(frame, target="y", inputs=inputs, split=Split("time", by="when"))
    of = [order[data.split == side] for side in (TRAIN, VALID, TEST)]
    assert of[0].max() < of[1].min() and of[1].max() < of[2].min() and len(of[2]) == 45


def test_times_to_split_by_must_be_times() -> None:
    days = [f"{i % 28 + 1:02}.01.2024" for i in range(50)]
    for wrong, said in (("step 8", "'step 8' is not a time"), ("32.01.2024", "is not a time"), (None, "is missing")):
        frame = polars.DataFrame({"when": [*days[:7], wrong, *days[8:]], "x": np.arange(50.0), "y": ["a", "b"] * 25})
        with pytest.raises(DataError, match=f"column 'when', row (7|8): .*{said}.*--read"):
            from_frame(frame, target="y", split=Split("time", by="when"))
    months = polars.DataFrame({"when": ["01/02/2024", "02/03/2024"] * 25, "x": np.arange(50.0), "y": ["a", "b"] * 25})
    (told,) = from_frame(months, target="y", inputs=["x"], split=Split("time", by="when")).findings
    assert told.check == "day-or-month" and "column 'when'" in told.message and "--read" in told.fix
    read = from_frame(months, target="y", read={"when": "date:%m/%d/%Y"}, split=Split("time", by="when"))
    assert not read.findings
