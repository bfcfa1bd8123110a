"""What probabilities are worth beyond the answers that they lead to: log-loss, Brier score, top k, and every threshold
at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from flambeau.objectives.classification import Classification
from flambeau.objectives.intervals import GROUPS, Grouped, groups_of
from flambeau.objectives.ranking import EXACT, Curve, Ranking, Ranks

TOP = (2, 3, 5)
MOST_RANKED = 20  # classes that are ranked one against the rest
MOST_CURVES = 6  # that are drawn, of the most frequent classes
POINTS = 100  # of each
TINY = 1e-38


@runtime_checkable
class Ranked(Protocol):
    """What a metric gives that knows every threshold."""

    def curves(self) -> dict[str, Curve]:
        """By class: of scores that are logits of its probability."""
        ...

    def confidence(self) -> Curve | None:
        """Of logits of the confidence, of which the right answers are the hits."""
        ...


class Probabilities(Classification):
    """Of one class of K, from probabilities (B, K): log-loss (of the true class, natural logarithm), the Brier score
    (Brier 1950: the mean squared distance from the truth, over all classes; of two classes half of that, as usual),
    how often the true class is among the likeliest k, Matthews' correlation coefficient and balanced accuracy; of up to
    20 classes ROC AUC and average precision, of two for the rarer one, else the mean over classes, each against the
    rest.

    Args:
        positive: which of two classes is the rarer one.
    """

    def __init__(self, classes: list[str], positive: int = 0):
        super().__init__(classes, detail=False, balanced=True, positive=positive)
        k = len(classes)
        self.top = [count for count in TOP if count < k]
        self.proportions = ("accuracy", *(f"top_{count}" for count in self.top))
        # beside those of classes: log-loss, Brier score, and the true class among the first k
        self.sums = torch.zeros(GROUPS, 3 * k + 2 + len(self.top), dtype=torch.float64)
        self.rankings = [Ranking(EXACT // k) for _ in classes] if 2 < k <= MOST_RANKED else []
        self.sure = Ranking()

    @property
    def by_class(self) -> Tensor:
        k = len(self.classes)
        return self.sums[:, : 3 * k].unflatten(1, (3, k))

    def update(self, output: Tensor, target: Tensor, rows: Tensor) -> None:
        super().update(output, target, rows)
        p, truth, groups = output.float().cpu(), target.cpu(), groups_of(rows)
        of_true = p.gather(1, truth[:, None])
        squared = p.double().square().sum(1) - 2 * of_true[:, 0].double() + 1
        # behind those that are likelier, and as `argmax` does behind equal ones that come first
        equal_before = (p == of_true) & (torch.arange(p.shape[1]) < truth[:, None])
        place = ((p > of_true) | equal_before).sum(1)
        terms = [-of_true[:, 0].double().clamp_min(TINY).log(), squared / (2 if p.shape[1] == 2 else 1)]
        terms += [(place < count).double() for count in self.top]
        self.sums[:, 3 * len(self.classes) :].index_add_(0, groups, torch.stack(terms, 1))
        group = groups.numpy()
        for i, ranking in enumerate(self.rankings):
            ranking.add(logit(p[:, i]), (truth == i).numpy(), group)
        confidence, guess = p.max(1)
        self.sure.add(logit(confidence), (guess == truth).numpy(), group)

    def score(self, sums: Tensor) -> dict[str, Tensor]:
        k = len(self.classes)
        by_class = sums[:, : 3 * k].unflatten(1, (3, k))
        count = by_class[:, 2].sum(1).clamp_min(1)
        more = zip(("log_loss", "brier", *(f"top_{c}" for c in self.top)), sums[:, 3 * k :].unbind(1), strict=True)
        return super().score(by_class) | {name: total / count for name, total in more}

    def values(self) -> dict[str, float]:
        return super().values() | _mean_ranks([r.values() for r in self.rankings], self._there)

    def without_groups(self) -> dict[str, np.ndarray]:
        found = super().without_groups()
        by_class = [ranking.without(self.groups) for ranking in self.rankings]
        by_group = [_mean_ranks(ranks, self._there) for ranks in zip(*by_class, strict=True)]
        return found | {name: np.asarray([one[name] for one in by_group]) for name in next(iter(by_group), ())}

    @property
    def _there(self) -> list[bool]:
        return (self.by_class[:, 2].sum(0) > 0).tolist()

    def curves(self) -> dict[str, Curve]:
        if self.ranking is not None:
            return {self.classes[self.positive]: self.ranking.curve()}
        return {name: ranking.curve() for name, ranking in zip(self.classes, self.rankings, strict=False)}

    def confidence(self) -> Curve:
        return self.sure.curve()

    def detail(self) -> dict[str, Any]:
        return {"curves": drawn(self.curves()), "coverage": coverage(self.confidence())}


class LabelProbabilities(Grouped):
    """Of any number of K labels, from probabilities (B, K): log-loss and Brier score, the mean over labels; of up to 20
    labels ROC AUC, the mean over those that occur."""

    def __init__(self, classes: list[str]):
        self.classes = classes
        self.sums = torch.zeros(GROUPS, 3, dtype=torch.float64)  # rows, log-loss, Brier score
        k = len(classes)
        self.rankings = [Ranking(EXACT // k) for _ in classes] if k <= MOST_RANKED else []

    def update(self, output: Tensor, target: Tensor, rows: Tensor) -> None:
        p, truth, groups = output.float().cpu(), target.cpu() > 0.5, groups_of(rows)
        of_true = torch.where(truth, p, 1 - p).double()
        terms = (torch.ones(len(p), dtype=torch.float64), -of_true.clamp_min(TINY).log().mean(1),
                 (1 - of_true).square().mean(1))  # fmt: skip
        self.sums.index_add_(0, groups, torch.stack(terms, 1))
        for i, ranking in enumerate(self.rankings):
            ranking.add(logit(p[:, i]), truth[:, i].numpy(), groups.numpy())

    @property
    def count(self) -> int:
        return int(self.sums[:, 0].sum())

    def score(self, sums: Tensor) -> dict[str, Tensor]:
        count, loss, brier = sums.unbind(1)
        return {"log_loss": loss / count.clamp_min(1), "brier": brier / count.clamp_min(1)}

    def values(self) -> dict[str, float]:
        curves = [ranking.curve() for ranking in self.rankings]
        there = [len(c.hits) > 0 and c.hits[-1] > 0 and c.others[-1] > 0 for c in curves]
        return super().values() | _mean_ranks([r.values() for r in self.rankings], there)

    def without_groups(self) -> dict[str, np.ndarray]:
        by_class = [ranking.without(self.groups) for ranking in self.rankings]
        by_group = [_mean_ranks(ranks, [True] * len(ranks)) for ranks in zip(*by_class, strict=True)]
        more = {name: np.asarray([one[name] for one in by_group]) for name in next(iter(by_group), ())}
        return super().without_groups() | more

    def curves(self) -> dict[str, Curve]:
        return {name: ranking.curve() for name, ranking in zip(self.classes, self.rankings, strict=False)}

    def confidence(self) -> None:
        return None

    def detail(self) -> dict[str, Any]:
        return {"curves": drawn(self.curves())}


def logit(p: Tensor) -> np.ndarray:
    """Logits of probabilities (B), finite."""
    p = p.double()
    return (p.clamp_min(TINY).log() - (1 - p).clamp_min(TINY).log()).float().numpy()


def _mean_ranks(ranks: Sequence[Ranks], there: Sequence[bool]) -> dict[str, float]:
    """The mean over classes that are there of several, by name; empty where none is."""
    known = [rank for rank, occurs in zip(ranks, there, strict=False) if occurs]  # none where none is ranked
    return {name: float(np.mean([getattr(rank, name) for rank in known])) for name in Ranks._fields} if known else {}


def drawn(curves: dict[str, Curve]) -> list[dict[str, Any]]:
    """ROC and precision-recall curves of the most frequent classes, in bounded points, as plain JSON: {name, count,
    roc: [[false positive rate, recall], …], precision_recall: [[recall, precision], …]}."""
    there = {name: c for name, c in curves.items() if len(c.scores) and c.hits[-1] and c.others[-1]}
    found = []
    for name in sorted(there, key=lambda name: -int(there[name].hits[-1]))[:MOST_CURVES]:
        curve = there[name]
        at = curve.points(POINTS)
        hits, others = curve.hits[at], curve.others[at]
        recall = np.round(hits / curve.hits[-1], 5)
        roc = [[0.0, 0.0], *np.stack([np.round(others / curve.others[-1], 5), recall], 1).tolist()]
        precision = np.stack([recall, np.round(hits / (hits + others), 5)], 1).tolist()
        found.append({"name": name, "count": int(curve.hits[-1]), "roc": roc, "precision_recall": precision})
    return found


def coverage(curve: Curve) -> list[list[float]]:
    """What is right of the rows that are answered where those least sure of are not: [share that is answered, accuracy
    of these, least confidence], in bounded points (the risk-coverage curve: El-Yaniv & Wiener 2010)."""
    if not len(curve.scores):
        return []
    kept = curve.hits + curve.others
    at = np.unique(np.searchsorted(kept, np.linspace(0, kept[-1], POINTS)).clip(max=len(kept) - 1))
    columns = (kept[at] / kept[-1], curve.hits[at] / kept[at], 1 / (1 + np.exp(-curve.scores[at].clip(-80, 80))))
    return np.round(np.stack(columns, 1), 5).tolist()
