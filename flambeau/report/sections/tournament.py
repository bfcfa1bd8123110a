"""What was tried before this model was taken: the candidates of a tournament on validation rows."""

from __future__ import annotations

from typing import Any

from flambeau.core.printable import duration
from flambeau.report.facts import Facts
from flambeau.report.markup import Markup, tag
from flambeau.report.parts import cell, figure_of, note, section, table
from flambeau.report.words import Words


def tournament(facts: Facts, words: Words) -> Markup | None:
    """Each candidate's figure and loss on validation rows, its time, and its part in what answers."""
    held = facts.evaluation.get("tournament")
    if not held:
        return None
    metric = held["metric"]
    columns = (words.metric(metric), words.metric("loss"), words("rivals.time"), words("tournament.weight"))
    head = (tag("th", words("rivals.name"), scope="col"), *(tag("th", c, scope="col", class_="n") for c in columns))
    rows = [_row(one, metric) for one in held["candidates"]]
    text = words("tournament.note", rows=held["rows"], metric=words.metric(metric))
    return section(words, "tournament", tag("p", held["why"], class_="lead"), note(text), table(head, rows, "list"))


def _row(one: dict[str, Any], metric: str) -> Markup:
    remark = tag("span", f" ({one['note']})", class_="quiet") if one.get("note") else None
    if "value" not in one:
        return tag("tr", tag("th", one["name"], remark, scope="row"), *(cell("–") for _ in range(4)))
    figures = (figure_of(metric, one["value"]), figure_of("loss", one["loss"]), duration(one["seconds"]),
               f"{one['weight']:.2f}" if one["weight"] else "–")  # fmt: skip
    return tag("tr", tag("th", one["name"], scope="row"), *map(cell, figures), class_="this" if one["weight"] else None)
