"""Baselines: what the cheapest honest rivals reach on the same rows, and whether a network is needed at all.

Majority or mean, always; and a classical one by the kind of each input: gradient-boosted trees for tables, TF-IDF and
logistic regression for texts, logistic regression or ridge on shrunken pixels for small pictures and on pooled bands
for sounds, the nearest neighbour for series, the most frequent tag of each word for sentences, a table of
words for texts to texts, the most frequent
class at the mean boxes for boxes in pictures, the most frequent class and logistic regression on each pixel's colour
for masks. For pictures to pictures the input itself, enlarged or filtered. For forecasts the last value (naive), that
of a season ago, and drift. For what a text goes on with, n-grams with Kneser-Ney
smoothing. They are fitted on the rows that the model was trained on and measured on those that it is measured on, with
the same metrics.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from flambeau.baselines.answers import best_sentence
from flambeau.baselines.boxes import mean_boxes
from flambeau.baselines.classical import MOST_CLASSES, RIVALS, OfInput, classical
from flambeau.baselines.forecasts import naive
from flambeau.baselines.language import foretold
from flambeau.baselines.masks import of_pixels
from flambeau.baselines.pictures import filtered
from flambeau.baselines.rows import LIMIT, Budget, Features, Rival, Rows
from flambeau.baselines.tags import most_frequent_tags
from flambeau.baselines.texts import word_by_word
from flambeau.core.reporter import QUIET, Reporter
from flambeau.data.dataset import Dataset
from flambeau.data.store.store import Store
from flambeau.objectives.intervals import differences
from flambeau.objectives.metrics import Grouped, Metric
from flambeau.objectives.tasks import Task, task_of

__all__ = ["LIMIT", "MOST_CLASSES", "RIVALS", "Baseline", "OfInput", "baselines"]

Measure = Callable[[Budget], Sequence[Metric | Grouped]]
"""Fits a rival and measures it."""
Family = Callable[[Rows, Rows, np.ndarray, str], Sequence[tuple[str, Measure, bool]]]
"""Given rows to learn from, the data that is measured on, which rows of it, and the measure of the model: what each
rival is called, how it is measured, and whether it says the same whatever it is asked."""
MOST_NUMBERS = 2**24  # of answers that are measured at once: of very many classes, a row has many
MANY = 5_000  # training rows from which it is said what takes its time


@dataclass
class Baseline:
    """What one rival reached.

    Attributes:
        name: what it is, in a few words.
        seconds: of fitting and predicting.
        metrics: by name, as the model's own.
        note: where it was cut short, how.
        constant: whether it says the same whatever it is asked.
        without: metrics without each group of rows, as of `Objective.without_groups`.
    """

    name: str
    seconds: float
    metrics: dict[str, float]
    note: str = ""
    constant: bool = False
    without: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"name": self.name, "seconds": self.seconds, "metrics": self.metrics, "note": self.note,
                "constant": self.constant}  # fmt: skip

    def beside(self, metrics: Mapping[str, float], without: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """As plain JSON, with how a model differs from it, with 95 % intervals.

        Args:
            metrics: the model's, on the same rows.
            without: those without each group of rows, as of `Objective.without_groups`.
        """
        return {**self.to_dict(), "differences": differences(metrics, self.metrics, without, self.without)}


def baselines(
    dataset: Dataset, store: Store, train: np.ndarray, held_out: np.ndarray, reporter: Reporter = QUIET, *,
    metric: str = "auto", other: tuple[Dataset, Store] | None = None, limit: float = LIMIT, task: Task | None = None,
    constant: bool = False, pretrained: Features | None = None,
) -> list[Baseline]:  # fmt: skip
    """What the rivals reach, the simplest first; none where the target has no rival here.

    Args:
        dataset: with fields as they were fitted on `train`.
        store: its encoded columns.
        train, held_out: rows to fit on and to measure on, int64.
        metric: the measure of the model.
        other: the data that `held_out` are rows of, where it is not this.
        limit: seconds that each may be fitted for; it is stopped then, and that is noted.
        task: what is learned; what follows from the target if not given.
        constant: only those that say the same whatever they are asked.
        pretrained: what the network that the training began with makes of rows, where that was pretrained.
    """
    target = dataset.fields.get(dataset.target or dataset.inputs[0])  # a text is its own
    task = task or task_of(dataset.fields.get(dataset.target or ""))
    if not len(train) or not len(held_out) or not task.has_rivals:
        return []
    assert target is not None
    rows = Rows(dataset, store, train, target, task, pretrained)
    of = rows if other is None else Rows(*other, np.zeros(0, np.int64), target, task)
    found = []
    for name, measure, same in FAMILIES[task.rivals](rows, of, held_out, metric):
        if constant and not same:
            continue
        if len(train) >= MANY:
            reporter.say(f"baseline: {name}, of {len(train):,} training rows, {limit:.0f} s at most")
        with reporter.bar(f"baseline: {name}", int(limit)) as bar, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's, on a fit that was stopped early on purpose
            budget = Budget(limit, bar)
            rival = Baseline(name, 0.0, {}, constant=same)
            for measured in measure(budget):
                rival.metrics |= measured.values()
                rival.without |= measured.without_groups() if isinstance(measured, Grouped) else {}
            rival.seconds, rival.note = round(budget.spent, 2), ", ".join(budget.notes)
            found.append(rival)
    return found


def _of_samples(rivals: Callable[[Rows], list[Rival]]) -> Family:
    """A family of rivals that answer for each sample what a model answers."""

    def family(rows: Rows, of: Rows, held_out: np.ndarray, metric: str) -> list[tuple[str, Measure, bool]]:
        return [(rival.name, _measure(rival, of, held_out, metric), rival.constant) for rival in rivals(rows)]

    return family


def _measure(rival: Rival, of: Rows, held_out: np.ndarray, metric: str) -> Measure:
    def measured(budget: Budget) -> Sequence[Metric]:
        guess = rival.fit(budget)(of, held_out)
        measures = of.task.measured_by(False, metric)
        size = max(1, MOST_NUMBERS // max(1, guess[:1].size))
        for start in range(0, len(held_out), size):
            part = held_out[start : start + size]
            answers = np.ascontiguousarray(guess[start : start + size])
            for one in measures:
                one.update(torch.from_numpy(answers), torch.from_numpy(of.y[part]), torch.from_numpy(part))
        return measures

    return measured


def _constant(rows: Rows) -> Rival:
    """The best answer that is the same for each sample."""
    name, answer = rows.task.constant(rows.y[rows.train])
    return Rival(name, lambda budget: lambda of, held_out: np.broadcast_to(answer, (len(held_out), *answer.shape)),
                 constant=True)  # fmt: skip


def _tags(rows: Rows, of: Rows, held_out: np.ndarray, metric: str) -> list[tuple[str, Measure, bool]]:
    name = "the most frequent tag of each word"
    return [(name, lambda budget: most_frequent_tags(rows, of, held_out, metric), False)]


def _boxes(rows: Rows, of: Rows, held_out: np.ndarray, metric: str) -> list[tuple[str, Measure, bool]]:
    name = "the most frequent class at the mean boxes"
    return [(name, lambda budget: mean_boxes(rows, of, held_out, metric), True)]


FAMILIES: dict[str, Family] = {
    "answers": best_sentence,
    "boxes": _boxes,
    "classical": _of_samples(lambda rows: [_constant(rows), *classical(rows)]),
    "language": foretold,
    "masks": of_pixels,
    "naive": _of_samples(naive),
    "pictures": filtered,
    "tags": _tags,
    "texts": word_by_word,
}
"""By the name that a Task says."""
