"""Pictures before and after a model that makes pictures of pictures, the worst first: one over the other, of which the
corner below moves the edge between both."""

from __future__ import annotations

import html
import re
from typing import Any

from flambeau.report.facts import Facts
from flambeau.report.markup import Markup, tag
from flambeau.report.parts import note, section
from flambeau.report.words import Words

IMAGE = re.compile(r'<img src="(data:image/[a-z]+;base64,[A-Za-z0-9+/=]+)" alt="([^"]*)">')
BOTH = ["before", "after"]


def both(picture: Any) -> list[str]:
    """The sources of a picture before and after; none of what is something else."""
    found = IMAGE.findall(str(picture.get("html", ""))) if isinstance(picture, dict) else []
    return [source for source, _ in found] if [alt for _, alt in found] == BOTH else []


def restored(facts: Facts, words: Words) -> Markup | None:
    """The section; nothing where no picture was made of another."""
    shown = [(picture, found) for picture in facts.detail.get("pictures", []) if (found := both(picture))]
    cards = (
        tag(
            "article",
            tag("div", tag("img", src=after, alt="after"),
                tag("div", tag("img", src=before, alt="before"), class_="curtain"), class_="slider"),
            tag("p", html.unescape(str(picture.get("caption", ""))), class_="place"),
            class_="card",
        )
        for picture, (before, after) in shown
    )  # fmt: skip
    return (
        section(words, "restored", note(words("restored.note")), tag("div", cards, class_="gallery")) if shown else None
    )
