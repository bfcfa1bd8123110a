"""The top of the page: what was trained on what, the figures that matter, and what to do next."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from flambeau.core.printable import duration
from flambeau.report.advice import Advice, advise, baseline
from flambeau.report.facts import Facts
from flambeau.report.markup import Markup, tag
from flambeau.report.parts import figure_of, note
from flambeau.report.words import Words

MOST_INPUTS = 8


def top(facts: Facts, words: Words) -> Markup:
    """The head of the page."""
    return tag(
        "header",
        tag("p", tag("span", "Flambeau", class_="brand"), " ", words("report"), class_="kicker"),
        tag("h1", facts.name),
        tag("p", _trained(facts, words), class_="lead"),
        figures(facts, words),
        _measured(facts, words),
        _advice(facts, words),
    )


def _trained(facts: Facts, words: Words) -> str:
    recipe = facts.recipe
    model = recipe.trains
    if "data" in recipe.own_parts:
        data = f"{words('own_data')} ({recipe.own_parts['data']})"
    else:
        path = recipe.data.get("path")
        data = PurePath(str(path)).name if path else words("memory")
    target = facts.fields.get("target")
    if not target:
        return words("trained", model=model, data=data)
    names = facts.input_names
    listed = words("listed").join(names[:MOST_INPUTS])
    if len(names) > MOST_INPUTS:
        listed += words("trained.more", count=len(names) - MOST_INPUTS)
    values: dict[str, Any] = {"model": model, "data": data, "target": target, "inputs": listed}
    if horizon := facts.target.get("horizon"):
        return words("trained.forecast", horizon=horizon, **values)
    classes = facts.target.get("classes")
    if classes:
        return words("trained.classes", classes=len(classes), **values)
    return words("trained.fields", **values)


def figures(facts: Facts, words: Words) -> Markup:
    """The metrics, the measure of the model first and with its interval; then what the training was like."""
    main = facts.main[0]
    names = sorted(facts.metrics, key=lambda name: (name != main, name == "loss"))
    tiles = [_tile(n, facts, words, "main" if n == main else "") for n in names]
    entries = []
    if facts.epochs:
        done, planned = len(facts.epochs), facts.recipe.training.epochs
        entries.append((words("tile.epochs"), f"{done}" if facts.finished or not planned else f"{done} / {planned}"))
    if facts.seconds:
        entries.append((words("tile.time"), duration(facts.seconds)))
        rates = [e["speed"].get("samples_per_second", 0.0) for e in facts.epochs if "speed" in e]
        entries.append((words("tile.speed"), f"{sorted(rates)[len(rates) // 2]:,.0f}"))
    if facts.findings or facts.checked:
        entries.append((words("tile.findings"), str(len(facts.findings))))
    plain = tag("dl", (tag("div", tag("dt", name), tag("dd", value)) for name, value in entries), class_="plain")
    return tag("div", tag("dl", tiles, class_="tiles") if tiles else None, plain)


def _tile(name: str, facts: Facts, words: Words, kind: str) -> Markup:
    interval = facts.interval(name)
    chance = None
    if interval is not None:
        low, high = (figure_of(name, v) for v in interval)
        chance = tag("span", words("interval", low=low, high=high), class_="interval")
    value = figure_of(name, facts.metrics[name])
    term = tag("dt", words.name("metric", name), chance)
    return tag("div", term, tag("dd", value), class_=f"tile {kind}".strip())


def _measured(facts: Facts, words: Words) -> Markup:
    """How far the figures can be trusted."""
    if not facts.evaluation:
        return note(words("no_evaluation"))
    split = facts.evaluation.get("split", "all")
    clauses = [words("measured", samples=facts.samples, split=words.name("split", split)) if facts.samples
               else words("measured.unknown", split=words.name("split", split))]  # fmt: skip
    guess = baseline(facts)
    if guess is not None:
        clauses.append(words("baseline", **{"class": guess[0]}, share=guess[1]))
    if split == "valid" and facts.best_epoch is not None:
        clauses.append(words("chosen_by_valid"))
    sentence = words("and").join(clauses) + words("stop")
    return note(sentence[0].upper() + sentence[1:])


def _advice(facts: Facts, words: Words) -> Markup:
    first, *rest = (_sentence(advice, words) for advice in advise(facts))
    also = (tag("p", words("also"), class_="kicker"), tag("ul", (tag("li", r) for r in rest))) if rest else None
    lead = (tag("p", words("next"), class_="kicker"), tag("p", first, class_="first"))
    return tag("div", lead, also, class_="advice card")


def _sentence(advice: Advice, words: Words) -> Markup | str:
    values = dict(advice.values)
    if "finding" in values:
        values["message"] = words.finding(values["finding"])
        values["fix"] = words.fix(values["finding"])
    if advice.key in ("advice.baseline", "advice.tie"):
        values["name"] = words.say(values["name"])
    sentence = words(advice.key, **values)
    return tag("a", sentence, href=f"#{advice.section}") if advice.section else sentence
