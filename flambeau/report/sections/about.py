"""What it was trained with and why: the reasons of automatic choices, the environment, the recipe."""

from __future__ import annotations

from typing import Any

from flambeau.report.facts import Facts
from flambeau.report.markup import Markup, join, tag
from flambeau.report.parts import note, original, section
from flambeau.report.words import Words


def reasons(facts: Facts, words: Words) -> Markup:
    """Why each setting that was left open is what it is."""
    listed = facts.recipe.reasons
    if not listed:
        return section(words, "reasons", note(words("reasons.none")))
    said = {reason: words.say(reason) for reason in listed}
    foreign = [reason for reason, told in said.items() if told == reason and words.language != "en"]
    known = (_reason(told) for reason, told in said.items() if reason not in foreign)
    return section(words, "reasons", tag("ul", known, class_="card reasons"), original(words, *foreign))


def _reason(reason: str) -> Markup:
    what, colon, why = reason.partition("：" if "：" in reason else ": ")
    return tag("li", join(tag("b", what), colon, why) if colon else reason)


def environment(facts: Facts, words: Words) -> Markup | None:
    """Versions and machine."""
    if not facts.environment:
        return None
    rows: list[Markup] = []
    for name, value in _flat(facts.environment).items():
        rows += [tag("dt", words.name("environment", name)), tag("dd", "–" if value in (None, "") else value)]
    return section(words, "environment", tag("dl", rows, class_="card facts"))


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat.update(_flat(value) if isinstance(value, dict) else {name: value})
    return flat


def recipe(facts: Facts, words: Words) -> Markup:
    """The recipe, folded."""
    shown = tag("details", tag("summary", words("recipe.show")), tag("pre", facts.recipe.to_yaml()), class_="card")
    return section(words, "recipe", shown)
