"""Parts of the rows that are worse by more than chance are named, and others are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import flambeau as fb
from flambeau.core.errors import DataError
from flambeau.data.slicing import Slicing, slicings
from flambeau.fields import Category, Mask, Number
from flambeau.objectives.slices import BySlice, answer
from flambeau.objectives.tasks import task_of


def compared(right: np.ndarray, *ways: np.ndarray) -> dict:
    """The slices of answers that are right or wrong, each way with parts 0, 1, …"""
    field = Category()
    field.fit(["a", "b"] * 10)
    parts = [Slicing(f"way{i}", [str(v) for v in range(w.max() + 1)], w.astype(np.int32)) for i, w in enumerate(ways)]
    metric = BySlice(task_of(field), parts)
    output = torch.stack([torch.ones(len(right)), torch.zeros(len(right))], 1)
    for rows in torch.arange(len(right)).split(64):
        metric.update(output[rows], torch.from_numpy(~right).long()[rows], rows)
    return metric.detail()["slices"]


def test_a_part_that_fails_is_named_with_the_p_of_fisher_and_holm() -> None:
    random = np.random.default_rng(0)
    part, other = random.integers(0, 5, 1000), random.integers(0, 4, 1000)
    right = random.random(1000) < np.where(part == 3, 0.7, 0.9)
    slices = compared(right, part, other)
    (worst,) = slices["worst"]
    assert (worst["slice"], worst["value"], worst["count"]) == ("way0", "3", (part == 3).sum())
    table = [[(right & (part == 3)).sum(), (~right & (part == 3)).sum()],
             [(right & (part != 3)).sum(), (~right & (part != 3)).sum()]]  # fmt: skip
    assert worst["p"] == pytest.approx(9 * stats.fisher_exact(table, alternative="less").pvalue)
    assert worst["score"] == pytest.approx(right[part == 3].mean()) and worst["rest"] > worst["score"]
    assert answer(slices).startswith("where way0 = 3 (accuracy ") and "of 9 slices by way0, way1" in answer(slices)


def test_of_a_hundred_looks_at_chance_hardly_any_names_a_part() -> None:
    """In at most 5 of 100 evaluations any of 40 parts may be named; more than 11 of 100 is less than 1 % likely."""
    random = np.random.default_rng(0)
    named = 0
    for _ in range(100):
        ways = [random.integers(0, 10, 400) for _ in range(4)]
        named += bool(compared(random.random(400) < 0.8, *ways)["worst"])
    assert named <= 11


def test_numbers_are_compared_by_their_errors() -> None:
    random = np.random.default_rng(0)
    part = random.integers(0, 3, 600)
    truth = random.normal(size=600)
    field = Number(standardise=False, transform="none")
    field.fit(truth.tolist())
    error = random.normal(size=600) * np.where(part == 1, 2.0, 1.0)
    metric = BySlice(task_of(field), [Slicing("part", ["x", "y", "z"], part.astype(np.int32))])
    metric.update(torch.from_numpy(truth + error)[:, None], torch.from_numpy(truth), torch.arange(600))
    (worst,) = metric.detail()["slices"]["worst"]
    assert worst["value"] == "y" and worst["score"] == pytest.approx(np.abs(error[part == 1]).mean())
    welch = stats.ttest_ind(np.abs(error[part == 1]), np.abs(error[part != 1]), equal_var=False, alternative="greater")
    assert worst["p"] == pytest.approx(3 * welch.pvalue, rel=1e-6)


def test_shares_of_wrong_pixels_have_an_interval_within_a_whole() -> None:
    field = Mask(["ground", "fish"])
    metric = BySlice(task_of(field), [Slicing("size", ["small", "large"], np.array([0, 0, 1, 1], np.int32))])
    target = torch.ones(4, 1, 4, dtype=torch.int64)
    target[0, 0, 0] = 0  # a quarter is right, else nothing
    metric.update(torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(4, 2, 1, 4), target, torch.arange(4))
    part, _ = metric.detail()["slices"]["by"][0]["parts"]
    assert part["score"] == 0.875 and part["interval"] == [0.0, 1.0]


def test_what_rows_can_be_parted_by_is_found() -> None:
    random = np.random.default_rng(0)
    n = 200
    data = fb.Dataset(
        {"text": [f"number {i} " + "word " * (i % 40) for i in range(n)], "id": list(range(n)),
         "age": random.normal(size=n),
         "city": ["Lyon" if i % 3 else None for i in range(n)], "note": [f"note {i}" for i in range(n)],
         "y": ["a" if i % 2 else "b" for i in range(n)]},
        target="y", inputs=["text"], split="none",
    )  # fmt: skip
    rows = np.arange(0, n, 2)
    found = {one.name: one for one in slicings(data, rows)}
    assert set(found) == {"length", "age", "city"}, "names of rows and of single rows are no parts"
    assert found["length"].values[0].endswith("characters") and found["city"].values == ["Lyon", "(missing)"]
    codes = found["age"].codes
    assert (codes[1::2] == -1).all() and np.bincount(codes[rows]).tolist() == [20] * 5
    assert [one.name for one in slicings(data, rows, ["note"])] == ["note"]
    with pytest.raises(DataError, match="nothing called 'aeg' to slice by; did you mean 'age'"):
        slicings(data, rows, ["aeg"])
    with pytest.raises(DataError, match="nothing to compare by 'city'"):
        slicings(data, np.arange(1, 3), ["city"])


def test_pictures_are_parted_by_size_and_by_the_folder_below_their_class(tmp_path: Path) -> None:
    from PIL import Image

    for i in range(60):
        folder = tmp_path / "ab"[i % 2] / ("phone" if i % 3 else "scanner")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8 + i, 8), (i, i, i)).save(folder / f"{i}.png")
    found = {one.name: one for one in slicings(fb.Dataset.from_folder(tmp_path, split="none"), np.arange(60))}
    assert set(found) == {"size", "folder"}
    assert sorted(found["folder"].values) == ["phone", "scanner"]
    assert found["size"].values[-2].endswith("536 pixels")
