"""The page of a search for settings: how it went, which settings mattered, and each trial."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

from flambeau.core.printable import duration
from flambeau.objectives.names import is_share
from flambeau.report.markup import Markup, tag
from flambeau.report.page import document
from flambeau.report.parts import cell, figure, figure_of, grid, meter, note, section, table
from flambeau.report.scale import short
from flambeau.report.svg import Series, line_chart, percent
from flambeau.report.words import Words


def build(name: str, result: Mapping[str, Any], language: str = "en") -> str:
    """The page as HTML text.

    Args:
        name: of the study.
        result: what `fb.tune` gives: metric, higher_is_better, trials, best, test, importance.
        language: `en` or `zh-CN`.
    """
    words, metric = Words(language), result["metric"]
    best, counts = result["best"], [t["state"] for t in result["trials"]]
    told = words("search.told", metric=words.metric(metric), value=figure_of(metric, best["value"]),
                 trial=best["trial"], count=len(counts), pruned=counts.count("pruned"),
                 failed=counts.count("failed"))  # fmt: skip
    if metric in result["test"]:
        told += words("stop") + " " + words("search.test", value=figure_of(metric, result["test"][metric]))
    settings = (tag("li", name, ": ", tag("b", _shown(value))) for name, value in best["settings"].items())
    return document(
        words("search.title", name=name), words,
        tag("header", tag("h1", words("search.title", name=name)), tag("p", told + words("stop"))),
        section(words, "search.best", tag("ul", settings)),
        section(words, "search.history", grid(_history(result, words), _importance(result, words))),
        section(words, "search.trials", _trials(result, words)),
    )  # fmt: skip


def _history(result: Mapping[str, Any], words: Words) -> Markup:
    metric = result["metric"]
    points = [(t["trial"], t["value"]) for t in result["trials"] if t["value"] is not None]
    values = accumulate((value for _, value in points), max if result["higher_is_better"] else min)
    series = [Series(words("search.value"), points, 2, "dots"),
              Series(words("search.best"), [(x, y) for (x, _), y in zip(points, values, strict=True)], 1)]  # fmt: skip
    share = is_share(metric)
    chart = line_chart(series, label=words("search.history"), x_label=words("search.trial"),
                       y_label=words.metric(metric), y_format=percent if share else short,
                       ceiling=1.0 if share else None, whole_x=True)  # fmt: skip
    return figure(words("search.history"), chart, series=series)


def _importance(result: Mapping[str, Any], words: Words) -> Markup:
    if not result["importance"]:
        return figure(words("search.importance"), note(words("search.too_few")))
    rows = (tag("tr", tag("td", name), tag("td", meter(share))) for name, share in result["importance"].items())
    head = (tag("th", words(key)) for key in ("search.setting", "search.share"))
    return figure(words("search.importance"), table(head, rows, "importance"), remark=words("search.importance.note"))


def _trials(result: Mapping[str, Any], words: Words) -> Markup:
    names, metric, best = list(result["best"]["settings"]), result["metric"], result["best"]["trial"]
    head = [
        words("search.trial"),
        words("search.state"),
        words.metric(metric),
        *names,
        words("epoch"),
        words("search.time"),
    ]
    rows = (
        tag("tr", cell(str(t["trial"])), tag("td", words("search." + t["state"]), title=t["error"]),
            cell("" if t["value"] is None else figure_of(metric, t["value"])),
            (cell(_shown(t["settings"].get(name, ""))) for name in names), cell(str(t["epochs"])),
            cell("" if t["seconds"] is None else duration(t["seconds"])), class_="best" if t["trial"] == best else None)
        for t in result["trials"]
    )  # fmt: skip
    return table((tag("th", each) for each in head), rows, "trials")


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
