"""How far figures may be off, and whether one model is better than another."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    matthews_corrcoef,
    mean_absolute_percentage_error,
    roc_auc_score,
)

from flambeau.core.errors import UsageError
from flambeau.fields import Category, MultiLabel, Number
from flambeau.objectives.classification import Classification
from flambeau.objectives.intervals import difference, groups_of, winner
from flambeau.objectives.metrics import MultiLabelClassification, Regression
from flambeau.objectives.ranking import Ranking
from flambeau.objectives.tasks import task_of


def of_classes(counts: list[int]) -> Category:
    field = Category()
    field.fit([name for name, count in zip("abcdef", counts, strict=False) for _ in range(count)])
    return field


def measured(probabilities: np.ndarray, truth: np.ndarray, field: Category, parts: int = 3) -> Classification:
    metric = Classification(field.classes, detail=False, balanced=True, positive=field.rarest)
    rows = torch.arange(len(truth))
    for part in rows.chunk(parts):
        metric.update(torch.from_numpy(probabilities)[part], torch.from_numpy(truth)[part], part)
    return metric


def scores(rows: int, share: float, strength: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (N, 2) of which the first class is the rare one, and the true classes."""
    random = np.random.default_rng(seed)
    truth = (random.random(rows) > share).astype(np.int64)
    logits = random.normal(size=rows) + strength * (1 - truth) - 2
    p = 1 / (1 + np.exp(-logits))
    return np.stack([p, 1 - p], 1).astype(np.float32), truth


def test_the_figures_of_rare_classes_are_those_of_scikit_learn() -> None:
    p, truth = scores(3000, 0.1, 1.5)
    found = measured(p, truth, of_classes([10, 90])).values()
    guess, rare = p.argmax(1), truth == 0
    expected = {
        "roc_auc": roc_auc_score(rare, p[:, 0]), "average_precision": average_precision_score(rare, p[:, 0]),
        "balanced_accuracy": balanced_accuracy_score(truth, guess), "mcc": matthews_corrcoef(truth, guess),
        "f1": f1_score(truth, guess, average="macro"), "accuracy": (truth == guess).mean(),
    }  # fmt: skip
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-5)
    many = np.random.default_rng(1).dirichlet(np.ones(4), 500).astype(np.float32)
    truth = np.random.default_rng(2).integers(0, 4, 500)
    found = measured(many, truth, of_classes([10, 10, 10, 10])).values()
    assert found["mcc"] == pytest.approx(matthews_corrcoef(truth, many.argmax(1)), abs=1e-6)
    assert "roc_auc" not in found


def test_of_very_many_scores_ranks_are_counted_and_hardly_less_exact() -> None:
    p, truth = scores(20_000, 0.1, 1.5)
    ranking = Ranking(exact=1000)
    logits = np.log(p[:, 0]) - np.log(p[:, 1])
    for part in np.array_split(np.arange(len(p)), 40):
        ranking.add(logits[part], truth[part] == 0, part * 0)
    assert sum(len(scores) for scores, _, _ in ranking._parts) < 4000
    assert ranking.values().roc_auc == pytest.approx(roc_auc_score(truth == 0, logits), abs=1e-3)
    assert ranking.values().average_precision == pytest.approx(average_precision_score(truth == 0, logits), abs=5e-3)


def test_ninety_five_of_a_hundred_intervals_hold_the_truth() -> None:
    """Of the binomial distribution of what a right method would hold, 89 of 100 is less than 1 % likely."""
    whole, truths = scores(400_000, 0.2, 1.0)
    everything = measured(whole, truths, of_classes([20, 80])).values()
    held = dict.fromkeys(everything, 0)
    for seed in range(100):
        rows = np.random.default_rng(seed).choice(len(truths), 400, replace=False)
        for name, (low, high) in measured(whole[rows], truths[rows], of_classes([20, 80])).intervals().items():
            held[name] += low <= everything[name] <= high
    assert min(held.values()) >= 89, held


def test_an_interval_of_all_right_is_not_empty() -> None:
    p = np.tile(np.asarray([[0.9, 0.1]], np.float32), (30, 1))
    low, high = measured(p, np.zeros(30, np.int64), of_classes([20, 80])).intervals()["accuracy"]
    assert (low, high) == pytest.approx((0.8865, 1.0), abs=1e-3)


