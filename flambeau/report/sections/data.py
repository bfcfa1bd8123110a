"""The data: its parts, what is in its columns, some rows, and what the checks found."""

from __future__ import annotations

import datetime
import re
from itertools import zip_longest
from typing import Any

from flambeau.core.findings import Finding
from flambeau.report.facts import Facts
from flambeau.report.markup import Markup, fragment, tag
from flambeau.report.parts import cell, figure, grid, note, original, percentage, section, table
from flambeau.report.scale import short
from flambeau.report.svg import Series, bar_chart, line_chart, spark
from flambeau.report.words import Words

FEW_PLACES, MOST_PLACES = 6, 200
MOST_CLASSES = 16  # shown at once; the rest opens on demand
MOST_COLUMNS = 24
PARTS = ("train", "valid", "test")


def data(facts: Facts, words: Words) -> Markup:
    """The section."""
    seen = facts.overview
    shown = [
        parts_bar(seen.get("rows", {}), words),
        _pictures(facts, words),
        _table(facts, words),
        sample_cards(seen, words),
    ]
    if not facts.findings:
        key = "data.unchecked" if facts.checked is False else "data.none" if facts.checked else "data.no_findings"
        return section(words, "data", *shown, note(words(key)))
    cards = (card(f, t or [], words) for f, t in zip_longest(facts.findings, facts.thumbnails) if f is not None)
    findings = (tag("h3", words("data.found")), tag("div", cards, class_="stack"))
    return section(words, "data", *shown, *(findings if seen else findings[1:]))


def parts_bar(rows: dict[str, int], words: Words) -> Markup | None:
    """How many rows train, validate and test, as a bar and in numbers."""
    total = sum(rows.values())
    if not total:
        return None
    known = [(part, i, rows[part]) for i, part in enumerate(PARTS, 1) if part in rows]
    bar = (tag("span", style=f"width:{n / total * 100:.2f}%", class_=f"c{i}") for _, i, n in known)
    keys = (
        tag("span", words("data.part", part=words.name("split", part), count=n, share=n / total), class_=f"key c{i}")
        for part, i, n in known
    )
    return tag(
        "div", tag("div", bar, class_="stacked", aria_hidden="true"), tag("p", keys, class_="legend"), class_="parts"
    )


def _pictures(facts: Facts, words: Words) -> Markup | None:
    """The target and each input that can be counted, as charts."""
    seen = facts.overview
    charts = []
    target = seen.get("target", {})
    if "counts" in target:
        charts.append(_classes(target, words))
    elif "bins" in target:
        charts.append(_histogram(target["name"], target, words))
    if target.get("sizes"):
        charts.append(_sizes(target, words))
    for name, column in seen.get("columns", {}).items():
        if "bins" in column:
            charts.append(_histogram(name, column, words))
        if "courses" in column:
            courses, count = column["courses"], column["series"]
            charts += [
                _course(facts, points, f" ({i} / {count})" * (count > 1), words) for i, points in enumerate(courses, 1)
            ]
    return grid(*charts) if charts else None


def _classes(target: dict[str, Any], words: Words) -> Markup:
    """How often each class is there, in each part of the split."""
    counts: dict[str, int] = target["counts"]
    largest = max([*counts.values(), 1])
    of_parts = target.get("parts", {})

    def row(name: str) -> Markup:
        parts = of_parts.get(name) or {"train": counts[name]}
        bars = (
            tag("span", style=f"width:{parts[part] / largest * 100:.2f}%", class_=f"c{i}",
                title=words("data.part_count", part=words.name("split", part), count=parts[part]))
            for i, part in enumerate(PARTS, 1) if parts.get(part)
        )  # fmt: skip
        return tag("li", tag("span", name, class_="name", title=name), tag("span", bars, class_="bars"),
                   tag("span", f"{counts[name]:,}", class_="n"))  # fmt: skip

    names = list(counts)
    rest = names[MOST_CLASSES:]
    more = None
    if rest:
        summary = words("more_classes", count=target.get("distinct", len(names)) - MOST_CLASSES)
        more = tag("details", tag("summary", summary), tag("ul", map(row, rest), class_="counts"))
    title = words("data.classes", name=target["name"], count=target.get("distinct", len(names)))
    return figure(title, tag("ul", map(row, names[:MOST_CLASSES]), class_="counts"), more)


def _sizes(target: dict[str, Any], words: Words) -> Markup:
    """How many things of each size each class has, and all of them."""
    sizes: dict[str, dict[str, int]] = target["sizes"]
    columns = [*next(iter(sizes.values()))]
    head = (tag("th", words("class"), scope="col"),
            *(tag("th", words.name("data", name), scope="col", class_="n") for name in columns))  # fmt: skip
    total = {name: sum(counts[name] for counts in sizes.values()) for name in columns}
    rows = [(name, sizes[name]) for name in [*target["counts"]][:MOST_CLASSES]]
    lines = (
        tag("tr", tag("th", name, scope="row"), (cell(f"{counts[column]:,}") for column in columns))
        for name, counts in [*rows, (words("data.all_classes"), total)]
    )
    return figure(words("data.sizes", name=target["name"]), table(head, lines, "list"))


