"""What every loss and every metric by name promises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import cohen_kappa_score
from torch import Tensor

from flambeau.core import plugins
from flambeau.fields import Category
from flambeau.objectives.losses import LOSSES
from flambeau.objectives.metrics import METRICS, NamedMetric, named_metric
from flambeau.testing import check_loss, check_metric

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(12, 3, generator=GENERATOR)
CLASSES = torch.randint(3, (12,), generator=GENERATOR)
NUMBERS = torch.randn(12, 3, generator=GENERATOR)
PICTURES = torch.rand(4, 3, 34, 33, generator=GENERATOR), torch.rand(4, 3, 34, 33, generator=GENERATOR)
TAGS = torch.randn(12, 5, 3, generator=GENERATOR), torch.randint(3, (12, 5), generator=GENERATOR)
MASKS = torch.randn(4, 3, 6, 5, generator=GENERATOR), torch.randint(3, (4, 6, 5), generator=GENERATOR)
CASES = [
    ("cross_entropy", LOGITS, CLASSES), ({"name": "cross_entropy", "label_smoothing": 0.1}, LOGITS, CLASSES),
    ("bce", LOGITS, (NUMBERS > 0).float()), ("mse", LOGITS, NUMBERS), ("l1", LOGITS[:, :1], NUMBERS[:, 0]),
    ("huber", LOGITS, NUMBERS), ("tag_cross_entropy", *TAGS), ("pinball", LOGITS, NUMBERS),
    ("focal", LOGITS, CLASSES), ({"name": "focal", "gamma": 3, "label_smoothing": 0.1}, LOGITS, CLASSES),
    ("asymmetric", LOGITS, (NUMBERS > 0).float()),
    *((name, *MASKS) for name in ("pixel_cross_entropy", "pixel_focal", "dice", "lovasz", "dice_cross_entropy",
                                  "dice_focal", "lovasz_cross_entropy")),
    ("charbonnier", *PICTURES), ("ssim", *PICTURES), ("perceptual", *PICTURES),
]  # fmt: skip


def test_every_loss_has_a_case() -> None:
    cases = {c[0] if isinstance(c[0], str) else c[0]["name"] for c in CASES}
    of_boxes = {"aligned"}  # their means are over things, and not over rows: tests/objectives/dense/test_detection.py
    assert cases | of_boxes == set(LOSSES), "give the new loss a case"


@pytest.mark.parametrize(("asked", "output", "target"), CASES, ids=[str(case[0]) for case in CASES])
def test_it_holds_what_every_loss_promises(asked: Any, output: Tensor, target: Tensor) -> None:
    check_loss(asked, output, target)


@pytest.fixture
def kappa() -> Iterator[str]:
    """The metric of a plug-in, entered for one test."""
    file = "examples/plugins/kappa.py"
    plugins.load([file])
    yield "cohens_kappa"
    del METRICS._parts["cohens_kappa"]
    plugins._loaded.clear()


@pytest.mark.parametrize(("weights", "ours"), [(None, 0), ("linear", 1), ("quadratic", 2)])
def test_a_plugins_metric_is_scikit_learns(kappa: str, weights: str | None, ours: int) -> None:
    field = Category(["a", "b", "c"])
    asked = {"name": kappa, "weights": ours}
    check_metric(asked, field, LOGITS.softmax(1), CLASSES)
    metric = named_metric(asked, field)
    metric.update(LOGITS.softmax(1), CLASSES, torch.arange(12))
    expected = cohen_kappa_score(CLASSES, LOGITS.argmax(1), weights=weights)
    assert metric.values()[kappa] == pytest.approx(expected, abs=1e-12)


def broken_loss(
    output: Tensor, target: Tensor, reduction: str = "mean", sums: bool = False, company: bool = False,
    writes: bool = False,
) -> Tensor:  # fmt: skip
    if writes:
        target.add_(1)
    loss = (output - target).square().mean(1)
    loss = loss + loss.mean() if company else loss
    return loss if reduction == "none" else loss.sum() if sums else loss.mean()


@pytest.mark.parametrize("how", ["sums", "company", "writes"])
def test_a_loss_that_breaks_a_promise_is_seen(how: str) -> None:
    LOSSES.register("broken")(broken_loss)
    try:
        check_loss("broken", LOGITS, NUMBERS.clone())
        with pytest.raises(AssertionError):
            check_loss({"name": "broken", how: True}, LOGITS, NUMBERS.clone())
    finally:
        del LOSSES._parts["broken"]


class BrokenMetric(NamedMetric):
    bounds = (0.0, 1.0)

    def __init__(self, field: Any, how: str = ""):
        super().__init__(field)
        self.how, self.seen = how, 0

    def terms(self, output: Tensor, target: Tensor) -> Tensor:
        self.seen += 1
        right = (output.argmax(1) == target).double()
        return right.mean().expand(len(right)) * self.seen if self.how == "counts batches" else right

    def value(self, sums: Tensor, count: Tensor) -> Tensor:
        return sums / count + 2 * (self.how == "leaves its bounds")


@pytest.mark.parametrize("how", ["counts batches", "leaves its bounds"])
def test_a_metric_that_breaks_a_promise_is_seen(how: str) -> None:
    METRICS.register("broken")(BrokenMetric)
    try:
        check_metric("broken", Category(["a", "b", "c"]), LOGITS.softmax(1), CLASSES)
        with pytest.raises(AssertionError):
            check_metric({"name": "broken", "how": how}, Category(["a", "b", "c"]), LOGITS.softmax(1), CLASSES)
    finally:
        del METRICS._parts["broken"]


def test_where_a_metric_is_undefined_it_is_0(kappa: str) -> None:
    metric = named_metric(kappa, Category(["a", "b", "c"]))
    metric.update(torch.eye(3)[:1], torch.zeros(1, dtype=torch.int64), torch.arange(1))
    assert metric.values() == {kappa: 0.0} and np.isfinite(list(metric.values().values())).all()