def test_an_interval_ends_where_the_metric_does() -> None:
    field = Number()
    field.fit([0.0, 1.0, 2.0, 3.0])
    metric = Regression(field, detail=False)
    truth = torch.linspace(-1, 1, 40)[:, None]
    error = torch.zeros(40, 1)
    error[7] = 0.5  # one row alone is off, so that an even interval would reach over both ends
    metric.update(truth + error, truth, torch.arange(40))
    intervals = metric.intervals()
    assert intervals["r2"][1] == 1.0 and intervals["mae"][0] == 0.0 and intervals["rmse"][0] == 0.0


def test_a_difference_is_of_the_same_rows() -> None:
    """Two models that are wrong on the same rows are told apart by the few where they differ."""
    p, truth = scores(2000, 0.3, 1.5)
    better, alike = p.copy(), p.copy()
    wrong = np.flatnonzero(p.argmax(1) != truth)
    better[wrong[:40]] = better[wrong[:40], ::-1]
    alike[wrong[:20]] = alike[wrong[:20], ::-1]
    right = np.flatnonzero(p.argmax(1) == truth)
    alike[right[:18]] = alike[right[:18], ::-1]
    field = of_classes([20, 80])
    base = measured(p, truth, field)
    for other, says in ((better, "model"), (alike, "tie")):
        ours = measured(other, truth, field)
        parts = (m.without_groups()["accuracy"] for m in (ours, base))
        a, b = ours.values()["accuracy"], base.values()["accuracy"]
        found = difference(a, b, *parts)
        rival = {"metrics": {"accuracy": b}, "differences": {"accuracy": found}}
        assert winner(rival, {"accuracy": a}, "accuracy") == says
        # apart, both intervals overlap
        assert ours.intervals()["accuracy"][0] < base.intervals()["accuracy"][1]


def test_neighbours_that_are_not_independent_are_in_one_group() -> None:
    groups = groups_of(torch.arange(4000), block=100)
    assert all(len(set(part.tolist())) == 1 for part in groups.split(100))
    assert groups_of(torch.arange(3200)).bincount(minlength=32).min() >= 98


def test_the_percent_of_errors_is_given_where_every_number_is_above_0() -> None:
    random = np.random.default_rng(0)
    truth = random.uniform(1, 9, 200)
    field = Number(standardise=False, transform="none")
    field.fit(truth.tolist())
    guess = truth + random.normal(size=200)
    metric = Regression(field, False)
    metric.update(torch.from_numpy(guess), torch.from_numpy(truth), torch.arange(200))
    assert metric.values()["mape"] == pytest.approx(100 * mean_absolute_percentage_error(truth, guess))
    metric.update(torch.zeros(1), torch.zeros(1), torch.arange(1))
    assert "mape" not in metric.values()


def test_average_precision_of_several_labels() -> None:
    random = np.random.default_rng(0)
    truth = random.random((300, 3)) < 0.3
    p = (random.random((300, 3)) * 0.5 + truth * 0.3).astype(np.float32)
    metric = MultiLabelClassification(MultiLabel(["a", "b", "c"]), False)
    metric.update(torch.from_numpy(p), torch.from_numpy(truth).float(), torch.arange(300))
    found = metric.values()
    assert found["average_precision"] == pytest.approx(average_precision_score(truth, p, average="macro"))
    assert found["micro_average_precision"] == pytest.approx(average_precision_score(truth, p, average="micro"))


@pytest.mark.parametrize(
    ("counts", "metric"),
    [
        ([500, 500], "accuracy"),
        ([190, 810], "roc_auc"),  # a rare one of two
        ([210, 790], "accuracy"),
        ([9, 991], "accuracy"),  # too few to measure anything on
        ([300, 300, 400], "accuracy"),
        ([50, 450, 500], "f1"),
    ],
)
def test_where_a_class_is_rare_accuracy_is_not_the_measure(counts: list[int], metric: str) -> None:
    assert task_of(of_classes(counts)).measure() == (metric, True)


def test_a_metric_that_is_none_is_told_with_those_that_are() -> None:
    two = task_of(of_classes([50, 50]))
    assert two.measure("auc") == ("roc_auc", True) and two.measure("loss") == ("loss", False)
    with pytest.raises(UsageError, match=r"no metric 'roc_acu'.*did you mean 'roc_auc'"):
        two.measure("roc_acu")
    assert "roc_auc" not in task_of(of_classes([5, 5, 5])).known
