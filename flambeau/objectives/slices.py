"""Where a model fails: a measure of parts of the rows, and which parts are worse than the rest by more than chance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy
import torch
from torch import Tensor

from flambeau.data.slicing import Slicing
from flambeau.objectives.intervals import holm, wilson
from flambeau.objectives.names import higher_is_better
from flambeau.objectives.tasks.base import Task

LEVEL = 0.05  # of being wrong about any of all parts that are named as worse
LEAST = 5  # rows of a part that is tested: of fewer, nothing could be said after many looks


class BySlice:
    """What follows from the errors of rows (`Task.row_errors`) by part of the rows: accuracy, exact match or mean
    absolute error, and for other targets the mean error; with 95 % intervals, and a test of each part against the rest:
    by the hypergeometric distribution where a row is right or wrong (Fisher 1922), else by Welch's t (1947), one-sided.
    Since there are many parts, p is corrected over all of them as Holm 1979 does. Memory grows with the parts alone.
    """

    def __init__(self, task: Task, slicings: Sequence[Slicing]):
        self.task, self.slicings = task, slicings
        self.sums = [torch.zeros(len(slicing.values), 3, dtype=torch.float64) for slicing in slicings]  # n, x, x²
        self.binary = True  # so far each row was right or wrong
        known = {name: one.of_mean for name, one in task.of_errors.items() if one.power == 1} or {"error": np.asarray}
        self.name = next(iter(known))
        self.of_mean: Callable[[np.ndarray], np.ndarray] = known[self.name]

    def update(self, output: Tensor, target: Tensor, rows: Tensor) -> None:
        errors = self.task.row_errors(output.float().cpu(), target.cpu())
        if errors is not None:
            self.add(errors, rows.cpu())

    def add(self, errors: Tensor, rows: Tensor) -> None:
        """Counts errors of rows, both (B), on the CPU."""
        known = errors.isfinite()
        score, rows = errors[known].double(), rows[known]
        self.binary &= bool(((score == 0) | (score == 1)).all())
        terms = torch.stack([torch.ones_like(score), score, score.square()], 1)
        for slicing, sums in zip(self.slicings, self.sums, strict=True):
            codes = torch.from_numpy(slicing.codes[rows.numpy()].astype(np.int64))
            there = codes >= 0
            sums.index_add_(0, codes[there], terms[there])

    def values(self) -> dict[str, float]:
        return {}

    def detail(self) -> dict[str, Any]:
        """{slices: {metric, higher_is_better, tested, by: [{name, parts: [{value, count, score, interval, rest, p,
        worse}]}], worst: the parts that are worse than the rest, the surest first}}; empty without a way to part."""
        by: list[dict[str, Any]] = []
        for slicing, sums in zip(self.slicings, self.sums, strict=True):
            whole = sums.sum(0)
            parts = [self._part(value, part, whole - part)
                     for value, part in zip(slicing.values, sums, strict=True) if part[0]]  # fmt: skip
            by += [{"name": slicing.name, "parts": parts}] if len(parts) > 1 else []
        tested = sorted(((part, one["name"]) for one in by for part in one["parts"] if part["p"] is not None),
                        key=lambda both: both[0]["p"])  # fmt: skip
        for (part, _), p in zip(tested, holm([part["p"] for part, _ in tested]), strict=True):
            part["p"], part["worse"] = p, p < LEVEL
        worst = [{"slice": name, **part} for part, name in tested if part["worse"]]
        found = {"metric": self.name, "higher_is_better": higher_is_better(self.name), "tested": len(tested), "by": by}
        return {"slices": {**found, "worst": worst}} if by else {}

    def _part(self, value: str, part: Tensor, rest: Tensor) -> dict[str, Any]:
        (n, mean, error), (m, other, other_error) = self._mean(part), self._mean(rest)
        score, rest_score = (float(self.of_mean(np.asarray(value))) for value in (mean, other))
        entry = {"value": value, "count": round(n), "score": score, "interval": self._interval(n, mean, error),
                 "rest": rest_score if m else None, "p": None, "worse": False}  # fmt: skip
        least = LEAST * self.task.neighbours
        if n < least or m < least:
            return entry
        if self._shares:
            wrong = round(float(part[1]))  # the chance of so many in a part of this size
            entry["p"] = float(
                scipy.stats.hypergeom.sf(wrong - 1, round(n + m), wrong + round(float(rest[1])), round(n))
            )
        elif (spread := error**2 + other_error**2) > 0:
            a, b = (max(count / self.task.neighbours - 1, 1) for count in (n, m))
            free = spread**2 / (error**4 / a + other_error**4 / b)
            entry["p"] = float(scipy.stats.t.sf((mean - other) / math.sqrt(spread), free))
        return entry

    @property
    def _shares(self) -> bool:
        """Whether errors are shares of independent rows."""
        return self.binary and self.task.neighbours == 1

    def _mean(self, sums: Tensor) -> tuple[float, float, float]:
        """(rows, mean error, its standard error); rows that are not independent count for fewer."""
        n, total, squared = sums.tolist()
        if not n:
            return 0.0, 0.0, 0.0
        mean = total / n
        variance = max(squared / n - mean**2, 0.0) * n / max(n - 1, 1)
        return n, mean, math.sqrt(variance / max(n / self.task.neighbours, 1.0))

    def _interval(self, n: float, mean: float, error: float) -> list[float] | None:
        if self._shares:
            ends = wilson(mean, n)
        elif (independent := n / self.task.neighbours) < 2:
            return None
        else:
            half = error * float(scipy.stats.t.ppf(0.975, independent - 1))
            ends = max(mean - half, 0.0), min(mean + half, self.task.greatest_error)
        return sorted(float(self.of_mean(np.asarray(end))) for end in ends)


def answer(slices: dict[str, Any]) -> str:
    """Where a model fails, in a sentence."""
    worst, name = slices["worst"], slices["metric"]
    looked = f"{slices['tested']} slices by {', '.join(one['name'] for one in slices['by'])}"
    if not worst:
        return f"no slice is worse than the rest by more than chance ({looked})"
    said = [
        f"{one['slice']} = {one['value']} ({name} {one['score']:.3g} on {one['count']:,} rows, "
        f"{one['rest']:.3g} on the others)"
        for one in worst[:3]
    ]
    more = f"; and {len(worst) - 3} more" if len(worst) > 3 else ""
    return f"where {'; where '.join(said)}{more} (of {looked}; p < {LEVEL}, corrected after Holm)"
