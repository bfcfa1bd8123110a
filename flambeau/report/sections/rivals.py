"""The model beside the cheapest rivals, and what each of its inputs brings."""

from __future__ import annotations

from typing import Any

from flambeau.core.printable import duration
from flambeau.objectives.intervals import unrelated
from flambeau.objectives.names import higher_is_better, is_share
from flambeau.report.facts import Facts
from flambeau.report.markup import Markup, tag
from flambeau.report.parts import cell, figure_of, note, section, table
from flambeau.report.words import Words

SHOWN = 12


def rivals(facts: Facts, words: Words) -> Markup | None:
    """Simple models on the same rows: their figures beside the model's, and which is the best."""
    baselines = facts.baselines
    if not baselines:
        return None
    main = facts.main[0]
    names = sorted((n for n in facts.metrics if all(n in b["metrics"] for b in baselines)), key=lambda n: n != main)
    head = (tag("th", words("rivals.name"), scope="col"),
            *(tag("th", words.metric(n), scope="col", class_="n") for n in names),
            tag("th", words("rivals.time"), scope="col", class_="n"))  # fmt: skip
    this = {"name": words("rivals.this", model=facts.recipe.model.name), "metrics": facts.metrics,
            "seconds": facts.seconds}  # fmt: skip
    best = {n: (max if higher_is_better(n) else min)(m["metrics"][n] for m in (this, *baselines)) for n in names}
    rows = [_row(this, names, best, words, "this")] + [_row(b, names, best, words) for b in baselines]
    return section(words, "rivals", _verdict(facts, words), note(words("rivals.note")), table(head, rows, "list"))


def _verdict(facts: Facts, words: Words) -> Markup | None:
    best, (name, _) = facts.best_baseline, facts.main
    if best is None or not facts.winner:
        return None
    values = {"name": words.say(best["name"]), "metric": words.metric(name),
              "theirs": figure_of(name, best["metrics"][name]),
              "ours": figure_of(name, facts.metrics[name])}  # fmt: skip
    verdict = words(f"rivals.{facts.winner}", **values)
    if difference := best.get("differences", {}).get(name):
        value, low, high = (_signed(d, name) for d in difference)
        verdict += " " + words("rivals.difference", value=value, low=low, high=high)
    constant = unrelated(facts.baselines, facts.metrics, name)
    if constant is not None:
        verdict += " " + words("rivals.unrelated", name=words.say(constant))
    return tag("p", verdict, class_="lead")


def _row(one: dict[str, Any], names: list[str], best: dict[str, float], words: Words, kind: str = "") -> Markup:
    metrics = one["metrics"]
    cells = (
        tag("td", tag("b", figure) if metrics[n] == best[n] else figure, class_="n")
        for n in names
        for figure in [figure_of(n, metrics[n])]
    )
    remark = tag("span", f" ({words.say(one['note'])})", class_="quiet") if one.get("note") else None
    name = tag("th", one["name"] if kind else words.say(one["name"]), remark, scope="row")
    return tag("tr", name, cells, cell(duration(one["seconds"])), class_=kind or None)


def inputs(facts: Facts, words: Words) -> Markup | None:
    """How much worse the model is with each input shuffled, the most needed first."""
    importance = facts.evaluation.get("shuffled")
    if not importance:
        return None
    name, sign = importance["metric"], 1 if importance["more_is_better"] else -1
    whole, without = importance["whole"], importance["without"]
    lost = sorted(((sign * (whole - v), column, v) for column, v in without.items()), reverse=True)
    metric, largest = words.metric(name), max((abs(change) for change, _, _ in lost), default=0.0) or 1.0
    head = (tag("th", words("inputs.name"), scope="col"), tag("th", words("inputs.lost"), scope="col"),
            tag("th", words("inputs.without", metric=metric), scope="col", class_="n"))  # fmt: skip
    rows = [
        tag("tr", tag("th", column, scope="row"), tag("td", _change(change / largest, _signed(-sign * change, name))),
            cell(figure_of(name, value)))
        for change, column, value in lost[:SHOWN]
    ]  # fmt: skip
    return section(
        words, "inputs", note(words("inputs.note", metric=metric, whole=figure_of(name, whole))),
        table(head, rows, "list"),
        note(words("inputs.more", count=len(lost) - SHOWN)) if len(lost) > SHOWN else None,
    )  # fmt: skip


def _change(share: float, number: str) -> Markup:
    """A change as a number with a bar beside it; what gets better has none."""
    bar = tag("span", tag("span", style=f"width:{max(share, 0.0) * 100:.1f}%"), class_="meter")
    return tag("span", tag("span", number, class_="number"), bar, class_="measure")


def _signed(change: float, metric: str) -> str:
    return (f"{change * 100:+.1f}%" if is_share(metric) else f"{change:+.4g}").replace("-", "−")
