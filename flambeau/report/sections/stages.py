"""The stages that a training went through before its first step, such as those of a language model."""

from __future__ import annotations

from flambeau.report.facts import Facts
from flambeau.report.markup import Markup, tag
from flambeau.report.parts import cell, figure_of, note, section, table
from flambeau.report.words import Words

SHOWN = ("perplexity", "bits_per_character", "accuracy")


def stages(facts: Facts, words: Words) -> Markup | None:
    """What each began with, and reached on texts that it did not learn."""
    known = facts.evaluation.get("stages")
    if not known:
        return None
    names = [name for name in SHOWN if any(name in one["metrics"] for one in known)]
    head = (tag("th", words("stages.name"), scope="col"), tag("th", words("stages.model"), scope="col"),
            tag("th", words("tile.epochs"), scope="col", class_="n"),
            *(tag("th", words.metric(name), scope="col", class_="n") for name in names))  # fmt: skip
    rows = []
    for one in known:
        figures = {name: figure_of(name, value) for name, value in one["metrics"].items() if name in names}
        name, model = tag("th", words(f"stages.{one['stage']}"), scope="row"), tag("td", one["model"])
        rows.append(tag("tr", name, model, cell(str(one["epochs"])), *(cell(figures.get(n, "–")) for n in names)))
    return section(words, "stages", note(words("stages.note")), table(head, rows, "list"))
