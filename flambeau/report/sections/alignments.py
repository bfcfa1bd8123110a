"""Where a model that writes texts looked in the source for each token that it wrote: a table of heat for each text."""

from __future__ import annotations

from typing import Any

from flambeau.report.facts import Facts
from flambeau.report.markup import Markup, tag
from flambeau.report.parts import note, section, table
from flambeau.report.words import Words


def alignments(facts: Facts, words: Words) -> Markup | None:
    """The section; nothing where no model has said where it looked."""
    shown = facts.detail.get("alignments")
    return section(words, "alignments", note(words("alignments.note")), *map(_table, shown)) if shown else None


def _table(one: dict[str, Any]) -> Markup:
    """Tokens of the source across, those of the answer down."""
    head = (tag("th", tag("span", token), class_="upright", scope="col") for token in one["source"])
    rows = (
        tag("tr", tag("th", token, scope="row"),
            (tag("td", class_="hit", style=f"--heat:{100 * weight:.0f}%", title=f"{weight:.2f}") for weight in line))
        for token, line in zip(one["answer"], one["weights"], strict=True)
    )  # fmt: skip
    return table((tag("th"), *head), rows, "matrix dense")
