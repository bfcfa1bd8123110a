"""Where it fails, and what each threshold would give."""

from __future__ import annotations

from typing import Any

from scipy.special import expit

from flambeau.report.facts import Facts
from flambeau.report.markup import Markup, fragment, tag
from flambeau.report.parts import cell, figure, figure_of, grid, note, section, table
from flambeau.report.svg import Series, line_chart, percent
from flambeau.report.words import Words

COLOURS = 4  # curves in one chart
MOST_SERIES = 40


def slices(facts: Facts, words: Words) -> Markup | None:
    """The parts of the rows that are worse than the rest, then all parts."""
    found = facts.detail.get("slices")
    if not found:
        return None
    name, worst = found["metric"], found["worst"]
    lead = words("slices.none") if not worst else words("slices.worst", count=len(worst), tested=found["tested"])
    shown = table(_head(words, name), (_row(one["slice"], one, name) for one in worst), "list") if worst else None
    rest = [(one["name"], part) for one in found["by"] for part in one["parts"]]
    every = tag("details", tag("summary", words("slices.all", count=len(rest))),
                table(_head(words, name), (_row(by, part, name) for by, part in rest), "list"))  # fmt: skip
    return section(words, "slices", tag("p", lead, class_="lead"), shown, every, note(words("slices.note")))


def groups(facts: Facts, words: Words) -> Markup | None:
    """Groups of samples that the model takes for alike and fails on."""
    found = facts.detail.get("groups")
    if not found:
        return None
    name, cards = found["metric"], []
    for one in found["worst"]:
        told = words("groups.one", count=one["count"], metric=words.metric(name), score=figure_of(name, one["score"]),
                     rest=figure_of(name, one["rest"]), p=f"{one['p']:.2g}")  # fmt: skip
        shared = (
            words("groups.share", name=it["name"], share=f"{it['share']:.0%}", rest=f"{it['elsewhere']:.0%}")
            if "share" in it
            else words("groups.median", name=it["name"], median=f"{it['median']:.3g}", rest=f"{it['elsewhere']:.3g}")
            for it in one["shared"]
        )
        thumbs = (tag("div", fragment(sample["html"]), class_="thumb", title=sample["place"])
                  for sample in one["samples"] if sample.get("html"))  # fmt: skip
        cards.append(tag("div", tag("p", told), tag("ul", (tag("li", it) for it in shared)),
                         tag("div", thumbs, class_="thumbs"), class_="card"))  # fmt: skip
    return section(words, "groups", note(words("groups.note")), *cards)


def _head(words: Words, name: str) -> list[Markup]:
    names = (words("slices.slice"), words.metric(name), words("slices.rest"), words("samples"), "p")
    return [tag("th", one, scope="col") for one in names]


def _row(by: str, part: dict[str, Any], name: str) -> Markup:
    score = figure_of(name, part["score"])
    if part["interval"]:
        low, high = (figure_of(name, value) for value in part["interval"])
        score = f"{score} ({low} – {high})"
    rest = "" if part["rest"] is None else figure_of(name, part["rest"])
    p = "" if part["p"] is None else f"{part['p']:.2g}"
    cells = (cell(value) for value in (score, rest, f"{part['count']:,}", p))
    return tag("tr", tag("th", f"{by} = {part['value']}", scope="row"), cells)


def thresholds(facts: Facts, words: Words) -> Markup | None:
    """Further figures of probabilities, ROC and precision-recall curves, and accuracy by share answered."""
    curves, points = facts.detail.get("curves") or [], facts.detail.get("coverage") or []
    further = facts.evaluation.get("further") or {}
    if not curves and not points:
        return None
    rows = []
    for name, value in (further.get("metrics") or {}).items():
        ends = [figure_of(name, end) for end in further.get("intervals", {}).get(name) or ()]
        between = words("interval", low=ends[0], high=ends[1]) if ends else ""
        shown = tag("th", words.name("metric", name), scope="row")
        rows.append(tag("tr", shown, cell(figure_of(name, value)), tag("td", between)))
    kinds = (("roc", "thresholds.false", "recall"), ("precision_recall", "recall", "precision"))
    charts = [_curves(kind, curves[:COLOURS], x, y, words) for kind, x, y in kinds] if curves else []
    if points:
        curve = Series(words("accuracy"), [(share, right) for share, right, _ in points], 1)
        chart = line_chart([curve], label=words("thresholds.coverage"), x_label=words("thresholds.answered"),
                           y_label=words("accuracy"), y_format=percent, ceiling=1.0)  # fmt: skip
        charts.append(figure(words("thresholds.coverage"), chart, remark=words("thresholds.note")))
    return section(words, "thresholds", _decision(facts.decision, words), table([], rows, "list") if rows else None,
                   grid(*charts))  # fmt: skip


def _decision(decision: dict[str, Any], words: Words) -> Markup | None:
    """The thresholds that the run's answers go by."""
    if not decision:
        return None
    said = [words("thresholds.from", name=name, threshold=float(expit(score)))
            for name, score in decision["thresholds"].items()]  # fmt: skip
    if decision["reject_below"]:
        said.append(words("thresholds.below", threshold=decision["reject_below"]))
    lead = words("thresholds.chosen", why=decision["why"])
    return tag("div", tag("p", lead, class_="lead"), tag("ul", (tag("li", one) for one in said)))


def _curves(kind: str, curves: list[dict[str, Any]], x: str, y: str, words: Words) -> Markup:
    series = [Series(one["name"], [(a, b) for a, b in one[kind]], i) for i, one in enumerate(curves, 1)]
    title = words(f"thresholds.{kind}")
    chart = line_chart(
        series, label=title, x_label=words(x), y_label=words(y), y_format=percent, floor=0.0, ceiling=1.0
    )
    return figure(title, chart, series=series)


def ranges(facts: Facts, words: Words) -> Markup | None:
    """Errors of numbers by range of the truth, and of what was predicted."""
    found = facts.detail.get("ranges")
    if not found:
        return None
    head = [tag("th", words(w), scope="col") for w in ("ranges.range", "ranges.bias")]
    head += [tag("th", words.metric(m), scope="col") for m in ("mae", "rmse")] + [tag("th", words("samples"))]
    parts = []
    for by in ("true", "predicted"):
        rows = (
            tag("tr", tag("th", f"{one['low']:.4g} – {one['high']:.4g}", scope="row"), cell(f"{one['bias']:+.4g}"),
                cell("{:.4g} ({:.4g} – {:.4g})".format(one["mae"], *one["mae_interval"])), cell(f"{one['rmse']:.4g}"),
                cell(f"{one['count']:,}"))
            for one in found[by]
        )  # fmt: skip
        parts += [tag("h3", words("ranges.by", name=words(by))), table(head, rows, "list")]
    return section(words, "ranges", note(words("ranges.note")), *parts)


def series(facts: Facts, words: Words) -> Markup | None:
    """MASE of each of several series, the worst first."""
    found = facts.detail.get("series")
    if not found:
        return None
    ends = [f"{end:.3f}" for end in found["interval"] or ()]
    between = words("interval", low=ends[0], high=ends[1]) if ends else ""
    lead = words("series.lead", count=found["count"], mase=found["mean_mase"])
    head = [tag("th", name, scope="col") for name in (words("series.name"), "MASE", words.metric("mae"))]
    rows = (
        tag("tr", tag("th", one["series"], scope="row"), cell(f"{one['mase']:.3f}"), cell(f"{one['mae']:.4g}"))
        for one in found["listed"][:MOST_SERIES]
    )  # fmt: skip
    return section(words, "series", tag("p", lead, " ", between, class_="lead"), table(head, rows, "list"))
