"""How far a prediction can be trusted: calibration of confidences, errors of numbers."""

from __future__ import annotations

import math

from flambeau.report.facts import Facts
from flambeau.report.markup import Markup, tag
from flambeau.report.parts import figure, grid, note, section
from flambeau.report.svg import bar_chart, percent, reliability, scatter
from flambeau.report.words import Words

ERROR_BINS = 25


def calibration(facts: Facts, words: Words) -> Markup | None:
    """The reliability diagram and the expected calibration error."""
    bins = facts.detail.get("calibration")
    if not bins or not sum(bins["count"]):
        return None
    title = words("calibration.title")
    chart = reliability(bins["confidence"], bins["accuracy"], bins["count"], label=title,
                        x_label=words("confidence"), y_label=words("accuracy"))  # fmt: skip
    k = len(bins["count"])
    counts = bar_chart([(i / k, (i + 1) / k, n) for i, n in enumerate(bins["count"])], label=words("confidence.title"),
                       x_label=words("confidence"), y_label=words("samples"), x_format=percent)  # fmt: skip
    error = tag("p", words("calibration.error", error=bins["error"]), class_="lead")
    divided = bins.get("temperature", 1.0)
    tempered = note(words("calibration.tempered", temperature=divided)) if divided != 1.0 else None
    return section(
        words, "calibration", error, tempered,
        grid(figure(title, chart, remark=words("calibration.note")), figure(words("confidence.title"), counts)),
    )  # fmt: skip


def regression(facts: Facts, words: Words) -> Markup | None:
    """Predicted over true numbers, and how the errors lie."""
    pairs = [p for p in facts.detail.get("pairs") or [] if all(map(math.isfinite, p))]
    if not pairs:
        return None
    title, errors = words("regression.title"), words("errors.title")
    dots = scatter(pairs, label=words("regression"), x_label=words("true"), y_label=words("predicted"))
    bars = bar_chart(histogram([guess - truth for truth, guess in pairs]), label=errors,
                     x_label=words("error"), y_label=words("samples"))  # fmt: skip
    return section(words, "regression", grid(figure(title, dots), figure(errors, bars)))


def histogram(values: list[float], bins: int = ERROR_BINS) -> list[tuple[float, float, float]]:
    """(from, to, count) of bins of equal width.

    >>> histogram([0.0, 0.1, 1.0], bins=2)
    [(0.0, 0.5, 2.0), (0.5, 1.0, 1.0)]
    """
    low, high = min(values), max(values)
    width = (high - low) / bins or 1.0
    counts = [0.0] * bins
    for value in values:
        counts[min(int((value - low) / width), bins - 1)] += 1
    return [(low + i * width, low + (i + 1) * width, n) for i, n in enumerate(counts)]
