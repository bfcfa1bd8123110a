"""The page of a watched model: what is amiss, how right it was, and each signal before and now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flambeau.report.markup import Markup, tag
from flambeau.report.page import document
from flambeau.report.parts import cell, figure_of, note, number, section, table
from flambeau.report.words import Words


def build(result: Mapping[str, Any], language: str = "en") -> str:
    """The page as HTML text.

    Args:
        result: what `flambeau.production.watching.watch` gives.
        language: `en` or `zh-CN`.
    """
    words = Words(language)
    title = words("watch.title", name=result["model"])
    told = words("watch.told", count=f"{result['predictions']:,}", version=result["version"])
    alerts = tag("ul", (tag("li", alert) for alert in result["alerts"])) if result["alerts"] else words("watch.quiet")
    return document(
        title, words,
        tag("header", tag("h1", title), tag("p", told)),
        section(words, "watch.alerts", alerts),
        section(words, "watch.feedback", _feedback(result["feedback"], words)),
        section(words, "watch.drift", _drift(result, words), *(note(one) for one in result["notes"])),
    )  # fmt: skip


def _feedback(right: Mapping[str, Any], words: Words) -> Markup:
    if "value" not in right:
        return tag("p", words("watch.no_feedback", count=f"{right['rows']:,}"))
    value, low, high = (figure_of(right["name"], right[key]) for key in ("value", "low", "high"))
    before = figure_of(right["name"], right["before"]) if "before" in right else "–"
    return tag("p", words("watch.right", metric=words.metric(right["name"]), value=value, low=low, high=high,
                          count=f"{right['rows']:,}", before=before))  # fmt: skip


def _drift(result: Mapping[str, Any], words: Words) -> Markup:
    names = ("signal", "test", "size", "psi", "chance", "before", "now")
    head = [tag("th", words(f"watch.{name}")) for name in names]
    rows = (
        tag("tr", tag("th", tag("b", drift["name"]) if drift["alert"] else drift["name"], scope="row"),
            tag("td", drift["test"]), cell(number(drift["size"])),
            cell("" if drift["psi"] is None else number(drift["psi"])), cell(f"{drift['p']:.2g}"),
            tag("td", drift["before"]), tag("td", drift["now"]))
        for drift in result["drift"]
    )  # fmt: skip
    return table(head, rows, "list")
