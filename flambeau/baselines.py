"""Baselines: what the cheapest honest rivals reach on the same rows, and whether a network is needed at all.

Majority or mean, always; and a classical one by the kind of the inputs: gradient-boosted trees for tables, TF-IDF and
logistic regression for texts, logistic regression or ridge on shrunken pixels for small pictures, the nearest neighbour
for series. For forecasts the last value (naive), that of a season ago, and drift. They are fitted on the rows that the
model was trained on and measured on those that it is measured on, with the same metrics.
"""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from flambeau.core.reporter import QUIET, Reporter
from flambeau.data.dataset import Dataset
from flambeau.data.store import FixedColumn, RaggedColumn, Store, ViewColumn
from flambeau.fields import Category, Field, Forecast, History, Image, Number, Ragged, Series, Table, Text
from flambeau.objectives.metrics import MONITORS, for_field

MOST_ROWS = {"table": 400_000, "text": 60_000, "image": 12_000, "series": 5_000}
"""Training rows up to which each classical rival takes under a minute on one processor."""
MOST_CELLS = 20_000_000  # of a table
MOST_CLASSES = 30
SMALL_PICTURE = 96  # pixels a side
POOLED = 12
MOST_CATEGORY = 255  # what scikit-learn's trees take for one column; larger ones are taken as numbers

Guess = Callable[[np.ndarray], np.ndarray]
"""Rows to predictions: probabilities (n, K), or numbers (n), or (n, H), as the target's field encodes them."""


@dataclass
class Baseline:
    """What one rival reached.

    Attributes:
        name: what it is, in a few words.
        seconds: of fitting and predicting.
        metrics: by name, as the model's own.
    """

    name: str
    seconds: float
    metrics: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


@dataclass
class Rows:
    """What rivals see: the dataset and its encoded columns, the rows to learn from, and the encoded target by row."""

    dataset: Dataset
    store: Store
    train: np.ndarray
    target: Field
    y: np.ndarray

    @property
    def classes(self) -> bool:
        """Whether there are classes to tell apart."""
        return isinstance(self.target, Category)


def baselines(
    dataset: Dataset, store: Store, train: np.ndarray, held_out: np.ndarray, reporter: Reporter = QUIET
) -> list[Baseline]:
    """What the rivals reach, the simplest first; none where the target has no rival here, or there is too much data.

    Args:
        dataset: with fields as they were fitted on `train`.
        store: its encoded columns.
        train, held_out: rows to fit on and to measure on, int64.
    """
    target = dataset.fields.get(dataset.target or "")
    if not isinstance(target, (Category, Forecast, Number)) or (isinstance(target, Number) and target.shape):
        return []
    if not len(train) or not len(held_out) or (isinstance(target, Category) and len(target.classes) < 2):
        return []
    y = store.columns[dataset.target or ""].gather(torch.arange(len(dataset)).to(store.device))
    assert isinstance(y, torch.Tensor)
    rows = Rows(dataset, store, train, target, y.cpu().numpy())
    found = []
    for name, fit in _naive(rows) if isinstance(target, Forecast) else [_plain(rows), *_classical(rows)]:
        with reporter.bar(f"baseline: {name}", 1):
            began = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # scikit-learn's, on a fit that was stopped early on purpose
                guess = fit()(held_out)
            seconds = time.perf_counter() - began
        found.append(Baseline(name, round(seconds, 2), _measured(rows, guess, held_out)))
    return found


def verdict(found: list[dict[str, Any]], metrics: dict[str, float], kind: str) -> str | None:
    """One line that puts the best rival beside the model: "baseline 0.822 in 1.3 s; this model 0.899"."""
    monitor, more = MONITORS.get(kind, ("", True))
    if not found or monitor not in metrics:
        return None
    sign = 1 if more else -1
    best = max(found, key=lambda b: sign * b["metrics"][monitor])
    theirs, ours = best["metrics"][monitor], metrics[monitor]
    line = f"baseline {theirs:.4g} in {best['seconds']:.1f} s ({best['name']}); this model {ours:.4g} ({monitor})"
    if sign * theirs > sign * ours:
        line += ": the baseline wins"
    return line


