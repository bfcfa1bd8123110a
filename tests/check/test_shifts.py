"""What a split has in another form, what a series tells of its future, what a sound lacks: each is found where it is
planted, and not said of a healthy sibling."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_digits, load_sample_image
from tones import as_file, noise, tone

import flambeau as fb
from flambeau.core.findings import Finding
from flambeau.fields.sound.files import resample

N = 300
SPLIT = ["train"] * 200 + ["valid"] * 100
ODD = {"unit-change", "drift", "inverted", "swapped-channels", "future-leak", "mostly-silent", "empty-band"}


def findings(data: fb.Dataset) -> dict[str, Finding]:
    return {f.check: f for f in data.check() if f.check in ODD}


@pytest.mark.parametrize(("factor", "moved", "check"), [(1000, 0, "unit-change"), (1 / 2.54, 0, "unit-change"),
                                                         (1, 30, "drift"), (1, 0, None)])  # fmt: skip
def test_another_unit_is_told_from_a_drift(factor, moved, check):
    random = np.random.default_rng(0)
    height = random.normal(170, 10, N)
    height[200:] = height[200:] * factor + moved
    columns = {"height": height, "other": random.normal(size=N), "y": random.integers(0, 2, N)}
    found = findings(fb.Dataset(columns, target="y", split=SPLIT))
    assert [*found] == ([check] if check else [])
    if check == "unit-change":
        told = float(re.search(r"about ([\d.,]+) times", found[check].message)[1].replace(",", ""))
        assert found[check].places == ["height"] and told == pytest.approx(factor, rel=0.05)


def pictures() -> np.ndarray:
    """Real digits, as uint8 (N, 8, 8)."""
    return np.rint(load_digits().images[:N] * (255 / 16)).astype(np.uint8)


def photos() -> np.ndarray:
    """Parts of a real photo of a flower before a wall, in mixed order."""
    photo = load_sample_image("flower.jpg")
    parts = [photo[y : y + 40, x : x + 40] for y in range(0, 380, 22) for x in range(0, 600, 32)]
    return np.stack(parts)[np.random.default_rng(0).permutation(len(parts))[:N]]


@pytest.mark.parametrize(("make", "change", "check"), [
    (pictures, lambda p: 255 - p, "inverted"), (pictures, lambda p: p, None), (pictures, lambda p: p // 3, None),
    (photos, lambda p: p[..., ::-1], "swapped-channels"), (photos, lambda p: p, None),
    (photos, lambda p: np.clip(p * [1.3, 1.0, 0.8], 0, 255).astype(np.uint8), None),
    (photos, lambda p: p[:, ::-1], None),
])  # fmt: skip
def test_a_split_of_negatives_or_of_another_order_of_channels(make, change, check):
    values = make()
    values[200:] = change(values[200:])
    labels = np.arange(N) % 3
    found = findings(fb.Dataset({"picture": values, "y": labels}, target="y", split=SPLIT))
    assert [*found] == ([check] if check else [])
    if check:
        assert "valid rows" in found[check].message


@pytest.mark.parametrize(("known", "past", "check"), [
    ("target 3 steps later", None, "future-leak"), ("target", None, "future-leak"),
    (None, "target later", "future-leak"), ("target long before", None, None), (None, "target before", None),
    ("noise", "noise", None), ("calendar", None, None),
])  # fmt: skip
def test_a_column_that_tells_the_future_of_a_series(known, past, check, tmp_path: Path):
    random = np.random.default_rng(0)
    course = np.cumsum(random.normal(size=N + 60))
    now = course[30 : N + 30]
    columns = {
        "target 3 steps later": 2 * course[33 : N + 33] + 1, "target": now, "target later": course[31 : N + 31],
        "target long before": course[18 : N + 18], "target before": course[29 : N + 29],
        "noise": random.normal(size=N), "calendar": np.sin(np.arange(N) / 12 * 2 * np.pi),
    }  # fmt: skip
    if known == "calendar":
        now = 3 * columns["calendar"]  # a course that comes again by itself
    frame = {"time": np.arange(N), "y": now}
    frame |= {"k": columns[known]} if known else {}
    frame |= {"p": columns[past]} if past else {}
    pl.DataFrame(frame).write_csv(tmp_path / "s.csv")
    data = fb.Dataset.from_series(tmp_path / "s.csv", time="time", target="y", horizon=6, known=["k"] if known else [])
    found = findings(data)
    assert [*found] == ([check] if check else [])
    if check:
        assert found[check].places == ["k" if known else "p"]


def sounds(change) -> dict[str, Finding]:
    files = [as_file(noise(0.5, seed=i) + tone(300 + 40 * i, 0.5, level=0.1)) for i in range(12)]
    for i in (3, 7):
        files[i] = change(files[i], i)
    data = fb.Dataset({"sound": files, "y": ["a", "b", "c"] * 4}, target="y", fields={"sound": fb.fields.Audio()},
                      split="none")  # fmt: skip
    return findings(data)


def test_a_sound_of_a_lower_rate_and_one_that_is_mostly_silence():
    def raised(file: bytes, i: int) -> bytes:
        low = np.rint(32767 * noise(0.5, 8_000, seed=i)).astype(np.int16)
        return as_file(resample(low, 8_000, 16_000) / np.float32(32768))

    def stopped(file: bytes, i: int) -> bytes:
        return as_file(np.r_[noise(0.04, seed=i), np.zeros(16_000, np.float32)])

    found = sounds(raised)
    assert [*found] == ["empty-band"] and found["empty-band"].rows == [3, 7]
    assert "nothing above 4,000 Hz at 16,000" in found["empty-band"].message
    found = sounds(stopped)
    assert found["mostly-silent"].rows == [3, 7]
    assert not sounds(lambda file, i: as_file(tone(3000, 0.5)))  # a pure tone has no edge
    assert not sounds(lambda file, i: as_file(np.cumsum(noise(0.5, seed=i, level=0.003)).astype(np.float32)))  # brown
    assert not sounds(lambda file, i: as_file(0.01 * noise(0.5, seed=i)))  # soft
