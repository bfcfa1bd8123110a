"""Streaming metrics: counts and sums only, so that memory does not grow with the data."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from flambeau.core.errors import UsageError, nearest, shown
from flambeau.core.registry import Asked, looked_up, name_and_options
from flambeau.core.shapes import Int64
from flambeau.fields import Field, MultiLabel, Number
from flambeau.objectives.classification import Worst
from flambeau.objectives.intervals import GROUPS, Grouped, groups_of
from flambeau.objectives.names import METRICS
from flambeau.objectives.ranking import EXACT, Ranking

LEAST_EXACT = 2**15  # scores of each of many labels up to which its average precision is exact


@runtime_checkable
class Metric(Protocol):
    """What a metric does. `output` is activated: probabilities (B, K), or numbers in the target's own units;
    `target` is prepared, a Tensor of most kinds."""

    def update(self, output: Tensor, target: Any, rows: Tensor) -> None:
        """Counts a batch."""
        ...

    def values(self) -> dict[str, float]:
        """Results by name."""
        ...

    def detail(self) -> dict[str, Any]:
        """What the report shows, as plain JSON; but for `pictures`, each {row, output}: what `Task.decode` takes, which
        is drawn into the row's picture by the target's field."""
        ...


class NamedMetric(Grouped):
    """A metric that is called by its name: what each row adds to a sum, and the value of such a sum. A subclass is
    entered into METRICS; its constructor's arguments after the field are options that a recipe may set,
    `objective: {metrics: [{name: f_beta, beta: 2}]}`.

    Args:
        field: the target's, fitted.

    >>> class Bias(NamedMetric):
    ...     def terms(self, output, target):
    ...         return output - target
    ...
    ...     def value(self, sums, count):
    ...         return sums / count
    """

    higher_is_better: ClassVar[bool] = True
    bounds: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    """What it lies between; (0, 1) is shown in percent."""
    tasks: ClassVar[tuple[str, ...]] = ()
    """Names of the TASKS that it is for; of all, if there are none."""
    name: str

    def __init__(self, field: Any):
        self.field = field
        self.shape: tuple[int, ...] = ()  # of what a row adds
        self.sums = torch.zeros(GROUPS, 1, dtype=torch.float64)  # rows, and then the terms

    def terms(self, output: Tensor, target: Tensor) -> Tensor:
        """What each row adds to the sum, (B, …), given output after its activation (B, …) and target (B, …)."""
        raise NotImplementedError

    def value(self, sums: Tensor, count: Tensor) -> Tensor:
        """The metric (N) of N sums (N, …), float64, of `count` (N) rows; undefined (0 / 0) it counts as 0."""
        raise NotImplementedError

    def update(self, output: Tensor, target: Tensor, rows: Int64[Tensor, " B"]) -> None:
        terms = self.terms(output.float().cpu(), target.cpu())
        by_row = torch.cat([torch.ones(len(terms), 1), terms.reshape(len(terms), -1)], 1).double()
        if self.sums.shape[1] == 1:
            self.shape, self.sums = terms.shape[1:], torch.zeros(GROUPS, by_row.shape[1], dtype=torch.float64)
        self.sums.index_add_(0, groups_of(rows), by_row)

    @property
    def count(self) -> int:
        return int(self.sums[:, 0].sum())

    def score(self, sums: Tensor) -> dict[str, Tensor]:
        count = sums[:, 0]
        there = self.value(sums[:, 1:].reshape(len(sums), *self.shape), count) if self.count else torch.zeros(len(sums))
        return {self.name: there.nan_to_num()}

    def detail(self) -> dict[str, Any]:
        return {}


def called(asked: Asked) -> tuple[str, type[NamedMetric], dict[str, Any]]:
    """The name of a metric of METRICS, its class and the options that it is given.

    Raises:
        UsageError: there is none of that name, or it has no such option.
    """
    name, _ = name_and_options(asked)
    if name not in METRICS:
        fix = f"{nearest(name, METRICS)}; what suits the target is measured anyway, see metric="
        raise UsageError(f"'{name}' is no metric that can be added by name", fix=fix)
    return looked_up(METRICS, asked, after=1)


def named_metric(asked: Asked, field: Field) -> NamedMetric:
    """A metric of METRICS for a target; raises as `called`, and where it is not for such a target."""
    name, kind, options = called(asked)
    if kind.tasks and field.task not in kind.tasks:
        expected = f"a target that is learned as {' or '.join(kind.tasks)}"
        raise UsageError(f"the metric {name} is not for a target of the kind {field.kind}", expected=expected)
    metric = kind(field, **options)
    metric.name = name
    return metric


class MultiLabelClassification(Grouped):
    """Exact match, F1 and average precision, the mean over labels and of all together (micro), from probabilities
    (B, K) and targets (B, K)."""

    proportions = ("exact_match",)

    def __init__(self, field: MultiLabel, detail: bool):
        self.classes, self.threshold, self.keep = field.classes, field.threshold, detail
        k = len(self.classes)
        # right, predicted and true by label; rows that are wholly right, and rows
        self.sums = torch.zeros(GROUPS, 3 * k + 2, dtype=torch.int64)
        self.rankings = [Ranking(max(EXACT // max(k, 1), LEAST_EXACT)) for _ in self.classes]
        self.together = Ranking()
        self.worst = Worst()

    def update(self, output: Tensor, target: Tensor, rows: Tensor) -> None:
        probabilities, truth = output.float().cpu(), target.cpu() > 0.5
        guess = probabilities >= self.threshold
        whole = (guess == truth).all(1, keepdim=True)
        found = torch.cat([guess & truth, guess, truth, whole, torch.ones_like(whole)], 1)
        self.sums.index_add_(0, groups_of(rows), found.long())
        scores, true, group = probabilities.logit(1e-38).numpy(), truth.numpy(), np.zeros(len(truth), np.int64)
        for i, ranking in enumerate(self.rankings):
            ranking.add(scores[:, i], true[:, i], group)
        self.together.add(scores.ravel(), true.ravel(), group.repeat(len(self.classes)))
        if not self.keep:
            return

        def names(row: Tensor) -> str:
            return ", ".join(c for c, on in zip(self.classes, row.tolist(), strict=True) if on) or "none"

        def tell(i: int) -> dict[str, Any]:
            return {"true": names(truth[i]), "predicted": names(guess[i])}

        self.worst.offer(((probabilities - truth.float()).abs() * (guess != truth)).sum(1), rows, tell)

    def per_class(self) -> list[dict[str, Any]]:
        """Precision, recall, F1 and count by class."""
        hits, guessed, truth = self.sums[:, :-2].sum(0).view(3, -1).double()
        precision, recall = hits / guessed.clamp_min(1), hits / truth.clamp_min(1)
        f1 = 2 * hits / (guessed + truth).clamp_min(1)
        table = zip(self.classes, precision.tolist(), recall.tolist(), f1.tolist(), truth.tolist(), strict=True)
        return [{"class": c, "precision": p, "recall": r, "f1": f, "count": int(n)} for c, p, r, f, n in table]

    @property
    def count(self) -> int:
        return int(self.sums[:, -1].sum())

    def score(self, sums: Tensor) -> dict[str, Tensor]:
        hits, guessed, truth = sums[:, :-2].unflatten(1, (3, -1)).double().unbind(1)  # (N, K) each
        there = truth > 0
        f1 = 2 * hits / (guessed + truth).clamp_min(1) * there
        return {
            "f1": f1.sum(1) / there.sum(1).clamp_min(1),
            "micro_f1": 2 * hits.sum(1) / (guessed + truth).sum(1).clamp_min(1),
            "exact_match": sums[:, -2] / sums[:, -1].clamp_min(1),
        }

    def values(self) -> dict[str, float]:
        ranks = [ranking.values().average_precision for ranking in self.rankings]
        there = [rank for rank, label in zip(ranks, self.per_class(), strict=True) if label["count"]]
        return super().values() | {
            "average_precision": float(np.mean(there or [0.0])),
            "micro_average_precision": self.together.values().average_precision,
        }

    def detail(self) -> dict[str, Any]:
        return {"kind": "multilabel", "classes": self.classes, "per_class": self.per_class(),
                "worst": self.worst.listed()}  # fmt: skip


class Regression(Grouped):
    """Mean absolute error, root mean squared error and R², in the target's own units; where every true value is above
    0, also the mean absolute error in percent of it (MAPE)."""

    def __init__(self, field: Number, detail: bool):
        self.field, self.keep = field, detail
        self.middle = float(np.mean(field.natural(np.zeros(field.shape or 1))))
        # n, |e|, e², y and y² from the training mean, |e| in percent of y, how many y are not above 0
        self.sums = torch.zeros(GROUPS, 7, dtype=torch.float64)
        self.worst = Worst()
        self.pairs: list[list[float]] = []

    def update(self, output: Tensor, target: Tensor, rows: Tensor) -> None:
        truth, guess = (
            torch.from_numpy(np.asarray(self.field.natural(x.cpu().double().reshape(target.shape).numpy())))
            for x in (target, output)
        )
        error = guess - truth
        # from the middle, else R² of numbers far from 0 drowns in rounding
        about = truth - self.middle
        percent = 100 * error.abs() / truth.abs().clamp_min(1e-300)
        terms = (torch.ones_like(error), error.abs(), error.square(), about, about.square(), percent, truth <= 0)
        by_row = torch.stack([term.double().view(len(rows), -1).sum(1) for term in terms], 1)
        self.sums.index_add_(0, groups_of(rows), by_row)
        if not self.keep or truth.ndim > 1:
            return
        self.pairs += torch.stack([truth, guess], 1).tolist()[: max(0, 2000 - len(self.pairs))]

        def tell(i: int) -> dict[str, Any]:
            return {"true": f"{float(truth[i]):.4g}", "predicted": f"{float(guess[i]):.4g}"}

        self.worst.offer(error.abs(), rows, tell)

    @property
    def count(self) -> int:
        return int(self.sums[:, 0].sum())

    def score(self, sums: Tensor) -> dict[str, Tensor]:
        n, absolute, squared, total, total_squared, percent, _ = sums.unbind(1)
        n = n.clamp_min(1)
        spread = total_squared - total * total / n
        r2 = torch.where(spread > 0, 1 - squared / spread.clamp_min(1e-300), 0.0)
        found = {"mae": absolute / n, "rmse": (squared / n).sqrt(), "r2": r2}
        return found if self.sums[:, 6].any() else found | {"mape": percent / n}

    def detail(self) -> dict[str, Any]:
        return {"kind": "regression", "pairs": self.pairs, "worst": self.worst.listed()}


class Own:
    """A user's metric: a function (output, target) to a number, averaged over samples; or an object with
    `update`, `compute` and `reset`, as torchmetrics has them."""

    def __init__(self, metric: Any):
        self.metric = metric
        self.name = getattr(metric, "__name__", type(metric).__name__).lower()
        self.streams = hasattr(metric, "update") and hasattr(metric, "compute")
        if not self.streams and not callable(metric):
            expected = "a function, or an object with update and compute"
            raise UsageError(f"{shown(metric)} is not a metric", expected=expected)
        if self.streams and hasattr(metric, "reset"):
            metric.reset()
        self.total, self.count = 0.0, 0

    def update(self, output: Tensor, target: Tensor, rows: Tensor) -> None:
        if self.streams:
            if isinstance(self.metric, torch.nn.Module):
                self.metric.to(output.device)
            self.metric.update(output, target)
        else:
            self.total += float(self.metric(output, target)) * len(rows)
            self.count += len(rows)

    def values(self) -> dict[str, float]:
        return {self.name: float(self.metric.compute()) if self.streams else self.total / max(self.count, 1)}

    def detail(self) -> dict[str, Any]:
        return {}
