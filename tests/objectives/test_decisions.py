"""A threshold is the one that a look at all of them would choose."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta
from sklearn.metrics import confusion_matrix, precision_score, recall_score

from flambeau.core.errors import DataError, UsageError
from flambeau.fields import Category, MultiLabel
from flambeau.objectives.decisions import Wish, decide, outcome
from flambeau.objectives.ranking import Curve, Ranking
from flambeau.objectives.tasks import task_of

RANDOM = np.random.default_rng(0)
TRUTH = RANDOM.random(500) < 0.3
SCORES = (RANDOM.normal(size=500) + 1.5 * TRUTH - 1).astype(np.float32)


def curve_of(scores: np.ndarray = SCORES, truth: np.ndarray = TRUTH) -> Curve:
    ranking = Ranking()
    for part in np.array_split(np.arange(len(scores)), 4):
        ranking.add(scores[part], truth[part], part % 32)
    return ranking.curve()


def chosen(wish: Wish) -> np.ndarray:
    """What is said to be of the class, bool (500)."""
    return decide(wish, {"x": curve_of()}, None)["thresholds"]["x"] <= SCORES


def every_threshold() -> list[np.ndarray]:
    return [score <= SCORES for score in (*np.unique(SCORES), np.inf)]


def test_a_threshold_by_cost_is_the_cheapest() -> None:
    def cost(said: np.ndarray) -> float:
        return 10 * (TRUTH & ~said).sum() + 1 * (said & ~TRUTH).sum()

    assert cost(chosen(Wish(cost=(10, 1)))) == min(map(cost, every_threshold()))
    assert not (chosen(Wish(cost=(0.001, 1e6))) & ~TRUTH).any(), "where a false alarm costs very much, none is given"


def surely(right: int, of: int) -> float:
    return beta.ppf(0.2, right, of - right + 1) if right else 0.0


def test_a_threshold_by_precision_keeps_the_recall_as_high_as_may_be_and_the_other_way_round() -> None:
    figures = [(precision_score(TRUTH, said, zero_division=0), recall_score(TRUTH, said)) for said in every_threshold()]
    sure = [surely((TRUTH & said).sum(), said.sum()) for said in every_threshold()]
    said = chosen(Wish(precision=0.8))
    assert precision_score(TRUTH, said) >= 0.8
    assert recall_score(TRUTH, said) == max(r for (_, r), p in zip(figures, sure, strict=True) if p >= 0.8)
    said = chosen(Wish(recall=0.9))
    assert recall_score(TRUTH, said) >= 0.9
    assert precision_score(TRUTH, said) == max(p for p, r in figures if r >= 0.9)


def test_what_it_gives_is_counted_on_other_rows() -> None:
    decision = decide(Wish(cost=(5, 1)), {"x": curve_of()}, None)
    (label,) = outcome(decision, {"x": curve_of(SCORES[::2] + 0.3, TRUTH[::2])}, None)["labels"]
    said = SCORES[::2] + np.float32(0.3) >= decision["thresholds"]["x"]
    tn, fp, fn, tp = confusion_matrix(TRUTH[::2], said).ravel()
    names = ("true_negatives", "false_positives", "false_negatives", "true_positives")
    assert [label["with"][name] for name in names] == [tn, fp, fn, tp]
    assert label["with"]["cost"] == pytest.approx((5 * fn + fp) / 250)
    low, high = label["with"]["recall_interval"]
    assert low < label["with"]["recall"] < high


def test_the_least_confidence_that_makes_answers_right_enough() -> None:
    right = RANDOM.random(2000) < 1 / (1 + np.exp(-(sure := RANDOM.uniform(0, 4, 2000).astype(np.float32))))
    curve = curve_of(sure, right)
    decision = decide(Wish(accuracy=0.9), {}, curve)
    answered = outcome(decision, {}, curve)["answered"]
    assert answered["accuracy"] >= 0.9 > answered["without"]
    kept = 1 / (1 + np.exp(-sure.astype(np.float64))) >= decision["reject_below"]
    assert answered["share"] == pytest.approx(kept.mean())
    order = np.argsort(-sure)
    shares = right[order].cumsum() / np.arange(1, 2001)
    assert kept.sum() == max(n for n in range(1, 2001) if surely(right[order][:n].sum(), n) >= 0.9)
    assert shares[kept.sum() - 1] > 0.9


def test_two_rows_that_happen_to_be_right_make_no_precision() -> None:
    scores, truth = np.arange(100, 0, -1, dtype=np.float32), np.arange(100) % 2 == 0
    truth[:2] = True
    with pytest.raises(DataError, match=r"at most 0\.\d+, which 100 validation rows are 80% sure of"):
        decide(Wish(precision=0.9), {"x": curve_of(scores, truth)}, None)
    truth[:16] = True  # the fewest that are enough
    assert decide(Wish(precision=0.9), {"x": curve_of(scores, truth)}, None)["thresholds"]["x"] <= 100 - 15


def test_the_other_of_two_classes_has_the_same_curve_seen_from_the_other_end() -> None:
    other = curve_of(-SCORES, ~TRUTH)
    for mine, theirs in zip(curve_of().flipped(), other, strict=True):
        assert np.array_equal(mine, theirs)


def test_answers_go_by_the_threshold() -> None:
    field = Category()
    field.fit(["no"] * 70 + ["yes"] * 30)
    task = task_of(field)
    sure = np.asarray([0.7, 0.3], np.float32)
    assert task.decode(sure).label == "no"
    task.decision = {"thresholds": {"yes": float(np.log(0.25 / 0.75))}, "reject_below": 0.0}
    answer = task.decode(sure)
    assert (answer.label, round(answer.confidence or 0, 2)) == ("yes", 0.3)
    assert task.decode(np.asarray([0.8, 0.2], np.float32)).label == "no"
    task.decision = {"thresholds": {}, "reject_below": 0.9}
    assert task.decode(sure).label == "unknown"
    labels = task_of(MultiLabel(["a", "b"]))
    labels.decision = {"thresholds": {"a": 2.0, "b": -2.0}, "reject_below": 0.0}
    assert labels.decode(np.asarray([0.8, 0.2], np.float32)).label == ["b"]


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(DataError, match=r"no threshold with precision 0.999 for 'x'; expected at most 0\.\d+"):
        decide(Wish(precision=0.999), {"x": curve_of(-SCORES)}, None)
    with pytest.raises(DataError, match="no validation row is of 'x'"):
        decide(Wish(recall=0.9), {"x": curve_of(truth=TRUTH & False)}, None)
    with pytest.raises(UsageError, match="a threshold is for two classes"):
        decide(Wish(recall=0.9), {}, None)
    with pytest.raises(UsageError, match="have no confidence"):
        decide(Wish(accuracy=0.9), {}, None)
    with pytest.raises(UsageError, match="the cost 'fn=10' does not fit; expected such as 'fn=10 fp=1'"):
        Wish.of("fn=10")
    with pytest.raises(UsageError, match="recall 90 is no share"):
        Wish.of(None, recall=90.0)
    with pytest.raises(UsageError, match="give one of them"):
        Wish(precision=0.9, recall=0.9)
    field = Category()
    field.fit(["a", "b", "c"] * 9)
    with pytest.raises(UsageError, match="positive is one of two classes"):
        task_of(field).decided_by({}, "a")
