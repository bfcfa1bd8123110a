"""What a detector finds: precision beside recall, average precision by class and size, and its mistakes by kind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flambeau.report.facts import Facts
from flambeau.report.markup import Markup, fragment, tag
from flambeau.report.parts import cell, figure, grid, meter, note, section, table
from flambeau.report.svg import Series, line_chart, percent
from flambeau.report.words import Words

COLOURS = 4  # curves in one chart
MOST_CURVES = 12
SHARES, OF_MASKS = ("map50", "map"), ("mask_map50", "mask_map")
SIZES = ("map_small", "map_medium", "map_large")


def objects(facts: Facts, words: Words) -> Markup | None:
    """A curve for each class, and its figures, the lowest first."""
    found = facts.detail.get("boxes")
    if not found:
        return None
    there = [one for one in found["classes"] if one["count"]]
    ordered = sorted(there, key=lambda one: one["map50"] or 0.0)
    charts = (_curves(ordered[i : i + COLOURS], i, words) for i in range(0, min(len(ordered), MOST_CURVES), COLOURS))
    shares = (*SHARES, *(name for name in OF_MASKS if any(name in one for one in there)))
    names = words("class"), words("objects.count"), *map(words.metric, (*shares, *SIZES))
    rows = (_row(one, shares) for one in ordered)
    shown = table((tag("th", name, scope="col") for name in names), rows, "list")
    return section(words, "objects", note(words("objects.note")), grid(*charts), shown)


def _curves(classes: Iterable[dict[str, Any]], number: int, words: Words) -> Markup:
    series = [Series(one["name"], [(i / 100, p) for i, p in enumerate(one["precision"]) if p is not None], colour)
              for colour, one in enumerate(classes, 1)]  # fmt: skip
    title = words("objects.curves")
    chart = line_chart(series, label=title, x_label=words("recall"), y_label=words("precision"), y_format=percent,
                       floor=0.0, ceiling=1.0)  # fmt: skip
    return figure(title, chart, series=series, id=f"objects-{number}")


def _row(one: dict[str, Any], shares: Iterable[str]) -> Markup:
    sizes = (cell("–" if one[name] is None else percent(one[name])) for name in SIZES)
    meters = (tag("td", meter(one[name] or 0.0)) for name in shares)
    return tag("tr", tag("th", one["name"], scope="row"), cell(f"{one['count']:,}"), meters, sizes)


def wrong_objects(facts: Facts, words: Words) -> Markup | None:
    """How many mistakes there are of each kind, and the surest of each."""
    found = facts.detail.get("boxes")
    if not found or not any(mistakes["count"] for mistakes in found["mistakes"].values()):
        return None
    head = (tag("th", words(name), scope="col") for name in ("objects.mistake", "count", "objects.meaning"))
    rows = (tag("tr", tag("th", words.name("mistake", name), scope="row"), cell(f"{mistakes['count']:,}"),
                tag("td", words.name("mistake.of", name))) for name, mistakes in found["mistakes"].items())  # fmt: skip
    lists = (_listed(name, mistakes, words) for name, mistakes in found["mistakes"].items() if mistakes["worst"])
    return section(words, "wrong_objects", table(head, rows, "list"), lists)


def _listed(name: str, mistakes: dict[str, Any], words: Words) -> Markup:
    heading = tag("h3", words.name("mistake", name))
    drawn = tag("div", (_card(one, words) for one in mistakes["worst"] if one.get("html")), class_="gallery")
    rest = [one for one in mistakes["worst"] if not one.get("html")]
    if not rest:
        return tag("div", heading, drawn)
    told = tag("ul", (tag("li", f"{_said(one, words)} · {words.say(str(one.get('place') or ''))}") for one in rest))
    return tag("div", heading, drawn,
               tag("details", tag("summary", words("more_places", count=len(rest))), told))  # fmt: skip


def _card(one: dict[str, Any], words: Words) -> Markup:
    place = words.say(str(one.get("place") or ""))
    return tag("article", tag("div", fragment(one["html"]), class_="thumb"),
               tag("p", _said(one, words), class_="answer"), tag("p", place, class_="place", title=place),
               class_="card sample")  # fmt: skip


def _said(one: dict[str, Any], words: Words) -> str:
    """What was said of a place, how surely, and what is there."""
    score = "" if one["score"] is None else f" {one['score']:.2f}"
    return one["label"] + score + (words("and") + words("was", name=one["true"]) if "true" in one else "")
