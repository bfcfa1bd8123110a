"""What an evaluation says of probabilities is what scikit-learn says of all rows at once, with intervals as wide as a
bootstrap's."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn import metrics
from sklearn.datasets import load_diabetes, load_digits

from flambeau.fields import Number
from flambeau.objectives.intervals import GROUPS
from flambeau.objectives.probabilities import LabelProbabilities, Probabilities
from flambeau.objectives.ranges import ByRange


def digits(classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities float32 (N, K) of a nearest-mean classifier on real digits, and the truth."""
    data = load_digits(n_class=classes)
    x = torch.as_tensor(data.data, dtype=torch.float32) + 40 * torch.randn(
        data.data.shape, generator=torch.Generator().manual_seed(0)
    )
    means = torch.stack([x[data.target == k].mean(0) for k in range(classes)])
    return (-torch.cdist(x, means) / 4).softmax(1).numpy(), data.target


def measured(p: np.ndarray, truth: np.ndarray, size: int = 57) -> Probabilities:
    metric = Probabilities([str(k) for k in range(p.shape[1])])
    for rows in torch.arange(len(p)).split(size):
        metric.update(torch.from_numpy(p)[rows], torch.from_numpy(truth)[rows], rows)
    return metric


def reference(p: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    k = p.shape[1]
    found = {
        "log_loss": metrics.log_loss(truth, p.astype(np.float64), labels=range(k)),
        "mcc": metrics.matthews_corrcoef(truth, p.argmax(1)),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, p.argmax(1)),
    }
    one_hot = np.eye(k)[truth]
    if k == 2:
        score = np.log(p[:, 0]) - np.log(p[:, 1])
        return found | {
            "brier": metrics.brier_score_loss(truth == 0, p[:, 0]),
            "roc_auc": metrics.roc_auc_score(truth == 0, score),
            "average_precision": metrics.average_precision_score(truth == 0, score),
        }
    tops = {f"top_{c}": metrics.top_k_accuracy_score(truth, p, k=c, labels=range(k)) for c in (2, 3, 5)}
    return found | tops | {
        "brier": float(np.square(p - one_hot).sum(1).mean()),
        "roc_auc": metrics.roc_auc_score(one_hot, p, average="macro"),
        "average_precision": metrics.average_precision_score(one_hot, p, average="macro"),
    }  # fmt: skip


@pytest.mark.parametrize("classes", [2, 10])
def test_the_figures_are_those_of_scikit_learn(classes: int) -> None:
    p, truth = digits(classes)
    metric = measured(p, truth)
    assert {n: metric.values()[n] for n in reference(p, truth)} == pytest.approx(reference(p, truth), rel=1e-4)
    json.dumps(metric.detail(), allow_nan=False)


@pytest.mark.parametrize("classes", [2, 10])
def test_every_interval_is_as_wide_as_that_of_a_bootstrap(classes: int) -> None:
    """Half a width, from 32 groups, is itself off by about one in eight; and that of 120 draws by one in 15. What lies
    between 0 and 1 has none narrower than a share of as many rows, which ROC AUC could have."""
    p, truth = digits(classes)
    random = np.random.default_rng(0)
    intervals = measured(p, truth).intervals()
    drawn = [reference(p[rows], truth[rows]) for rows in random.integers(0, len(p), (120, len(p)))]
    assert set(reference(p, truth)) <= set(intervals)
    for name, value in reference(p, truth).items():
        low, high = intervals[name]
        assert low < value < high, name
        bootstrap = np.std([one[name] for one in drawn])
        assert 0.67 * bootstrap < (high - low) / (2 * 1.96) < (2 if name == "roc_auc" else 1.5) * bootstrap, name


def test_the_curves_are_drawn_in_few_points_and_keep_their_area() -> None:
    p, truth = digits(2)
    p = p**0.2 / (p**0.2).sum(1, keepdims=True)
    detail = measured(p, truth).detail()
    (curve,) = detail["curves"]
    assert max(len(curve["roc"]), len(curve["precision_recall"]), len(detail["coverage"])) <= 101
    x, y = np.asarray(curve["roc"]).T
    assert np.trapezoid(y, x) == pytest.approx(metrics.roc_auc_score(truth == 0, p[:, 0]), abs=0.01)
    assert curve["roc"][-1] == [1.0, 1.0]


def test_the_surest_answers_are_right_more_often() -> None:
    p, truth = digits(10)
    points = measured(p, truth).detail()["coverage"]
    sure, right = p.max(1), p.argmax(1) == truth
    assert points[-1][:2] == pytest.approx([1.0, right.mean()], abs=1e-5)
    for share, accuracy, least in points[:-1:10]:
        kept = sure >= least - 1e-5
        assert kept.mean() == pytest.approx(share, abs=2e-3)
        assert right[kept].mean() == pytest.approx(accuracy, abs=2e-3)
    assert points[len(points) // 2][1] > points[-1][1]


def test_several_labels() -> None:
    random = np.random.default_rng(0)
    truth = random.random((400, 3)) < 0.4
    p = (0.6 * random.random((400, 3)) + 0.3 * truth).astype(np.float32)
    metric = LabelProbabilities(["a", "b", "c"])
    for rows in torch.arange(400).split(90):
        metric.update(torch.from_numpy(p)[rows], torch.from_numpy(truth).float()[rows], rows)
    found = metric.values()
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(truth, p, average="macro"))
    assert found["brier"] == pytest.approx(np.square(p - truth).mean(), rel=1e-5)
    assert found["log_loss"] == pytest.approx(metrics.log_loss(truth.ravel(), p.ravel().astype(float)), rel=1e-5)
    assert set(metric.intervals()) == set(found) and len(metric.groups) == GROUPS


def test_errors_by_range_of_the_truth_are_those_of_the_rows_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_diabetes()
    field = Number()
    field.fit(data.target[:300])
    guess = 0.5 * data.target + 80
    both = [torch.from_numpy(np.stack([field.encode(v) for v in values])) for values in (guess, data.target)]
    metric = ByRange(field)
    for rows in torch.arange(442).split(50):
        metric.update(both[0][rows, None], both[1][rows], rows)
    ranges = metric.detail()["ranges"]["true"]
    assert sum(one["count"] for one in ranges) == 442 and len(ranges) == 10
    first, last = ranges[0], ranges[-1]
    inside = (data.target >= first["low"] - 1e-3) & (data.target < first["high"] - 1e-3)
    assert first["count"] == inside.sum()
    assert first["bias"] == pytest.approx((guess - data.target)[inside].mean(), rel=1e-4)
    assert first["bias"] > 0 > last["bias"], "small numbers are told too large, and large ones too small"
    monkeypatch.setattr("flambeau.objectives.ranges.MOST", 100)
    few = ByRange(field)
    for rows in torch.arange(442).split(50):
        few.update(both[0][rows, None], both[1][rows], rows)
    assert 40 <= len(few.kept) <= 100
