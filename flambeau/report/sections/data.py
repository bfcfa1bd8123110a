"""What the checks of the data found, with thumbnails."""

from __future__ import annotations

import re
from itertools import zip_longest

from flambeau.core.findings import Finding
from flambeau.report.facts import Facts
from flambeau.report.markup import Markup, fragment, tag
from flambeau.report.parts import note, section
from flambeau.report.words import Words

FEW_PLACES, MOST_PLACES = 6, 200


def data(facts: Facts, words: Words) -> Markup:
    """The section."""
    if not facts.findings and facts.checked is False:
        return section(words, "data", note(words("data.unchecked")))
    if not facts.findings:
        return section(words, "data", note(words("data.none" if facts.checked else "data.no_findings")))
    cards = (_card(f, t or [], words) for f, t in zip_longest(facts.findings, facts.thumbnails) if f is not None)
    return section(words, "data", tag("div", cards, class_="stack"))


def _card(finding: Finding, thumbnails: list[str], words: Words) -> Markup:
    told = re.search(rf"\b{finding.count:,}\b", finding.message)
    concerned = None if told or finding.count < 2 else words("samples_concerned", count=finding.count)
    pictures = tag("div", (tag("span", fragment(t), class_="thumb") for t in thumbnails), class_="thumbs")
    return tag(
        "article",
        tag(
            "p",
            tag("span", words.name("severity", str(finding.severity)), class_=f"chip chip-{finding.severity}"),
            tag("b", finding.message),
            tag("span", concerned, class_="quiet") if concerned else None,
            class_="row",
        ),
        tag("p", f"→ {finding.fix}", class_="fix") if finding.fix else None,
        pictures if thumbnails else None,
        _places(finding.places, words),
        class_="card finding",
    )


def _places(places: list[str], words: Words) -> Markup | None:
    if not places:
        return None
    listed = [tag("li", p) for p in places[:MOST_PLACES]]
    if len(places) > MOST_PLACES:
        listed.append(tag("li", words("more_places", count=len(places) - MOST_PLACES), class_="quiet"))
    names = tag("ul", listed, class_="places")
    if len(places) <= FEW_PLACES:
        return names
    return tag("details", tag("summary", f"{words('all_places')} ({len(places):,})"), names)