def _measured(rows: Rows, guess: np.ndarray, held_out: np.ndarray) -> dict[str, float]:
    (metric,) = for_field(rows.target, False)
    metric.update(torch.from_numpy(guess), torch.from_numpy(rows.y[held_out]), torch.from_numpy(held_out))
    return metric.values()


def _plain(rows: Rows) -> tuple[str, Callable[[], Guess]]:
    if rows.classes:

        def majority() -> Guess:
            counts = np.bincount(rows.y[rows.train], minlength=len(rows.target.classes))  # type: ignore[attr-defined]
            return lambda held_out: np.tile((counts / counts.sum()).astype(np.float32), (len(held_out), 1))

        return "most frequent class", majority

    def mean() -> Guess:
        middle = np.float32(rows.y[rows.train].mean())
        return lambda held_out: np.full(len(held_out), middle, np.float32)

    return "mean", mean


def _naive(rows: Rows) -> list[tuple[str, Callable[[], Guess]]]:
    """What a window's own end says of the steps after it: the last value; the values a season before, where the window
    is that long; the last value and the window's mean slope (drift)."""
    name = rows.dataset.inputs[0]
    field, column, target = rows.dataset.fields[name], rows.store.columns[name], rows.target
    assert isinstance(target, Forecast)
    if not isinstance(field, History) or not isinstance(column, ViewColumn):
        return []
    length, horizon = field.length, field.horizon

    def rival(rule: Callable[[np.ndarray], np.ndarray]) -> Callable[[], Guess]:
        def guess(held_out: np.ndarray) -> np.ndarray:
            parts = []
            for chunk in np.array_split(held_out, max(1, len(held_out) // 1024)):
                windows = column.gather(torch.from_numpy(chunk).to(rows.store.device))
                parts.append(rule(windows[:, :length, 0].cpu().numpy()))
            return np.concatenate(parts)

        return lambda: guess

    ahead = np.arange(1, horizon + 1)

    def seasonal(season: int) -> Callable[[np.ndarray], np.ndarray]:
        return lambda past: past[:, length - season + (ahead - 1) % season]

    def drift(past: np.ndarray) -> np.ndarray:
        slope = (past[:, -1:] - past[:, :1]) / max(length - 1, 1)
        return (past[:, -1:] + slope * ahead).astype(np.float32)

    found = [("naive: the last value", rival(lambda past: np.repeat(past[:, -1:], horizon, 1)))]
    found += [(f"seasonal naive: {s} steps ago", rival(seasonal(s))) for s in target.seasons if 1 < s <= length]
    return [*found, ("drift", rival(drift))]


def _classical(rows: Rows) -> list[tuple[str, Callable[[], Guess]]]:
    """The classical rival, where the inputs are of one kind that has one and the rows are few enough."""
    fields = [(name, rows.dataset.fields[name]) for name in rows.dataset.inputs]
    if len(fields) != 1 or (rows.classes and len(rows.target.classes) > MOST_CLASSES):  # type: ignore[attr-defined]
        return []
    name, field = fields[0]
    many = len(rows.train)
    column = rows.store.columns[name]
    vector = isinstance(field, Number) and len(field.shape) <= 1
    if (isinstance(field, Table) or vector) and isinstance(column, FixedColumn):
        few = many <= MOST_ROWS["table"] and many * int(np.prod(field.encoding.shape)) <= MOST_CELLS
        return [("gradient-boosted trees", lambda: _trees(rows, field, column))] if few else []
    if isinstance(field, Text) and isinstance(column, RaggedColumn):
        return [("TF-IDF and a linear model", lambda: _tf_idf(rows, column))] if many <= MOST_ROWS["text"] else []
    if isinstance(field, Series) and isinstance(column, FixedColumn) and rows.classes:
        return [("the nearest neighbour", lambda: _neighbour(rows, column))] if many <= MOST_ROWS["series"] else []
    if isinstance(field, Image) and isinstance(column, FixedColumn):
        few = many <= MOST_ROWS["image"] and max(field.encoding.shape[:2]) <= SMALL_PICTURE
        return [("a linear model on small pixels", lambda: _pixels(rows, column))] if few else []
    return []


def _trees(rows: Rows, field: Field, column: FixedColumn) -> Guess:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    x = column.values.cpu().numpy()
    x = x.reshape(len(x), -1)
    categories: list[int] = []
    if isinstance(field, Table):
        first = field.num_numbers
        categories = [first + i for i, size in enumerate(field.input_shape[1:]) if size <= MOST_CATEGORY]
    kind = HistGradientBoostingClassifier if rows.classes else HistGradientBoostingRegressor
    model = kind(categorical_features=categories or None, random_state=0).fit(x[rows.train], rows.y[rows.train])
    return _guess(rows, model, lambda held_out: x[held_out])


def _tf_idf(rows: Rows, column: RaggedColumn) -> Guess:
    """Of the tokens as the field cut them, and of neighbouring pairs."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    def documents(of: np.ndarray) -> list[list[str]]:
        found = []
        for chunk in np.array_split(of, max(1, len(of) // 1024)):
            gathered: Ragged = column.gather(torch.from_numpy(chunk).to(rows.store.device))
            lengths = gathered.lengths.tolist()
            found += [[str(t) for t in row[:n]] for row, n in zip(gathered.values.tolist(), lengths, strict=True)]
        return found

    vectors = TfidfVectorizer(analyzer=_single_and_pairs, min_df=2 if len(rows.train) > 200 else 1, sublinear_tf=True)
    x = vectors.fit_transform(documents(rows.train))
    model = _linear(rows, 10.0).fit(x, rows.y[rows.train])
    return _guess(rows, model, lambda held_out: vectors.transform(documents(held_out)))


def _single_and_pairs(tokens: list[str]) -> list[str]:
    return [*tokens, *(f"{a} {b}" for a, b in itertools.pairwise(tokens))]


def _pixels(rows: Rows, column: FixedColumn) -> Guess:
    """Pictures shrunken to 12 pixels a side."""

    def small(of: np.ndarray) -> np.ndarray:
        parts = []
        for chunk in np.array_split(of, max(1, len(of) // 1024)):
            pictures = column.gather(torch.from_numpy(chunk).to(rows.store.device)).float().permute(0, 3, 1, 2) / 255
            side = min(POOLED, *pictures.shape[2:])
            parts.append(torch.nn.functional.adaptive_avg_pool2d(pictures, side).flatten(1).cpu().numpy())
        return np.concatenate(parts)

    x = small(rows.train)
    middle = x.mean(0)
    model = _linear(rows, 0.1).fit(x - middle, rows.y[rows.train])
    return _guess(rows, model, lambda held_out: small(held_out) - middle)


def _neighbour(rows: Rows, column: FixedColumn) -> Guess:
    """The class of the training series that is nearest, step by step."""
    from sklearn.neighbors import KNeighborsClassifier

    x = column.values.flatten(1).cpu().numpy()
    model = KNeighborsClassifier(1).fit(x[rows.train], rows.y[rows.train])
    return _guess(rows, model, lambda held_out: x[held_out])


def _linear(rows: Rows, strength: float) -> Any:
    """Logistic regression, or ridge; `strength` is the inverse of the penalty."""
    from sklearn.linear_model import LogisticRegression, Ridge

    return LogisticRegression(C=strength, max_iter=200) if rows.classes else Ridge(alpha=1 / strength)


def _guess(rows: Rows, model: Any, features: Callable[[np.ndarray], Any]) -> Guess:
    """What a fitted scikit-learn model says; classes that no training row has get the probability 0."""

    def guess(held_out: np.ndarray) -> np.ndarray:
        x = features(held_out)
        if not rows.classes:
            return model.predict(x).astype(np.float32)
        out = np.zeros((len(held_out), len(rows.target.classes)), np.float32)  # type: ignore[attr-defined]
        out[:, model.classes_] = model.predict_proba(x)
        return out

    return guess
