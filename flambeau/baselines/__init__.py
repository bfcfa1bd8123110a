"""Baselines: what the cheapest honest rivals reach on the same rows, and whether a network is needed at all.

Majority or mean, always; and a classical one by the kind of each input: gradient-boosted trees for tables, TF-IDF and
logistic regression for texts, logistic regression or ridge on shrunken pixels for small pictures and on pooled bands
for sounds, the nearest neighbour for series, the most frequent tag of each word for sentences. For forecasts the last
value (naive), that of a season ago, and drift. They are fitted on the rows that the model was trained on and measured
on those that it is measured on, with the same metrics.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from flambeau.baselines.classical import MOST_CLASSES, MOST_ROWS, classical
from flambeau.baselines.forecasts import naive
from flambeau.baselines.rows import LIMIT, Budget, Rival, Rows
from flambeau.baselines.tags import most_frequent_tags
from flambeau.core.reporter import QUIET, Reporter
from flambeau.data.dataset import Dataset
from flambeau.data.store import Store
from flambeau.fields import Category, Field, Forecast, MultiLabel, Number, Tags
from flambeau.objectives.intervals import differences
from flambeau.objectives.metrics import Grouped, Metric, for_field

__all__ = ["MOST_CLASSES", "MOST_ROWS", "Baseline", "baselines"]

MANY = 5_000  # training rows from which it is said what takes its time


@dataclass
class Baseline:
    """What one rival reached.

    Attributes:
        name: what it is, in a few words.
        seconds: of fitting and predicting.
        metrics: by name, as the model's own.
        note: where it was cut short, how.
        without: metrics without each group of rows, as of `Objective.without_groups`.
    """

    name: str
    seconds: float
    metrics: dict[str, float]
    note: str = ""
    without: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"name": self.name, "seconds": self.seconds, "metrics": self.metrics, "note": self.note}

    def beside(self, metrics: Mapping[str, float], without: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """As plain JSON, with how a model differs from it, with 95 % intervals.

        Args:
            metrics: the model's, on the same rows.
            without: those without each group of rows, as of `Objective.without_groups`.
        """
        return {**self.to_dict(), "differences": differences(metrics, self.metrics, without, self.without)}


def baselines(
    dataset: Dataset, store: Store, train: np.ndarray, held_out: np.ndarray, reporter: Reporter = QUIET, *,
    metric: str = "auto", other: tuple[Dataset, Store] | None = None, limit: float = LIMIT,
) -> list[Baseline]:  # fmt: skip
    """What the rivals reach, the simplest first; none where the target has no rival here.

    Args:
        dataset: with fields as they were fitted on `train`.
        store: its encoded columns.
        train, held_out: rows to fit on and to measure on, int64.
        metric: the measure of the model.
        other: the data that `held_out` are rows of, where it is not this.
        limit: seconds that each may be fitted for; it is stopped then, and that is noted.
    """
    target = dataset.fields.get(dataset.target or "")
    if not len(train) or not len(held_out) or not _has_rivals(target):
        return []
    assert target is not None
    rows = _rows(dataset, store, train, target)
    of = rows if other is None else _rows(*other, np.zeros(0, np.int64), target)
    if isinstance(target, Tags):
        rivals: list[Rival] = []
        measures = [("the most frequent tag of each word", lambda budget: most_frequent_tags(rows, of, held_out))]
    else:
        rivals = naive(rows) if isinstance(target, Forecast) else [_plain(rows), *classical(rows)]
        measures = [(rival.name, _measure(rival, of, held_out, metric)) for rival in rivals]
    found = []
    for name, measure in measures:
        if len(train) >= MANY:
            reporter.say(f"baseline: {name}, of {len(train):,} training rows, {limit:.0f} s at most")
        with reporter.bar(f"baseline: {name}", int(limit)) as bar, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's, on a fit that was stopped early on purpose
            budget = Budget(limit, bar)
            measured = measure(budget)
            note = ", ".join(budget.notes)
            assert isinstance(measured, Grouped)
            found.append(Baseline(name, round(budget.spent, 2), measured.values(), note, measured.without_groups()))
    return found


def _rows(dataset: Dataset, store: Store, train: np.ndarray, target: Field) -> Rows:
    """What rivals see; of tags, which they read as they are written, not the encoded target."""
    if isinstance(target, Tags):
        return Rows(dataset, store, train, target, np.zeros(0))
    y = store.columns[dataset.target or ""].gather(torch.arange(len(dataset)).to(store.device))
    assert isinstance(y, torch.Tensor)
    return Rows(dataset, store, train, target, y.cpu().numpy())


def _has_rivals(target: Field | None) -> bool:
    if isinstance(target, Number):
        return not target.shape
    if isinstance(target, (Category, MultiLabel, Tags)):
        return len(target.classes) > isinstance(target, Category)
    return isinstance(target, Forecast)


def _measure(rival: Rival, of: Rows, held_out: np.ndarray, metric: str) -> Callable[[Budget], Metric]:
    def measured(budget: Budget) -> Metric:
        guess = rival.fit(budget)(of, held_out)
        (found,) = for_field(of.target, False, metric)
        found.update(torch.from_numpy(guess), torch.from_numpy(of.y[held_out]), torch.from_numpy(held_out))
        return found

    return measured


def _plain(rows: Rows) -> Rival:
    """The most frequent class, how frequent each label is, or the mean."""
    y = rows.y[rows.train]
    if isinstance(rows.target, Category):
        counts = np.bincount(y, minlength=len(rows.target.classes))
        return _always("most frequent class", (counts / counts.sum()).astype(np.float32))
    if isinstance(rows.target, MultiLabel):
        return _always("how frequent each label is", y.mean(0).astype(np.float32))
    return _always("mean", np.float32(y.mean()))


def _always(name: str, answer: Any) -> Rival:
    return Rival(name, lambda budget: lambda of, held_out: np.repeat(np.asarray(answer)[None], len(held_out), 0))
