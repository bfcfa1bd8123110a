"""Streaming metrics give what scikit-learn gives for all samples at once."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sklearn.metrics
import torch
from sklearn.datasets import load_diabetes, load_digits

from flambeau.core.errors import UsageError
from flambeau.fields import Category, MultiLabel, Number
from flambeau.objectives.classification import WORST, Classification
from flambeau.objectives.metrics import MultiLabelClassification, Own, Regression
from flambeau.objectives.tasks import task_of


def in_batches(metric: object, output: torch.Tensor, target: torch.Tensor, size: int = 37) -> None:
    rows = torch.arange(len(output))
    for part in rows.split(size):
        metric.update(output[part], target[part], rows[part])  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def classified() -> tuple[Classification, torch.Tensor, torch.Tensor]:
    """Probabilities of a nearest-mean classifier on real digits, which is right for about nine in ten."""
    digits = load_digits()
    x, y = torch.as_tensor(digits.data, dtype=torch.float32), torch.as_tensor(digits.target)
    means = torch.stack([x[:900][y[:900] == k].mean(0) for k in range(10)])
    probabilities = (-torch.cdist(x[900:], means) / 4).softmax(1)
    field = Category()
    field.fit(digits.target)
    metric = Classification(field.classes, detail=True)
    in_batches(metric, probabilities, y[900:])
    return metric, probabilities, y[900:]


def test_classification_is_that_of_scikit_learn(classified: tuple[Classification, torch.Tensor, torch.Tensor]) -> None:
    metric, probabilities, y = classified
    guess = probabilities.argmax(1)
    assert metric.values()["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(y, guess))
    assert metric.values()["f1"] == pytest.approx(sklearn.metrics.f1_score(y, guess, average="macro"))
    detail = metric.detail()
    assert np.array_equal(detail["confusion"], sklearn.metrics.confusion_matrix(y, guess))
    precision, recall, f1, count = sklearn.metrics.precision_recall_fscore_support(y, guess)
    for name, ours in (("precision", precision), ("recall", recall), ("f1", f1), ("count", count)):
        assert [c[name] for c in detail["per_class"]] == pytest.approx(list(ours))


def test_the_worst_mistakes_are_the_surest(classified: tuple[Classification, torch.Tensor, torch.Tensor]) -> None:
    metric, probabilities, y = classified
    worst = metric.detail()["worst"]
    confidence, guess = probabilities.max(1)
    score = torch.where(guess == y, 0, confidence - probabilities.gather(1, y[:, None])[:, 0])
    assert [w["row"] for w in worst] == score.argsort(descending=True)[:WORST].tolist()
    assert all(w["true"] != w["predicted"] for w in worst)
    first = worst[0]
    assert (first["true"], first["predicted"]) == (str(int(y[first["row"]])), str(int(guess[first["row"]])))


def test_calibration_is_the_gap_between_confidence_and_accuracy(
    classified: tuple[Classification, torch.Tensor, torch.Tensor],
) -> None:
    metric, probabilities, y = classified
    calibration = metric.detail()["calibration"]
    confidence, guess = (t.numpy() for t in probabilities.max(1))
    right = guess == y.numpy()
    bins = np.minimum((confidence * 15).astype(int), 14)
    gaps = [abs(confidence[bins == b].sum() - right[bins == b].sum()) for b in range(15)]
    assert calibration["error"] == pytest.approx(sum(gaps) / len(y), rel=1e-5)
    assert sum(calibration["count"]) == len(y)


def test_a_class_that_is_absent_does_not_count_into_macro_f1() -> None:
    metric = Classification(["a", "b", "c"], detail=False)
    in_batches(metric, torch.eye(3)[[0, 1, 1, 0]], torch.tensor([0, 1, 1, 1]))
    assert metric.values()["f1"] == pytest.approx(sklearn.metrics.f1_score([0, 1, 1, 1], [0, 1, 1, 0], average="macro"))


def test_several_labels_are_those_of_scikit_learn() -> None:
    digits = load_digits()
    truth = np.stack([digits.target % 2 == 0, digits.target < 5, np.isin(digits.target, (0, 6, 8, 9))], 1)
    # the ink in three parts of the picture is a poor but real prediction
    ink = np.stack([digits.images[:, :, a:b].mean((1, 2)) / 8 for a, b in ((0, 3), (3, 5), (5, 8))], 1).clip(0, 1)
    metric = MultiLabelClassification(MultiLabel(["even", "round", "small"], threshold=0.4), detail=True)
    in_batches(metric, torch.as_tensor(ink), torch.as_tensor(truth).float())
    guess = torch.as_tensor(ink).float().numpy() >= np.float32(0.4)
    values = metric.values()
    assert values["f1"] == pytest.approx(sklearn.metrics.f1_score(truth, guess, average="macro"))
    assert values["micro_f1"] == pytest.approx(sklearn.metrics.f1_score(truth, guess, average="micro"))
    assert values["exact_match"] == pytest.approx(sklearn.metrics.accuracy_score(truth, guess))
    assert len(metric.detail()["worst"]) == WORST


@pytest.mark.parametrize("offset", [0.0, 1e9])
def test_numbers_are_those_of_scikit_learn_however_far_from_zero(offset: float) -> None:
    diabetes = load_diabetes()
    y = diabetes.target + offset
    field = Number()
    field.fit(y[:300])
    guess = y.mean() + 900 * diabetes.data[:, 2]  # the body mass index
    scaled = [torch.from_numpy(np.stack([field.encode(v) for v in values])) for values in (guess, y)]
    metric = Regression(field, detail=True)
    in_batches(metric, scaled[0][:, None], scaled[1])  # a head gives (B, 1)
    values = metric.values()
    # the float32 of a standardised value carries 24 bits of about four deviations
    assert values["mae"] == pytest.approx(sklearn.metrics.mean_absolute_error(y, guess), rel=1e-4)
    assert values["rmse"] == pytest.approx(sklearn.metrics.root_mean_squared_error(y, guess), rel=1e-4)
    assert values["r2"] == pytest.approx(sklearn.metrics.r2_score(y, guess), rel=1e-4)
    json.dumps(metric.detail(), allow_nan=False)
    worst = metric.detail()["worst"]
    assert [w["row"] for w in worst] == np.argsort(-np.abs(y - guess))[:WORST].tolist()


def test_an_own_function_is_averaged_over_samples() -> None:
    def right(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (output.argmax(1) == target).float().mean()

    metric = Own(right)
    in_batches(metric, torch.eye(4)[[0, 1, 2, 3, 0]], torch.tensor([0, 1, 2, 0, 0]), size=2)
    assert metric.values() == {"right": 0.8}


def test_an_own_metric_of_torchmetrics_streams() -> None:
    torchmetrics = pytest.importorskip("torchmetrics")
    metric = Own(torchmetrics.Accuracy(task="multiclass", num_classes=4))
    with torch.inference_mode():
        in_batches(metric, torch.eye(4)[[0, 1, 2, 3, 0]], torch.tensor([0, 1, 2, 0, 0]), size=2)
    assert list(metric.values().values()) == pytest.approx([0.8])
    again = Own(metric.metric)  # a new evaluation starts from nothing
    in_batches(again, torch.eye(4)[[0]], torch.tensor([1]))
    assert list(again.values().values()) == [0.0]


def test_what_is_no_metric_is_refused() -> None:
    with pytest.raises(UsageError, match="not a metric"):
        Own(3)


def test_a_target_of_another_kind_has_no_metrics() -> None:
    assert task_of(None).metrics(detail=False) == []
