"""Columns of a series that say what is to be forecast: equal to the target some steps later, up to scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from flambeau.check.base import Case, looks_at
from flambeau.core.findings import Finding, Severity
from flambeau.fields import History, Views

EQUAL = 0.9999
"""Correlation from which on two courses are one up to scale."""
MOST_STEPS, MOST_SHIFTS = 20_000, 50
FEWEST = 50


@looks_at(History)
def look_at_histories(case: Case, fields: Mapping[str, Any]) -> list[Finding]:
    """Findings about columns beside the target. What is known ahead may be the target of the past, as far back as the
    forecast goes; what is known up to now only that of steps up to now. A course that comes again by itself, such as a
    calendar's, is equal to its past as well, and is not told of."""
    findings = []
    for name, field in fields.items():
        views, plan = case.dataset.columns[name], field.plan
        if not isinstance(views, Views):
            continue
        flat = np.asarray(views.flat[:MOST_STEPS], np.float64)
        segments = views.segments[:MOST_STEPS]
        reach = min(field.horizon, MOST_SHIFTS)
        first_known = field.channels - plan.num_known
        for at, column in enumerate(plan.channels[1:], 1):
            ahead = at >= first_known
            shifts = range(1 - reach, reach + 1) if ahead else range(1, reach + 1)
            shift = next((s for s in shifts if _equal(flat, segments, at, s)), None)
            if shift is None or any(_equal(flat, segments, at, -s) for s in _past(field, reach, ahead)):
                continue
            later = f"{shift} steps later" if shift > 0 else f"{-shift} steps before" if shift else "at the same step"
            why = ", and is known ahead, so it tells what is to be forecast" if ahead else ", which is to be forecast"
            findings.append(
                Finding("future-leak", Severity.WARNING,
                        f"the column '{column}' is the target '{plan.target}' {later}{why}", places=[column],
                        count=len(flat), fix="leave it out, or shift it so that it holds what is known at its time")
            )  # fmt: skip
    return findings


def _past(field: Any, reach: int, ahead: bool) -> range:
    """Shifts into what is known at the time of a forecast."""
    return range(reach if ahead else 0, min(field.length + reach, 4 * MOST_SHIFTS))


def _equal(flat: np.ndarray, segments: np.ndarray, at: int, shift: int) -> bool:
    """Whether a column is the target `shift` steps later, up to scale."""
    end = len(flat) - abs(shift)
    if end < FEWEST:
        return False
    ours, theirs = (flat[:end, at], flat[shift:, 0]) if shift >= 0 else (flat[-shift:, at], flat[:end, 0])
    same = segments[:end] == segments[abs(shift) :]
    known = same & np.isfinite(ours) & np.isfinite(theirs)
    if known.sum() < FEWEST or np.ptp(ours[known]) == 0 or np.ptp(theirs[known]) == 0:
        return False
    return float(np.corrcoef(ours[known], theirs[known])[0, 1]) > EQUAL
