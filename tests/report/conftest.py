"""Runs for the report: real ones, trained in a moment on scikit-learn's digits."""

from __future__ import annotations

import math
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sklearn.datasets
import torch

import flambeau as fb
from flambeau.core.findings import Finding, Severity
from flambeau.run import Run

HOSTILE = [
    "<script>alert('1')</script>",
    '"><img src=x onerror=alert(2)>',
    "{braces}</style>",
    "R&amp <i>D",
    "\u202eesrever",
]
CHINESE = ["零", "一", "二", "三", "四类"]
FINDINGS = [
    Finding("leakage", Severity.WARNING, "12 pictures are in different splits",
            [f"train/<b>{i}</b>.png" for i in range(12)], list(range(12)), "keep one of each"),
    Finding("label-conflict", Severity.WARNING, "2 pictures carry two labels", ["甲.png", "乙.png"], [3, 5], "choose"),
    Finding("other-files", Severity.NOTE, "3 files are no pictures", ["</main><script>alert(3)</script>.txt"]),
]  # fmt: skip

VOID = {"meta", "link", "img", "br", "hr", "col"}


class Reader(HTMLParser):
    """Reads a page strictly: `faults` are the tags that do not match, which a browser would forgive."""

    def __init__(self, page: str):
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.style, self.text = "", ""
        self.feed(page)
        self.close()
        self.faults += self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "action", "data", "poster", "srcset"):
                self.addresses.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)
            if name == "style":
                self.style += f"\n{value}"

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.faults.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.text += data


@pytest.fixture(scope="session")
def read() -> type[Reader]:
    """`read(page)`: what is in it."""
    return Reader


@pytest.fixture(scope="session")
def names() -> list[str]:
    """The ten classes of `classification`."""
    return [*HOSTILE, *CHINESE]


def _fit(folder: Path, targets: list[Any], name: str, epochs: int = 2, **settings: Any) -> Run:
    digits = sklearn.datasets.load_digits()
    data = fb.Dataset.from_arrays(digits.images / 16, targets)
    settings |= {"cache": folder / "cache", "quiet": True, "epochs": epochs}
    learner = fb.Learner(data, model="mlp", run=folder / name, **settings)
    learner.findings = list(FINDINGS)
    learner.fit(check=False)
    assert learner.run is not None
    return learner.run


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="session")
def classification(folder: Path, names: list[str]) -> Run:
    """Ten classes, half of them named to break a page, half in Chinese; with findings."""
    return _fit(folder, [names[t] for t in sklearn.datasets.load_digits().target], "数字", epochs=3, log_every=5)


@pytest.fixture(scope="session")
def many_classes(folder: Path) -> Run:
    """Forty classes that cannot all be told apart."""
    digits = sklearn.datasets.load_digits().target
    return _fit(folder, [f"class {t}-{i % 4}" for i, t in enumerate(digits)], "many")


@pytest.fixture(scope="session")
def regression(folder: Path) -> Run:
    """The amount of ink in a digit."""
    return _fit(folder, sklearn.datasets.load_digits().images.mean((1, 2)).tolist(), "ink")


@pytest.fixture(scope="session")
def multilabel(folder: Path) -> Run:
    """Even or odd, and large or not."""
    digits = sklearn.datasets.load_digits().target
    return _fit(folder, [{"偶数" if t % 2 == 0 else "odd", *(["large"] if t > 4 else [])} for t in digits], "labels")


@pytest.fixture(scope="session")
def table(folder: Path) -> Run:
    """Wines by a few measurements, with gaps, names from right to left and a column of names; checked, with rivals."""
    wine = sklearn.datasets.load_wine()
    numbers = {name: wine.data[:, i].tolist() for i, name in enumerate(wine.feature_names[:4])}
    numbers["alcohol"][:30] = [None] * 30
    names = ["\u05d9\u05d9\u05df", "\u0646\u0628\u064a\u0630 <b>", "third"]
    columns = {**numbers, "colour": ["red" if c > 5 else "rose" for c in wine.data[:, 9]],
               "wine": [names[t] for t in wine.target]}  # fmt: skip
    data = fb.Dataset(columns, target="wine")
    learner = fb.Learner(data, run=folder / "wines", cache=folder / "cache", quiet=True, epochs=2)
    learner.fit()
    assert learner.run is not None
    return learner.run


@pytest.fixture(scope="session")
def forecast(folder: Path) -> Run:
    """Two weeks of hours with a daily course, a day ahead; one epoch."""
    hours = [f"2024-03-{1 + i // 24:02d} {i % 24:02d}:00" for i in range(24 * 28)]
    values = [10 + math.sin(i / 24 * 2 * math.pi) + 0.1 * ((i * 7919) % 13) for i in range(len(hours))]
    data = fb.Dataset.from_series(
        pl.DataFrame({"when": hours, "load": values}), time="when", target="load", horizon=24, length=48
    )
    learner = fb.Learner(data, run=folder / "load", cache=folder / "cache", quiet=True, epochs=1, batch_size=64)
    learner.fit()
    assert learner.run is not None
    return learner.run


@pytest.fixture(scope="session")
def own_parts(folder: Path) -> Run:
    """A module, a loss and a torch Dataset of the user's own, without validation: a run without fields."""
    digits = sklearn.datasets.load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    data = torch.utils.data.TensorDataset(inputs, inputs.mean(1, keepdim=True))
    model = torch.nn.Linear(64, 1)
    learner = fb.Learner(data, model=model, loss=torch.nn.L1Loss(), run=folder / "own", quiet=True, epochs=2)
    learner.fit()
    assert learner.run is not None
    return learner.run
