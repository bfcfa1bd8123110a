"""The pieces that the sections are put together from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from flambeau.objectives.names import is_share
from flambeau.report.markup import Child, Markup, tag
from flambeau.report.svg import Series
from flambeau.report.words import Words


def section(words: Words, name: str, *content: Child) -> Markup:
    """A section under its heading, which the contents link to."""
    return tag("section", tag("h2", words(name)), *content, id=name)


def note(*content: Child) -> Markup:
    """A remark in a quieter voice."""
    return tag("p", *content, class_="note")


def figure(
    title: str, *content: Child, series: Sequence[Series] = (), remark: str | None = None, id: str | None = None
) -> Markup:
    """A chart with its title and, for several curves, their names."""
    legend = None
    if len(series) > 1:
        keys = (tag("span", s.name, class_=f"key {s.style} c{s.colour}") for s in series)
        legend = tag("span", keys, class_="legend")
    return tag("figure", tag("figcaption", tag("b", title), legend), *content, note(remark) if remark else None,
               class_="card", id=id)  # fmt: skip


def grid(*content: Child) -> Markup:
    """Cards side by side where there is room, one below the other on a phone."""
    return tag("div", *content, class_="grid")


def table(head: Iterable[Child], rows: Iterable[Child], class_: str) -> Markup:
    """A table that scrolls inside its own box where it is too wide."""
    return tag("div", tag("table", tag("thead", tag("tr", head)), tag("tbody", rows), class_=class_), class_="scroll")


def meter(share: float, kind: str = "") -> Markup:
    """A share from 0 to 1 as a number with a bar under it."""
    share = min(max(share, 0.0), 1.0) if math.isfinite(share) else 0.0
    bar = tag("span", tag("span", style=f"width:{share * 100:.1f}%"), class_=f"meter {kind}".strip())
    return tag("span", tag("span", percentage(share), class_="number"), bar, class_="measure")


def original(words: Words, *sentences: str) -> Markup | None:
    """What the library wrote in English, folded, for a page in another language."""
    if words.language == "en" or not sentences:
        return None
    paragraphs = (tag("p", sentence) for sentence in sentences)
    return tag("details", tag("summary", words("original")), tag("div", paragraphs, lang="en", class_="original"))


def figure_of(name: str, value: float) -> str:
    """A metric as it is read: shares as percent, the rest as numbers.

    >>> figure_of("accuracy", 0.5), figure_of("rmse", 0.5)
    ('50.0%', '0.5')
    """
    return percentage(value) if is_share(name) else number(value)


def cell(value: str) -> Markup:
    """A number in a table, in line with those above and below it."""
    return tag("td", value, class_="n")


def percentage(share: float) -> str:
    """A share as percent; only what is whole is said to be whole.

    >>> percentage(0.123), percentage(1), percentage(0.9999), percentage(0.0001)
    ('12.3%', '100%', '99.99%', '0.01%')
    """
    if share in (0, 1) or not math.isfinite(share):
        return f"{share:.0%}"
    shown = f"{share:.1%}"
    return f"{share:.2%}" if shown in ("0.0%", "100.0%") else shown


def number(value: float) -> str:
    """A metric in few digits.

    >>> number(0.12345), number(1234.5), number(12)
    ('0.1235', '1,234', '12')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
