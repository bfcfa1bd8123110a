"""The worst mistakes, as pictures or as texts with the words that mattered; and what an objective shows of itself."""

from __future__ import annotations

from typing import Any

from flambeau.report.facts import Facts
from flambeau.report.markup import Markup, fragment, tag
from flambeau.report.parts import meter, note, section
from flambeau.report.sections.restored import both
from flambeau.report.words import Words


def worst(facts: Facts, words: Words) -> Markup | None:
    """The section; nothing where mistakes were not collected."""
    mistakes = facts.detail.get("worst")
    if mistakes is None:
        return None
    if not mistakes:
        return section(words, "worst", note(words("worst.none")))
    remark = "worst.note_number" if facts.numbers else "worst.note"
    cards = tag("div", (_card(m, facts, words) for m in mistakes), class_="gallery")
    weighed = any(mark in str(m.get("html")) for m in mistakes for mark in ("class=for", "class=against"))
    heated = any('alt="heat"' in str(m.get("html")) for m in mistakes)
    hints = [
        note(words(name)) for name, there in (("worst.note_tokens", weighed), ("worst.note_heat", heated)) if there
    ]
    return section(words, "worst", note(words(remark)), hints, cards)


def pictures(facts: Facts, words: Words) -> Markup | None:
    """What an objective shows of itself: `detail()` with `pictures`, each with its caption and HTML. What is generated
    has a section of its own."""
    if facts.evaluation.get("portrait"):
        return None
    shown = [picture for picture in facts.detail.get("pictures", []) if isinstance(picture, dict) and not both(picture)]
    legend = facts.detail.get("legend", {})
    keys = (tag("span", tag("span", style=f"background:{colour}"), name) for name, colour in legend.items())
    cards = (tag("article", tag("div", fragment(str(picture.get("html", ""))), class_="thumb"),
                 tag("p", str(picture.get("caption", "")), class_="place"), class_="card sample")
             for picture in shown)  # fmt: skip
    remark = f"pictures.{facts.detail.get('kind')}"
    return section(
        words, "pictures",
        note(words(remark)) if remark in words else None,
        tag("p", keys, class_="swatches") if legend else None,
        tag("div", cards, class_="gallery compared" if legend else "gallery"),
    ) if shown else None  # fmt: skip


def _card(mistake: dict[str, Any], facts: Facts, words: Words) -> Markup:
    place = words.say(str(mistake.get("place") or "")) or words("row", row=mistake.get("row", "?"))
    picture = tag("div", fragment(mistake["html"]), class_="thumb") if mistake.get("html") else None
    taken = "guessed" if facts.numbers else "taken_for"
    return tag(
        "article",
        picture,
        _answer(words("was", name=mistake.get("true", "?")), mistake.get("probability_of_true"), "hit"),
        _answer(words(taken, name=mistake.get("predicted", "?")), mistake.get("confidence"), "miss"),
        tag("p", place, class_="place", title=place),
        class_="card mistake",
    )


def _answer(answer: str, probability: float | None, kind: str) -> Markup:
    share = None if probability is None else meter(probability, kind)
    return tag("div", tag("span", answer, class_="answer"), share, class_=f"row {kind}")
