"""From the tabular inputs of a dataset to Findings: what is missing, no number, constant, twice there, an identifier,
too good to be true, far out, or different on the two sides of the split."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from flambeau.check import shifts
from flambeau.check.base import Case, looks_at
from flambeau.check.wording import Telling, counted, findings_at
from flambeau.core.errors import UsageError
from flambeau.core.findings import Finding, Severity
from flambeau.data.dataset import Dataset
from flambeau.data.grouping import tabular
from flambeau.fields import Category, Date, Field, Number

NEARLY_EMPTY = 0.95
DISTINCT = 0.95
FAR_OUT = 20.0
"""Distances between the quartiles, from the nearer one, from which a number is an outlier."""
GIVEAWAY, GIVEAWAY_R2 = 0.995, 0.9995
"""What one column alone must reach, as accuracy or R², to be thought a leak."""
DRIFT = 0.2
"""The largest difference of the distributions on two sides of a split (Kolmogorov-Smirnov; half the sum of the
differences of shares, for categories) that is not told of."""
MANY = 20_000
"""Rows that are drawn where a check costs more than a pass."""
FEWEST = 50


class Seen(NamedTuple):
    """A column as numbers float64 (N), NaN where there is none, a category by its number; and the rows of no use."""

    name: str
    field: Field
    numbers: np.ndarray
    bad: np.ndarray


@looks_at(Number, Category, Date)
def look_at_tables(case: Case, fields: Mapping[str, Field]) -> list[Finding]:
    """Findings about the inputs that a table is made of."""
    dataset, names = case.dataset, tabular(case.dataset)
    columns = [Seen(name, fields[name], *fields[name].numbered(dataset.columns[name])) for name in names]
    findings: list[Finding] = []
    for column in columns:
        findings += [*_gaps(dataset, column), *_alike(column), *_drift(dataset, column)]
        if column.field.measures:
            findings += _far_out(dataset, column)
        elif not column.field.has_classes:
            said = column.field.check(dataset.columns[column.name])
            findings += [replace(f, message=f"the column '{column.name}': {f.message}") for f in said]
    findings += [*_same(columns), *_giveaways(dataset, columns), *_one_hot(dataset, names)]
    case.told |= {*names}
    return findings


def _gaps(dataset: Dataset, column: Seen) -> list[Finding]:
    """Rows that are left out, and how much is missing."""
    findings = Telling(dataset, "row")
    if len(column.bad):
        noun, example = column.field.noun, dataset.columns[column.name][int(column.bad[0])]
        what = f"left out: in the column '{column.name}' there is no {noun}, but such as {example!r}"
        findings.warn("not-a-" + noun.split()[-1], column.bad, what, "mend them, or make them empty")
    gaps = np.isnan(column.numbers)
    gaps[column.bad] = False
    share = float(gaps.mean())
    if share == 1.0:
        findings.append(Finding("empty-column", Severity.WARNING, f"the column '{column.name}' has no value in any row",
                                count=len(gaps), fix="leave it out"))  # fmt: skip
    elif share:
        grave = share > NEARLY_EMPTY
        rows = np.flatnonzero(gaps)
        findings.append(
            Finding("missing-values", Severity.WARNING if grave else Severity.NOTE,
                    f"{share:.1%} of the column '{column.name}' is missing, which the model is told of",
                    places=[dataset.place(int(row)) for row in rows[:100]], rows=rows.tolist(), count=len(rows),
                    fix="look whether it is worth keeping" if grave else "")
        )  # fmt: skip
    return findings


def _alike(column: Seen) -> list[Finding]:
    """A column of one value, and one whose values are all different and so only name the rows."""
    known = column.numbers[np.isfinite(column.numbers)]
    if len(known) < 2:
        return []
    distinct = len(np.unique(known))
    if distinct == 1:
        return [Finding("constant", Severity.NOTE, f"the column '{column.name}' has one value only", count=len(known),
                        fix="leave it out")]  # fmt: skip
    if len(known) < FEWEST or distinct < DISTINCT * len(known) or not column.field.may_name_rows(known):
        return []
    return [
        Finding("identifier", Severity.WARNING,
                f"the column '{column.name}' has {distinct:,} different values in {len(known):,} rows, as row names do",
                count=len(known), fix="leave it out: it names rows, and says nothing of new ones")
    ]  # fmt: skip


def _far_out(dataset: Dataset, column: Seen) -> list[Finding]:
    known = column.numbers[np.isfinite(column.numbers)]
    if len(known) < FEWEST:
        return []
    low, high = np.quantile(known, [0.25, 0.75])
    if high == low:
        return []
    with np.errstate(invalid="ignore"):
        distance = np.maximum(low - column.numbers, column.numbers - high) / (high - low)
        rows = np.flatnonzero(distance > FAR_OUT)
    if not len(rows):
        return []
    rows = rows[np.argsort(-distance[rows])]
    lie = f"up to {column.numbers[rows[0]]:g}, where half lie in {low:g}…{high:g}"
    what = f"with an extreme number in the column '{column.name}', {lie}"
    return findings_at(dataset, "outlier", Severity.NOTE, rows, "row", what, fix="look whether they are mistakes")


def _same(columns: list[Seen]) -> list[Finding]:
    """Columns that say the same in every row."""
    of: dict[bytes, list[str]] = defaultdict(list)
    for column in columns:
        if len(np.unique(column.numbers[np.isfinite(column.numbers)])) > 1:
            of[hashlib.blake2b(column.numbers.tobytes(), digest_size=16).digest()].append(column.name)
    return [
        Finding("duplicate-column", Severity.WARNING,
                "equal in every row: the columns " + " and ".join(f"'{n}'" for n in names), places=names,
                fix="leave one of them")
        for names in of.values() if len(names) > 1
    ]  # fmt: skip


def _drift(dataset: Dataset, column: Seen) -> list[Finding]:
    """A column whose values are distributed otherwise among the held-out rows than among the training rows."""
    train = column.numbers[dataset.rows("train")]
    rest = column.numbers[dataset.split > 0]
    train, rest = train[np.isfinite(train)], rest[np.isfinite(rest)]
    if min(len(train), len(rest)) < FEWEST:
        return []
    findings = []
    if column.field.has_classes:
        size = int(max(train.max(), rest.max())) + 1
        counts = [np.bincount(x.astype(np.int64), minlength=size) for x in (train, rest)]
        new = int(counts[1][counts[0] == 0].sum())
        if new:
            findings.append(
                Finding("unseen-category", Severity.NOTE,
                        f"{counted(new, 'held-out row')} with a category in '{column.name}' that no training row has; "
                        "it is taken as unknown", count=new)
            )  # fmt: skip
        distance = float(np.abs(counts[0] / len(train) - counts[1] / len(rest)).sum() / 2)
        expected = float(np.sqrt(size / min(len(train), len(rest))))  # of two draws from one distribution
    else:
        distance, expected = shifts.distance(train, rest), shifts.by_chance(train, rest)
        factor = shifts.unit_change(train, rest) if column.field.measures else None
        if factor is not None:
            return [
                Finding("unit-change", Severity.WARNING,
                        f"the numbers of the column '{column.name}' are about {factor:,.3g} times as large among "
                        "held-out rows as among training rows, and distributed alike else, as after a change of unit",
                        places=[column.name], count=len(rest), fix="bring both to one unit")
            ]  # fmt: skip
    if distance > DRIFT + expected:
        findings.append(
            Finding("drift", Severity.WARNING,
                    f"the column '{column.name}' is distributed otherwise among held-out rows than among training rows "
                    f"(by {distance:.0%})", count=len(rest),
                    fix="look whether the split is meant so; where it is by time, expect the figures to fall with time")
        )  # fmt: skip
    return findings


def _giveaways(dataset: Dataset, columns: list[Seen]) -> list[Finding]:
    """Columns that tell the target nearly without a mistake, each on its own."""
    target = dataset.fields[dataset.target] if dataset.target else None
    if target is None or not (target.has_classes or target.measures):
        return []
    classes = target.has_classes
    try:
        y = target.numbered(dataset.columns[dataset.target or ""])[0]
    except (UsageError, ValueError):  # several labels a row
        return []
    rows = np.intersect1d(np.flatnonzero(np.isfinite(y)), dataset.rows("train"))
    rows = rows[:: max(1, len(rows) // MANY)]
    if len(rows) < 2 * FEWEST or len(np.unique(y[rows])) < 2:
        return []
    majority = float(np.bincount(y[rows].astype(np.int64)).max()) / len(rows) if classes else 0.0
    findings = []
    for column in columns:
        score = _alone(column.numbers[rows], y[rows], classes)
        if score < (max(GIVEAWAY, (1 + majority) / 2) if classes else GIVEAWAY_R2):
            continue
        score_text = f"{score:.1%} of the rows right" if classes else f"R² {score:.4f}"
        findings.append(
            Finding("target-leakage", Severity.WARNING,
                    f"the column '{column.name}' alone tells '{dataset.target}' ({score_text})", places=[column.name],
                    count=len(rows), fix="leave it out unless it is known before the target is")
        )  # fmt: skip
    return findings


def _one_hot(dataset: Dataset, names: Sequence[str]) -> list[Finding]:
    """Inputs that are one category with the target, as `species_setosa` and `species_virginica`: of all, one is 1."""
    target = dataset.target or ""
    stem = re.match(r"(.+[_.=: -]).", target)
    alike = [name for name in names if stem and name.startswith(stem[1])]
    read = {name: _bits(dataset.columns[name]) for name in (target, *alike)} if alike else {}
    bits = {name: column for name, column in read.items() if column is not None}
    others = [name for name in alike if name in bits]
    if not others or target not in bits or not bool((np.sum([*bits.values()], 0) == 1).all()):
        return []
    return [Finding("target-leakage", Severity.WARNING,
                    f"'{target}' and {len(others)} inputs are one category: every row has 1 in one of them, so they "
                    "give it away", places=others, count=len(dataset),
                    fix="leave these inputs out, or join all into one column of names")]  # fmt: skip


def _bits(values: Any) -> np.ndarray | None:
    """A column of zeros and ones; None for any other."""
    written = [str(value).lower().removesuffix(".0") for value in values]
    if not {*written} <= {"0", "1", "true", "false"}:
        return None
    return np.asarray([text in ("1", "true") for text in written])


def _alone(x: np.ndarray, y: np.ndarray, classes: bool) -> float:
    """Accuracy, or R², of a small tree on one column, on the half of the rows that it was not grown on."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    kind = DecisionTreeClassifier if classes else DecisionTreeRegressor
    filled = np.where(np.isfinite(x), x, np.nanmin(x, initial=0.0) - 1.0)[:, None]
    tree = kind(max_leaf_nodes=256, min_samples_leaf=2, random_state=0).fit(filled[::2], y[::2])
    if classes:
        return float(tree.score(filled[1::2], y[1::2]))
    slope = np.corrcoef(filled[1::2, 0], y[1::2])[0, 1] if np.ptp(filled[1::2]) > 0 and np.ptp(y[1::2]) > 0 else 0.0
    return max(float(tree.score(filled[1::2], y[1::2])), float(slope**2))
