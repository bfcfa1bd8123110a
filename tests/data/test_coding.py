"""Labels in another coding are the same classes, and never numbers to regress."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from small import digits

import flambeau as fb
from flambeau.core.errors import DataError

X, Y = digits()
NAMES = np.asarray(["cat", "cow", "dog"])[Y % 3]
HOT = np.eye(10)[Y]
MULTI = np.stack([Y % 2 == 0, Y < 5, Y > 7], 1)


class Pet(Enum):
    cat = 1
    cow = 2
    dog = 3


def target(y: Any, **options: Any) -> Any:
    data = fb.Dataset.from_arrays(X, y, **options)
    data.fit()
    return data.fields["y"], [data.fields["y"].encode(value).tolist() for value in data.columns["y"]], data


@pytest.mark.parametrize(
    "y",
    [
        NAMES,
        NAMES.tolist(),
        NAMES.astype("S"),
        NAMES.astype("S").tolist(),
        NAMES.astype("S").astype(object),
        [Pet[name] for name in NAMES],
    ],
)
def test_names_in_any_form_are_classes(y: Any) -> None:
    field, encoded, _ = target(y)
    assert field.kind == "category" and field.classes == ["cat", "cow", "dog"] and encoded == (Y % 3).tolist()


@pytest.mark.parametrize(
    "y",
    [
        HOT,
        HOT.astype(int),
        HOT.astype(bool),
        HOT.astype(np.float32).tolist(),
        list(HOT),
        torch.as_tensor(HOT),
        torch.nn.functional.one_hot(torch.as_tensor(Y)),
        pl.Series(HOT.astype(int).tolist()).to_list(),
    ],
)
def test_one_hot_rows_are_classes_and_told(y: Any) -> None:
    field, encoded, data = target(y)
    assert field.kind == "category" and encoded == Y.tolist()
    assert [str(f) for f in data.findings] == [
        "note: the targets are one-hot rows of 10: each is read as the class of its 1, from 0 on"
    ]
    field, encoded, _ = target(y, fields={"y": fb.fields.Category(classes=list("abcdefghij"))})
    assert field.classes == list("abcdefghij") and encoded == Y.tolist()


@pytest.mark.parametrize("y", [MULTI, MULTI.astype(float), MULTI.astype(int).tolist(), torch.as_tensor(MULTI)])
def test_several_ones_are_labels(y: Any) -> None:
    field, encoded, data = target(y)
    assert field.kind == "multilabel" and encoded == MULTI.astype(float).tolist() and not data.findings
    named = fb.fields.MultiLabel(classes=["even", "small", "large"])
    assert target(y, fields={"y": named})[1] == MULTI.astype(float).tolist()


def test_what_only_looks_so_stays_as_it_is() -> None:
    assert target(HOT + 0.5)[0].kind == "number"
    assert target(HOT, fields={"y": fb.fields.Number()})[0].kind == "number"
    assert target(Y.astype(float))[0].kind == target(Y[:, None])[0].kind == target(Y > 4)[0].kind == "category"
    assert target(np.where(Y > 4, 1, -1))[0].classes == ["-1", "1"]
    field, encoded, _ = target([[0, 1] if n % 2 else [0] for n in Y], fields={"y": fb.fields.MultiLabel()})
    assert encoded == [[1, float(n % 2)] for n in Y]


def test_one_hot_rows_of_other_parts_are_read_in_the_same_way() -> None:
    data = fb.Dataset.from_arrays(X[:100], HOT[:100], valid=(X[100:], HOT[100:]))
    assert [int(value) for value in data.columns["y"]] == Y.tolist()


def test_a_frame_of_lists_is_read_too() -> None:
    frame = pl.DataFrame({"ink": X.mean((1, 2)), "y": HOT.astype(int).tolist()})
    data = fb.Dataset.from_frame(frame, target="y")
    assert data.fields["y"].kind == "category"


def test_arrays_in_other_forms_are_read_or_refused() -> None:
    x = np.zeros((30, 2), np.float32)
    column = fb.Dataset.from_arrays(x, [[i % 3] for i in range(30)])
    masked = fb.Dataset.from_arrays(x, np.ma.masked_array(np.arange(30) % 3, mask=np.arange(30) == 4))
    for data in (column, masked):
        data.fit()
        assert data.fields["y"].classes == ["0", "1", "2"]  # type: ignore[attr-defined]
    words = fb.Dataset.from_arrays({"x": x, "word": np.array([b"cat", b"dog"] * 15)}, np.arange(30) % 2)
    assert words.columns["word"][:2] == ["cat", "dog"]
    with pytest.raises(DataError, match="complex numbers"):
        fb.Dataset.from_arrays(x + 1j, np.arange(30) % 2)
