"""The page of a stress test: a curve for each corruption, the worst first, with a row that was spoilt so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flambeau.objectives.names import is_share
from flambeau.report.markup import Markup, fragment, tag
from flambeau.report.page import document
from flambeau.report.parts import cell, figure, figure_of, grid, section, table
from flambeau.report.scale import short
from flambeau.report.svg import Series, line_chart, percent
from flambeau.report.words import Words


def build(name: str, result: Mapping[str, Any], language: str = "en") -> str:
    """The page as HTML text.

    Args:
        name: of the run.
        result: what `fb.stress` gives.
        language: `en` or `zh-CN`.
    """
    words, metric = Words(language), result["metric"]
    title = words("stress.title", name=name)
    told = words("stress.told", metric=words.metric(metric), clean=figure_of(metric, result["clean"]),
                 mean=figure_of(metric, result["mean"]), samples=f"{result['samples']:,}")  # fmt: skip
    by_name = {one["name"]: one for one in result["corruptions"]}
    worst = (tag("li", tag("b", one), ": ", words("stress.try", cure=by_name[one]["cure"])) for one in result["worst"])
    return document(
        title, words,
        tag("header", tag("h1", title), tag("p", told)),
        section(words, "stress.worst", tag("ul", worst) if result["worst"] else tag("p", words("stress.none"))),
        section(words, "stress.curves", grid(*(_curve(one, result, words) for one in result["corruptions"]))),
        section(words, "stress.figures", _figures(result, words)),
    )  # fmt: skip


def _curve(one: Mapping[str, Any], result: Mapping[str, Any], words: Words) -> Markup:
    metric, clean = result["metric"], result["clean"]
    last = len(one["values"])
    series = [Series(one["name"], [*enumerate([clean, *one["values"]])], 1)]
    if result["interval"]:
        low, high = result["interval"]
        series.insert(0, Series(words("stress.clean"), [(0, low), (last, low)], 2, "band", [(0, high), (last, high)]))
    share = is_share(metric)
    chart = line_chart(series, label=one["name"], x_label=words("stress.severity"), y_label=words.metric(metric),
                       y_format=percent if share else short, floor=0.0 if share else None,
                       ceiling=1.0 if share else None, whole_x=True)  # fmt: skip
    shown = tag("div", (tag("div", fragment(html), class_="thumb") for html in one["examples"]), class_="gallery")
    return figure(one["name"], chart, shown, series=series, remark=one["words"][-1])


def _figures(result: Mapping[str, Any], words: Words) -> Markup:
    metric, count = result["metric"], len(result["corruptions"][0]["values"])
    head = [tag("th", each) for each in (words("stress.corruption"), "0", *map(str, range(1, count + 1)))]
    rows = (
        tag("tr", tag("th", one["name"], scope="row"), cell(figure_of(metric, result["clean"])),
            (cell(figure_of(metric, value)) for value in one["values"]))
        for one in result["corruptions"]
    )  # fmt: skip
    return table(head, rows, "list")
