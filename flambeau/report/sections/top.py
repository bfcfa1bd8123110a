"""The top of the page: what was trained on what, the figures that matter, and what to do next."""

from __future__ import annotations

from pathlib import PurePath

from flambeau.objectives.intervals import wilson
from flambeau.objectives.names import SHARES
from flambeau.report.advice import advise, baseline
from flambeau.report.facts import Facts
from flambeau.report.markup import Markup, tag
from flambeau.report.parts import duration, note, number, percentage
from flambeau.report.words import Words


def top(facts: Facts, words: Words) -> Markup:
    """The head of the page."""
    return tag(
        "header",
        tag("p", tag("span", "Flambeau", class_="brand"), " ", words("report"), class_="kicker"),
        tag("h1", facts.name),
        tag("p", _trained(facts, words), class_="lead"),
        _figures(facts, words),
        _measured(facts, words),
        _advice(facts, words),
    )


def _trained(facts: Facts, words: Words) -> str:
    recipe = facts.recipe
    model = recipe.own_parts.get("model") or recipe.own_parts.get("objective") or recipe.model.name
    if "data" in recipe.own_parts:
        data = f"{words('own_data')} ({recipe.own_parts['data']})"
    else:
        path = recipe.data.get("path")
        data = PurePath(str(path)).name if path else words("memory")
    target = facts.fields.get("target")
    if not target:
        return words("trained", model=model, data=data)
    values = {
        "model": model,
        "data": data,
        "target": target,
        "inputs": words("listed").join(facts.fields.get("inputs", [])),
    }
    classes = facts.target.get("classes")
    if classes:
        return words("trained.classes", classes=len(classes), **values)
    return words("trained.fields", **values)


def _figures(facts: Facts, words: Words) -> Markup:
    main = facts.main[0]
    names = sorted(facts.metrics, key=lambda name: (name != main, name == "loss"))
    tiles = [_tile(words.name("metric", n), shown(n, facts.metrics[n]), "main" if n == main else "") for n in names]
    if facts.epochs:
        done, planned = len(facts.epochs), facts.recipe.training.epochs
        told = f"{done}" if facts.finished or not planned else f"{done} / {planned}"
        tiles.append(_tile(words("tile.epochs"), told))
    if facts.seconds:
        tiles.append(_tile(words("tile.time"), duration(facts.seconds)))
        rates = [e["speed"].get("samples_per_second", 0.0) for e in facts.epochs if "speed" in e]
        tiles.append(_tile(words("tile.speed"), f"{sorted(rates)[len(rates) // 2]:,.0f}"))
    if facts.findings or facts.checked:
        tiles.append(_tile(words("tile.findings"), str(len(facts.findings))))
    return tag("dl", tiles, class_="tiles")


def _tile(name: str, value: str, kind: str = "") -> Markup:
    return tag("div", tag("dt", name), tag("dd", value), class_=f"tile {kind}".strip())


def shown(name: str, value: float) -> str:
    """A metric as it is read: shares as percent, the rest as numbers."""
    return percentage(value) if name in SHARES else number(value)


def _measured(facts: Facts, words: Words) -> Markup:
    """How far the figures can be trusted."""
    if not facts.evaluation:
        return note(words("no_evaluation"))
    side = facts.evaluation.get("side", "all")
    told = [words("measured", samples=facts.samples, side=words.name("side", side)) if facts.samples
            else words("measured.unknown", side=words.name("side", side))]  # fmt: skip
    main, guess = facts.main[0], baseline(facts)
    chance = facts.evaluation.get("intervals", {}).get(main)
    if not chance and main == "accuracy" and "accuracy" in facts.metrics and facts.samples:  # a run of before
        chance = wilson(facts.metrics["accuracy"], facts.samples)
    if chance:
        low, high = (shown(main, value) for value in chance)
        told.append(words("interval", metric=words.name("metric", main), low=low, high=high))
    if guess is not None:
        told.append(words("baseline", **{"class": guess[0]}, share=guess[1]))
    if side == "valid" and facts.best_epoch is not None:
        told.append(words("chosen_by_valid"))
    sentence = words("and").join(told) + words("stop")
    return note(sentence[0].upper() + sentence[1:])


def _advice(facts: Facts, words: Words) -> Markup:
    first, *rest = (tag("a", words(a.key, **a.values), href=f"#{a.section}") if a.section
                    else words(a.key, **a.values) for a in advise(facts))  # fmt: skip
    also = (tag("p", words("also"), class_="kicker"), tag("ul", (tag("li", r) for r in rest))) if rest else None
    told = (tag("p", words("next"), class_="kicker"), tag("p", first, class_="first"))
    return tag("div", told, also, class_="advice card")
