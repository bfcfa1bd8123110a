"""From probabilities to decisions: a threshold by what mistakes cost or by a wanted precision or recall, and from which
confidence on an answer is given at all. Chosen on validation rows; what that gives is measured on others.

A threshold by costs is the one of the least cost on these rows, and not that of Elkan 2001, "The foundations of
cost-sensitive learning", which trusts the probabilities. A precision or an accuracy is had where its lower bound is as
high (Clopper and Pearson 1934, one-sided, at 80 %), for a threshold that rests on two rows may well be wrong on the
next: 0.9 takes 16 rows that are all right, 0.99 takes 161.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from flambeau.core.errors import DataError, UsageError
from flambeau.objectives.intervals import wilson
from flambeau.objectives.ranking import Curve

SURE = 0.8
"""How sure it is to be that a share of rows not looked at is what is wished: of few rows more must be right."""
COST = re.compile(r"(fn|fp)=([0-9.]+)")


@dataclass(frozen=True)
class Wish:
    """What a threshold is chosen by: one of `cost` (of a false negative, of a false positive), `precision` (the
    threshold of the highest recall that has it) and `recall` (that of the highest precision); and, with one of them or
    alone, the `accuracy` that answers are to have, the others being `unknown`.

    Raises:
        UsageError: there are several, or a share is none.
    """

    cost: tuple[float, float] | None = None
    precision: float | None = None
    recall: float | None = None
    accuracy: float | None = None

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.cost, self.precision, self.recall)) > 1:
            raise UsageError("a threshold is chosen by a cost, a precision or a recall", fix="give one of them")
        for name in ("precision", "recall", "accuracy"):
            if not 0 < (getattr(self, name) or 1.0) <= 1:
                raise UsageError(f"{name} {getattr(self, name):g} is no share", expected="above 0, at most 1")

    @classmethod
    def of(cls, cost: str | None = None, **shares: float | None) -> Wish | None:
        """That of a command line, where `cost` is such as "fn=10 fp=1"; None where nothing is wished."""
        costs = dict(COST.findall(cost or ""))
        if cost is not None and (len(costs) != 2 or COST.sub("", cost).strip(" ,")):
            raise UsageError(f"the cost '{cost}' does not fit", expected="such as 'fn=10 fp=1'")
        if cost is None and not any(value is not None for value in shares.values()):
            return None
        return cls((float(costs["fn"]), float(costs["fp"])) if costs else None, **shares)

    @property
    def of_threshold(self) -> bool:
        """Whether a threshold is wished, and not only a confidence."""
        return (self.cost, self.precision, self.recall) != (None, None, None)

    def __str__(self) -> str:
        said = []
        if self.cost is not None:
            said = [f"cost {self.cost[0]:g} of a false negative and {self.cost[1]:g} of a false positive"]
        shares = {name: getattr(self, name) for name in ("precision", "recall", "accuracy")}
        said += [f"{name} {share:g}" for name, share in shares.items() if share is not None]
        return " and ".join(said)


def decide(wish: Wish, curves: Mapping[str, Curve], sure: Curve | None) -> dict[str, Any]:
    """The decision that a wish leads to on validation rows, plain JSON as `Task.decision` takes it: {wish, why,
    thresholds: {class: logit}, reject_below}.

    Args:
        curves: by class, as of `Task.decided_by`: of one of two classes, or of each of several labels.
        sure: of the confidence.

    Raises:
        UsageError: the target has no threshold to choose. DataError: no threshold has what is wished.
    """
    thresholds = {}
    if wish.of_threshold:
        if not curves:
            found = "a threshold is for two classes, or for any number of labels (up to 20)"
            raise UsageError(found, fix="leave out cost, precision and recall")
        thresholds = {name: _threshold(wish, name, curve) for name, curve in curves.items()}
    reject_below = 0.0
    if wish.accuracy is not None:
        if sure is None:
            raise UsageError("answers of this target have no confidence", fix="leave out the accuracy")
        what = f"confidence from which on {wish.accuracy:g} are right"
        reject_below = 1 / (1 + math.exp(-_reach(sure, wish.accuracy, what, "validation rows")))
    margin = "" if wish.precision is None and wish.accuracy is None else f", {SURE:.0%} sure of it"
    why = f"{wish}, chosen on validation rows{margin}"
    return {"wish": asdict(wish), "why": why, "thresholds": thresholds, "reject_below": reject_below}


def _threshold(wish: Wish, name: str, curve: Curve) -> float:
    """The logit from which on the answer is the class."""
    if not len(curve.hits) or not curve.hits[-1]:
        raise DataError(f"no validation row is of '{name}', so no threshold can be chosen for it")
    hits, others, there = curve.hits, curve.others, curve.hits[-1]
    if wish.cost is not None:
        fn, fp = wish.cost
        cost = fn * (there - hits) + fp * others
        best = int(np.argmin(cost))
        return _between(curve, best) if cost[best] < fn * there else _between(curve, -1)
    precision = hits / (hits + others)
    if wish.precision is not None:
        return _reach(curve, wish.precision, f"threshold with precision {wish.precision:g}", f"'{name}'")
    assert wish.recall is not None
    enough = np.flatnonzero(hits >= wish.recall * there - 1e-9)
    return _between(curve, int(enough[np.argmax(precision[enough])]))


def at_least(right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """The share of right ones that there is at least, SURE of it, from counts (T).

    >>> [round(float(v), 3) for v in at_least(np.asarray([2, 16, 900]), np.asarray([0, 0, 100]))]
    [0.447, 0.904, 0.891]
    """
    from scipy.special import betaincinv

    return np.where(right > 0, betaincinv(np.maximum(right, 1), wrong + 1, 1 - SURE), 0.0)


def _reach(curve: Curve, share: float, what: str, of: str) -> float:
    """The lowest threshold from which on so large a share is right."""
    bounds = at_least(curve.hits, curve.others)
    good = np.flatnonzero(bounds >= share)
    if not len(good):
        best, rows = (float(bounds.max()), int(curve.hits[-1] + curve.others[-1])) if len(bounds) else (0.0, 0)
        expected = f"at most {best:.4g}, which {rows:,} validation rows are {SURE:.0%} sure of"
        raise DataError(f"there is no {what} for {of}", expected=expected)
    return _between(curve, int(good[-1]))


def _between(curve: Curve, at: int) -> float:
    """Half way between a score and the next lower one, so that rounding decides nothing; of -1 above all of them."""
    if at < 0:
        return float(curve.scores[0]) + 1.0
    lower = curve.scores[at + 1] if at + 1 < len(curve.scores) else curve.scores[at] - 1.0
    return float(curve.scores[at] + lower) / 2


def outcome(decision: Mapping[str, Any], curves: Mapping[str, Curve], sure: Curve | None) -> dict[str, Any]:
    """What a decision gives on other rows, beside what is had without it, as plain JSON: {labels: [{class, threshold,
    with, without}], answered: {reject_below, share, accuracy, interval, without}}."""
    cost = decision["wish"].get("cost")
    labels = [
        {"class": name, "threshold": round(1 / (1 + math.exp(-max(-80.0, min(80.0, score)))), 6),
         "with": _at(curves[name], score, cost), "without": _at(curves[name], 0.0, cost)}
        for name, score in decision["thresholds"].items() if name in curves
    ]  # fmt: skip
    found: dict[str, Any] = {"labels": labels}
    if decision["reject_below"] and sure is not None and len(sure.scores):
        p = decision["reject_below"]
        right, wrong = sure.above(math.log(p) - math.log1p(-p) if p < 1 else math.inf)
        every = int(sure.hits[-1] + sure.others[-1])
        accuracy = right / (right + wrong) if right + wrong else 0.0
        found["answered"] = {
            "reject_below": p, "share": (right + wrong) / every, "accuracy": accuracy,
            "interval": list(wilson(accuracy, right + wrong)) if right + wrong else None,
            "without": float(sure.hits[-1] / every),
        }  # fmt: skip
    return found


def _at(curve: Curve, score: float, cost: Any) -> dict[str, Any]:
    hits, others = curve.above(score)
    there, absent = (int(curve.hits[-1]), int(curve.others[-1])) if len(curve.hits) else (0, 0)
    said = hits + others
    precision, recall = hits / said if said else 0.0, hits / there if there else 0.0
    found = {
        "precision": precision, "precision_interval": list(wilson(precision, said)) if said else None,
        "recall": recall, "recall_interval": list(wilson(recall, there)) if there else None,
        "f1": 2 * hits / (said + there) if said + there else 0.0,
        "true_positives": hits, "false_positives": others, "false_negatives": there - hits,
        "true_negatives": absent - others,
    }  # fmt: skip
    if cost is not None:
        found["cost"] = (cost[0] * (there - hits) + cost[1] * others) / max(1, there + absent)
    return found