def _histogram(name: str, column: dict[str, Any], words: Words) -> Markup:
    """How the numbers of a column lie, or the lengths of its texts."""
    unit = words.name("unit", column["unit"]) if column["unit"] else name
    title = words("data.lengths", name=name, unit=unit) if column["unit"] not in ("", "date") else name
    remark = words("data.median", median=_read(column["median"], column), least=_read(column["least"], column),
                 most=_read(column["most"], column))  # fmt: skip
    chart = bar_chart(_bars(column), label=f"{title}: {remark}", x_label=unit, y_label=words("data.rows"),
                      x_format=lambda value: _read(value, column))  # fmt: skip
    return figure(title, chart, remark=remark)


def _bars(column: dict[str, Any]) -> list[tuple[float, float, float]]:
    width = (column["high"] - column["low"]) / len(column["bins"]) or 1.0
    return [(column["low"] + i * width, column["low"] + (i + 1) * width, n) for i, n in enumerate(column["bins"])]


def _read(value: float, column: dict[str, Any]) -> str:
    if column.get("unit") != "date":
        return short(float(f"{value:.4g}"))
    return str((datetime.datetime(1970, 1, 1) + datetime.timedelta(days=value)).date())


def _course(facts: Facts, points: list[list[float | None]], which: str, words: Words) -> Markup:
    """A whole series, and which of several."""
    target = str(facts.fields.get("target", ""))
    series = Series(target, [(float(x), y) for x, y in points if x is not None and y is not None], 1)
    title = words("data.course", name=f"{target}{which}")
    return figure(title, line_chart([series], label=title, x_label=words("data.steps"), y_label=target))


def _table(facts: Facts, words: Words) -> Markup | None:
    """Of each column of a table its kind, what is missing, and what is in it."""
    tables = [c["columns"] for c in facts.overview.get("columns", {}).values() if "columns" in c]
    columns = {name: column for one in tables for name, column in one.items()}
    if not columns:
        return None
    head = (tag("th", words("column"), scope="col"), tag("th", words("kind"), scope="col"),
            tag("th", words("missing"), scope="col", class_="n"), tag("th", words("content"), scope="col"))  # fmt: skip
    rows = (
        tag("tr", tag("th", name, scope="row"), tag("td", words.name("kind", column["kind"])),
            cell(percentage(column["missing"]) if column["missing"] else "–"), tag("td", _content(name, column, words)))
        for name, column in list(columns.items())[:MOST_COLUMNS]
    )  # fmt: skip
    left = len(columns) - MOST_COLUMNS
    return tag("div", table(head, rows, "list"), note(words("inputs.more", count=left)) if left > 0 else None)


def _content(name: str, column: dict[str, Any], words: Words) -> str | None:
    if "bins" in column:
        ends = f"{_read(column['least'], column)} … {_read(column['most'], column)}"
        return tag(
            "span", spark(column["bins"], f"{name}: {ends}"), tag("span", ends, class_="quiet"), class_="sparked"
        )
    if "counts" in column:
        total = sum(column["counts"].values()) or 1
        shown = [f"{value} {n / total:.0%}" for value, n in list(column["counts"].items())[:4]]
        more = column["distinct"] - len(shown)
        return words("listed").join(shown) + (words("data.more_values", count=more) if more > 0 else "")
    return None


def sample_cards(seen: dict[str, Any], words: Words) -> Markup | None:
    """A few rows that it trained on."""
    if not seen.get("samples"):
        return None
    cards = (
        tag("article", tag("div", fragment(one["html"]), class_="thumb"),
            tag("p", one["label"], class_="answer") if one["label"] else None,
            tag("p", words.say(one["place"]), class_="place"), class_="card sample")
        for one in seen["samples"]
    )  # fmt: skip
    return tag("div", tag("h3", words("data.samples")), tag("div", cards, class_="gallery samples"))


def card(finding: Finding, thumbnails: list[str], words: Words) -> Markup:
    """A finding with its cure, its thumbnails and its places."""
    counted = re.search(rf"\b{finding.count:,}\b", finding.message)
    concerned = (
        None
        if counted or finding.count < 2 or words.language != "en"
        else words("samples_concerned", count=finding.count)
    )
    pictures = tag("div", (tag("span", fragment(t), class_="thumb") for t in thumbnails), class_="thumbs")
    said, fix = words.finding(finding), words.fix(finding)
    return tag(
        "article",
        tag(
            "p",
            tag("span", words.name("severity", str(finding.severity)), class_=f"chip chip-{finding.severity}"),
            tag("b", said, lang="en" if words.language != "en" and said in finding.message else None),
            tag("span", concerned, class_="quiet") if concerned else None,
            class_="row",
        ),
        tag("p", f"→ {fix}", class_="fix") if fix else None,
        original(words, str(finding.message) + (f"; {finding.fix}" if finding.fix else "")),
        pictures if thumbnails else None,
        _places(finding.places, words),
        class_="card finding",
    )


def _places(places: list[str], words: Words) -> Markup | None:
    if not places:
        return None
    listed = [tag("li", words.say(p)) for p in places[:MOST_PLACES]]
    if len(places) > MOST_PLACES:
        listed.append(tag("li", words("more_places", count=len(places) - MOST_PLACES), class_="quiet"))
    names = tag("ul", listed, class_="places")
    if len(places) <= FEW_PLACES:
        return names
    return tag("details", tag("summary", f"{words('all_places')} ({len(places):,})"), names)
