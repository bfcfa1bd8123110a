"""A picture of the rows by what the model makes of them before its last layer."""

from __future__ import annotations

from collections import Counter

from flambeau.report.facts import Facts
from flambeau.report.markup import Markup
from flambeau.report.parts import figure, section
from flambeau.report.svg import Series, cloud
from flambeau.report.words import Words

COLOURS = 8


def embedding(facts: Facts, words: Words) -> Markup | None:
    """Each row a point in the colour of its class, its label and place on hover."""
    points = facts.embedding.get("points", [])
    if not points:
        return None
    common = Counter(point["label"] for point in points).most_common()
    rest = len(common) > COLOURS
    names = [name for name, _ in (common[: COLOURS - 1] if rest else common)]
    colour = {name: i + 1 for i, name in enumerate(sorted(names))}
    dots = [(p["x"], p["y"], colour.get(p["label"], COLOURS), f"{p['label']} · {p['place']}") for p in points]
    keys = [Series(name, [], number, "dots") for name, number in colour.items()]
    keys += [Series(words("embedding.others"), [], COLOURS, "dots")] if rest else []
    drawn = cloud(dots, label=words("embedding"))
    title = words("embedding.codes" if facts.evaluation.get("portrait") else "embedding.title")
    said = words("embedding.note", method=facts.embedding["method"], rows=f"{len(points):,}")
    return section(words, "embedding", figure(title, drawn, series=keys, remark=said))
