"""The page: the sections under their contents, in one file that asks nothing of any server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from flambeau.report.facts import Facts
from flambeau.report.markup import Child, Markup, tag
from flambeau.report.sections import SECTIONS
from flambeau.report.sections.top import top
from flambeau.report.words import Words, languages
from flambeau.version import __version__

# nothing is loaded and nothing runs, whatever a class name or a file name may hold
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:; base-uri 'none'; form-action 'none'"
)


def page(facts: Facts, words: Words) -> str:
    """The report as HTML text."""
    return document(
        words("title", name=facts.name), words, top(facts, words),
        *under_contents({name: made(facts, words) for name, made in SECTIONS}, words),
    )  # fmt: skip


def under_contents(sections: Mapping[str, Markup | None], words: Words) -> list[Markup]:
    """Links to sections by the names that they have in `words`, and the sections; None is left out."""
    there = {name: made for name, made in sections.items() if made is not None}
    links = (tag("a", words(name), href=f"#{name}") for name in there)
    return [tag("nav", links, aria_label=words("contents")), *there.values()]


def language_of(path: Path) -> str:
    """The language of a page that is there already; English where there is none, or another's."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            found = re.search(r'<html lang="([\w-]+)"', file.read(200))
    except FileNotFoundError:
        return "en"
    return found[1] if found and found[1] in languages() else "en"


def document(title: str, words: Words, *content: Child) -> str:
    """A page of its own as HTML text, in the report's style."""
    style = (files("flambeau.report") / "style.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name_="color-scheme", content="light dark"),
        tag("title", title),
        tag("link", rel="icon", href="data:,"),
        tag("style", Markup(style)),
    )
    body = tag("body", tag("main", *content, tag("footer", words("written_by", version=__version__))))
    return f"<!doctype html>\n{tag('html', head, body, lang=words.language)}\n"
