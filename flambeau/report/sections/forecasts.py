"""Forecasts against what came, and how the error grows with the steps ahead."""

from __future__ import annotations

from typing import Any

from flambeau.report.facts import Facts
from flambeau.report.markup import Markup, tag
from flambeau.report.parts import figure, grid, note, section
from flambeau.report.svg import Point, Series, line_chart
from flambeau.report.words import Words


def forecasts(facts: Facts, words: Words) -> Markup | None:
    """Some windows: the past, what was forecast with its outer quantiles, and what came; then the error by step."""
    shown = facts.detail.get("forecasts")
    if not shown:
        return None
    middle = _middle(facts.detail["quantiles"])
    charts = [_figure(one, middle, facts, words) for one in shown]
    by_step = facts.detail.get("by_step") or []
    if len(by_step) > 1:
        curve = Series(words.name("metric", "mae"), [(i + 1.0, v) for i, v in enumerate(by_step)], 1)
        chart = line_chart([curve], label=words("forecasts.by_step"), x_label=words("forecasts.step"),
                           y_label=words.name("metric", "mae"), floor=0.0, whole_x=True)  # fmt: skip
        charts.append(figure(words("forecasts.by_step"), chart))
    mase = facts.metrics.get("mase")
    lead = (
        tag("p", words("forecasts.mase", mase=mase, naive=facts.detail["naive_error"]), class_="lead") if mase else None
    )
    return section(words, "forecasts", lead, note(_described(facts, words)), grid(*charts))


def _described(facts: Facts, words: Words) -> str:
    """What is drawn, and whether the outer quantiles hold what they say."""
    low, high = (facts.detail["quantiles"][i] for i in (0, -1))
    sentences = [words("forecasts.note", low=f"{low:g}", high=f"{high:g}")]
    if "coverage" in facts.metrics:
        sentences.append(words("forecasts.inside", inside=facts.metrics["coverage"], said=high - low))
    spread = facts.detail.get("spread", [])
    if set(spread) - {1.0}:
        sentences.append(words("forecasts.moved", low=spread[0], high=spread[-1]))
    return " ".join(sentences)


def _middle(quantiles: list[float]) -> int:
    return min(range(len(quantiles)), key=lambda i: abs(quantiles[i] - 0.5))


def _figure(one: dict[str, Any], middle: int, facts: Facts, words: Words) -> Markup:
    past, quantiles = one.get("past") or [], one["quantiles"]
    before = _points(past, -len(past))
    now = before[-1:]  # what came goes on from what was
    series = [Series(words("forecasts.past"), before, 4), Series(words("true"), now + _points(one["true"], 0), 2)]
    if len(quantiles) > 1:
        low, high = (facts.detail["quantiles"][i] for i in (0, -1))
        name = words("forecasts.outer", low=f"{low:g}", high=f"{high:g}")
        series.insert(0, Series(name, _points(quantiles[0], 0), 1, "band", _points(quantiles[-1], 0)))
    series.append(Series(words("predicted"), _points(quantiles[middle], 0), 1))
    place = words.say(one.get("place", ""))
    target = str(facts.fields.get("target") or "")
    label = words("forecasts.label", target=target, place=place)
    chart = line_chart(series, label=label, x_label=words("forecasts.step"), y_label=target, whole_x=True,
                       mark=(0.0, words("forecasts.now")))  # fmt: skip
    return figure(place, chart, series=[series[i] for i in (-1, *range(len(series) - 1))])


def _points(values: list[float | None], first: int) -> list[Point]:
    return [(first + i + 1.0, v) for i, v in enumerate(values) if v is not None]
