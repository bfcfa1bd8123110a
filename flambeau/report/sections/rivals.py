"""The model beside the cheapest rivals, and what each of its inputs brings."""

from __future__ import annotations

from flambeau.objectives.names import SHARES
from flambeau.report.facts import Facts
from flambeau.report.markup import Markup, tag
from flambeau.report.parts import duration, note, number, percentage, section, table
from flambeau.report.words import Words

SHOWN = 12


def rivals(facts: Facts, words: Words) -> Markup | None:
    """Simple models on the same rows: their figures beside the model's, and whether one of them wins."""
    found = facts.baselines
    if not found:
        return None
    names = [name for name in facts.metrics if all(name in b["metrics"] for b in found)]
    head = (tag("th", words("rivals.name")), *(tag("th", words.name("metric", n)) for n in names),
            tag("th", words("rivals.time")))  # fmt: skip
    rows = [_row(words("rivals.this", model=facts.recipe.model.name), facts.metrics, names, facts.seconds, "main")]
    rows += [
        _row(", ".join(filter(None, (b["name"], b.get("note")))), b["metrics"], names, b["seconds"]) for b in found
    ]
    best = facts.best_baseline
    told = note(words("rivals.note"))
    if best is not None and facts.baseline_wins:
        told = tag("p", words("rivals.wins", name=best["name"]), class_="lead")
    elif best is not None and facts.winner == "tie":
        told = tag("p", words("rivals.tie", name=best["name"]), class_="lead")
    return section(words, "rivals", told, table(head, rows, "classes"))


def _row(name: str, metrics: dict[str, float], names: list[str], seconds: float, kind: str = "") -> Markup:
    cells = (tag("td", percentage(metrics[n]) if n in SHARES else number(metrics[n])) for n in names)
    return tag("tr", tag("td", tag("b", name) if kind else name), cells, tag("td", duration(seconds)))


def inputs(facts: Facts, words: Words) -> Markup | None:
    """How much worse the model is with each input shuffled, the most needed first."""
    found = facts.evaluation.get("shuffled")
    if not found:
        return None
    sign = 1 if found["more_is_better"] else -1
    lost = sorted(((sign * (found["whole"] - v), name, v) for name, v in found["without"].items()), reverse=True)
    shown = percentage if found["metric"] in SHARES else number
    metric = words.name("metric", found["metric"])
    head = (tag("th", words("inputs.name")), tag("th", words("inputs.without", metric=metric)),
            tag("th", words("inputs.lost")))  # fmt: skip
    rows = [tag("tr", tag("td", name), tag("td", shown(value)), tag("td", f"{_signed(-sign * loss, found['metric'])}"))
            for loss, name, value in lost[:SHOWN]]  # fmt: skip
    return section(
        words, "inputs", note(words("inputs.note", metric=metric, whole=shown(found["whole"]))),
        table(head, rows, "classes"),
        note(words("inputs.more", count=len(lost) - SHOWN)) if len(lost) > SHOWN else None,
    )  # fmt: skip


def _signed(change: float, metric: str) -> str:
    return f"{change * 100:+.1f} %" if metric in SHARES else f"{change:+.4g}"
