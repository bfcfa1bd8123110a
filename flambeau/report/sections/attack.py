"""What is left of a model's accuracy where its inputs are changed on purpose, over epsilon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flambeau.objectives.names import is_share
from flambeau.report.facts import Facts
from flambeau.report.markup import Markup, fragment, tag
from flambeau.report.parts import cell, figure, figure_of, grid, note, section, table
from flambeau.report.scale import short
from flambeau.report.svg import Series, line_chart, percent
from flambeau.report.words import Words


def attack(facts: Facts, words: Words) -> Markup | None:
    """What `flambeau attack` left in the run."""
    return attacked(facts.attack, words) if facts.attack else None


def attacked(result: Mapping[str, Any], words: Words) -> Markup:
    """The section of any attack, as `fb.attack` gives it."""
    metric, curve, target = result["metric"], result["curve"], result["target"]
    name, unit, share = words.metric(metric), words(f"attack.{result['norm']}"), is_share(metric)
    points = [(point["value"], point["metrics"][metric]) for point in curve]
    chart = line_chart(
        [Series(name, points, style="dots"), Series(name, points)], label=name, x_label=unit, y_label=name,
        floor=0.0 if share else None, ceiling=1.0 if share else None, y_format=percent if share else short,
    )  # fmt: skip
    aimed = None if target is None else words("attack.reached", target=target)
    rows = (
        tag("tr", tag("td", point["epsilon"]), cell(figure_of(metric, point["metrics"][metric])),
            aimed and cell(figure_of("accuracy", point["reached"])))
        for point in curve
    )  # fmt: skip
    views = result["tta"]
    told = words("attack.told", method=result["method"], rows=f"{result['rows']:,}")
    told += words("attack.views", views=views["name"] or views["views"]) if views else ""
    cards = (
        tag("section", tag("h3", f"{one['place']} ({one['label']})"),
            grid(*(tag("figure", fragment(seen["html"]), tag("figcaption", f"{point['epsilon']}: {seen['answer']}"))
                   for point, seen in zip(curve, one["seen"], strict=False))))
        for one in result["examples"]
    )  # fmt: skip
    return section(
        words, "attack", figure(name, chart, remark=told),
        table([tag("th", head) for head in (unit, name, aimed) if head], rows, "figures"),
        tag("h3", words("attack.examples")), cards if result["examples"] else note(words("attack.none")),
    )  # fmt: skip
