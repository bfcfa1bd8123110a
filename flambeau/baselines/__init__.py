"""Baselines: what the cheapest honest rivals reach on the same rows, and whether a network is needed at all.

Majority or mean, always; and a classical one by the kind of each input: gradient-boosted trees for tables, TF-IDF and
logistic regression for texts, logistic regression or ridge on shrunken pixels for small pictures and on pooled bands
for sounds, the nearest neighbour for series, the most frequent tag of each word for sentences. For forecasts the last
value (naive), that of a season ago, and drift. They are fitted on the rows that the model was trained on and measured
on those that it is measured on, with the same metrics.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from flambeau.baselines.classical import MOST_CLASSES, MOST_ROWS, classical
from flambeau.baselines.forecasts import naive
from flambeau.baselines.rows import Guess, Rival, Rows
from flambeau.baselines.tags import most_frequent_tags
from flambeau.core.reporter import QUIET, Reporter
from flambeau.data.dataset import Dataset
from flambeau.data.store import Store
from flambeau.fields import Category, Field, Forecast, MultiLabel, Number, Tags
from flambeau.objectives.metrics import MONITORS, for_field

__all__ = ["MOST_CLASSES", "MOST_ROWS", "Baseline", "baselines", "verdict"]


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
    if not len(train) or not len(held_out) or not _has_rivals(target):
        return []
    assert target is not None
    if isinstance(target, Tags):
        rows = Rows(dataset, store, train, target, np.zeros(0))
        measures = [("the most frequent tag of each word", lambda: most_frequent_tags(rows, held_out))]
    else:
        y = store.columns[dataset.target or ""].gather(torch.arange(len(dataset)).to(store.device))
        assert isinstance(y, torch.Tensor)
        rows = Rows(dataset, store, train, target, y.cpu().numpy())
        rivals = naive(rows) if isinstance(target, Forecast) else [_plain(rows), *classical(rows)]
        measures = [(rival.name, _measure(rows, rival, held_out)) for rival in rivals]
    found = []
    for name, measure in measures:
        with reporter.bar(f"baseline: {name}", 1), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's, on a fit that was stopped early on purpose
            began = time.perf_counter()
            metrics = measure()
            found.append(Baseline(name, round(time.perf_counter() - began, 2), metrics))
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


def _has_rivals(target: Field | None) -> bool:
    if isinstance(target, Number):
        return not target.shape
    if isinstance(target, (Category, MultiLabel, Tags)):
        return len(target.classes) > isinstance(target, Category)
    return isinstance(target, Forecast)


def _measure(rows: Rows, rival: Rival, held_out: np.ndarray) -> Callable[[], dict[str, float]]:
    def measured() -> dict[str, float]:
        guess = rival.fit()(held_out)
        (metric,) = for_field(rows.target, False)
        metric.update(torch.from_numpy(guess), torch.from_numpy(rows.y[held_out]), torch.from_numpy(held_out))
        return metric.values()

    return measured


def _plain(rows: Rows) -> Rival:
    """The most frequent class, how frequent each label is, or the mean."""
    y = rows.y[rows.train]
    if isinstance(rows.target, Category):
        counts = np.bincount(y, minlength=len(rows.target.classes))
        return Rival("most frequent class", lambda: _always((counts / counts.sum()).astype(np.float32)))
    if isinstance(rows.target, MultiLabel):
        return Rival("how frequent each label is", lambda: _always(y.mean(0).astype(np.float32)))
    return Rival("mean", lambda: _always(np.float32(y.mean())))


def _always(answer: Any) -> Guess:
    return lambda held_out: np.repeat(np.asarray(answer)[None], len(held_out), 0)
