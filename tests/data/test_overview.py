"""The picture of the data that a report shows: parts, counts, how numbers lie, and rows of every class."""

from __future__ import annotations

import json

import numpy as np
import sklearn.datasets

import flambeau as fb
from flambeau.data.grouping import grouped
from flambeau.data.overview import MOST_NAMES, SAMPLES, overview

DIGITS = sklearn.datasets.load_digits()


def test_every_row_is_counted_once_in_its_part_and_class() -> None:
    data = fb.Dataset.from_arrays(DIGITS.images / 16, DIGITS.target.tolist())
    seen = overview(data)
    assert sum(seen["rows"].values()) == len(DIGITS.target)
    assert seen["rows"] == {part: len(data.rows(part)) for part in seen["rows"]}
    counts = np.bincount(DIGITS.target)
    assert seen["target"]["counts"] == {str(i): int(n) for i, n in sorted(enumerate(counts), key=lambda p: -p[1])}
    for name, parts in seen["target"]["parts"].items():
        assert sum(parts.values()) == counts[int(name)]
    json.dumps(seen)


def test_samples_are_training_rows_of_every_class() -> None:
    data = fb.Dataset.from_arrays(DIGITS.images / 16, DIGITS.target.tolist())
    rows = overview(data)["samples"]
    assert len(rows) == SAMPLES and set(rows) <= set(data.rows("train").tolist())
    assert set(DIGITS.target[rows]) == set(range(10))


def test_columns_of_a_table_tell_their_kind_their_gaps_and_how_they_lie() -> None:
    wine = sklearn.datasets.load_wine()
    alcohol = [None if i < 30 else v for i, v in enumerate(wine.data[:, 0].tolist())]
    columns = {"alcohol": alcohol, "hue": ["red" if v > 5 else "rose" for v in wine.data[:, 9]],
               "price": (wine.data[:, 12] / 3).tolist()}  # fmt: skip
    seen = overview(grouped(fb.Dataset(columns, target="price")))
    ((_, table),) = seen["columns"].items()
    told = table["columns"]["alcohol"]
    assert told["missing"] == 30 / 178 and told["least"] == wine.data[30:, 0].min() and sum(told["bins"]) == 148
    assert sum(table["columns"]["hue"]["counts"].values()) == 178
    assert sum(seen["target"]["bins"]) == 178 and "counts" not in seen["target"]


def test_of_many_classes_the_most_frequent_are_kept_and_all_are_counted() -> None:
    labels = [f"class {i % 100}" for i in range(1000)] + ["class 7"] * 20
    data = fb.Dataset({"x": np.arange(1020.0), "y": labels}, target="y")
    target = overview(data)["target"]
    assert target["distinct"] == 100 and len(target["counts"]) == MOST_NAMES
    assert next(iter(target["counts"])) == "class 7"
