"""What a language model does: texts that it made epoch by epoch, where in a window it foretells well, what surprised it
most, and what of its texts is copied or goes in circles."""

from __future__ import annotations

import math
from typing import Any

from flambeau.report.facts import Facts
from flambeau.report.markup import Markup, tag
from flambeau.report.parts import cell, figure, grid, note, number, percentage, section, table
from flambeau.report.svg import Series, line_chart
from flambeau.report.words import Words
from flambeau.training.language import texts_in_run

MOST_EPOCHS, MOST_TEXTS, LONGEST = 4, 4, 300
SURPRISES = (2.0, 4.0, 6.0, 8.0)  # bits of a token, from which it is marked, and marked more


def language(facts: Facts, words: Words) -> Markup | None:
    """The section; nothing of a run that is no language model."""
    shown = (facts.evaluation.get("portrait") or {}).get("language")
    if not isinstance(shown, dict):
        return None
    parts = [_samples(facts, words), *_surprising(shown, words), _made(shown, words)]
    return section(words, "language", grid(*filter(None, [_by_position(shown, words), *_watched(facts, words)])),
                   *filter(None, parts))  # fmt: skip


def _by_position(shown: dict[str, Any], words: Words) -> Markup | None:
    points = [(float(x), float(y)) for x, y in shown["by_position"] if math.isfinite(y)]
    if len(points) < 2:
        return None
    title = words("language.by_position")
    chart = line_chart([Series(title, points)], label=title, x_label=words("language.before"),
                       y_label=words.metric("loss"), log_x=True)  # fmt: skip
    return figure(title, chart, remark=words("language.by_position.note"))


def _watched(facts: Facts, words: Words) -> list[Markup]:
    unit, charts = facts.steps_per_epoch or 1, []
    for colour, name in enumerate(("copied", "distinct", "looped"), 2):
        points = [(line["step"] / unit, float(line[f"texts_{name}"])) for line in facts.monitored
                  if f"texts_{name}" in line]  # fmt: skip
        if len(points) > 1:
            title = words(f"language.{name}.epochs")
            chart = line_chart([Series(title, points, colour)], label=title, floor=0.0, y_label="",
                               x_label=words("epoch" if facts.steps_per_epoch else "step"))  # fmt: skip
            charts.append(figure(title, chart))
    return charts


def _samples(facts: Facts, words: Words) -> Markup | None:
    """Texts of the same prompts, of some epochs: the first, the last, and between."""
    epochs = texts_in_run(facts.path)
    if not epochs:
        return None
    count = min(MOST_EPOCHS, len(epochs))
    chosen = [epochs[round(i * (len(epochs) - 1) / max(count - 1, 1))] for i in range(count)]
    told = [tag("h3", words("language.samples")), note(words("language.samples.note"))]
    for line in reversed(chosen):
        texts = (tag("p", tag("b", str(one["prompt"])[:LONGEST]), str(one["text"])[:LONGEST], class_="sample")
                 for one in line["texts"][:MOST_TEXTS])  # fmt: skip
        told.append(tag("details", tag("summary", words("language.epoch", epoch=int(line["epoch"]))), texts,
                        open="open" if line is chosen[-1] else None))  # fmt: skip
    return tag("div", *told)


def _surprising(shown: dict[str, Any], words: Words) -> list[Markup]:
    if not shown["surprising"]:
        return []
    places = (
        tag("p", tag("small", place.get("place", "")), " ", (_marked(text, nats) for text, nats in place["tokens"]),
            class_="sample")
        for place in shown["surprising"]
    )  # fmt: skip
    return [tag("h3", words("language.surprising")), note(words("language.surprising.note")), tag("div", *places)]


def _marked(text: str, nats: float) -> Markup:
    """A token, marked by the bits that it cost."""
    bits = nats / math.log(2)
    level = sum(bits >= least for least in SURPRISES)
    return tag("span", text, class_=f"for{level}" if level else None, title=f"{bits:.1f} bits")


def _made(shown: dict[str, Any], words: Words) -> Markup:
    """The texts that it makes beside held-out text."""
    copied, usual = shown["copied"], shown["usual"]
    rows = [
        ("language.share", percentage(copied["share"]), percentage(usual["share"])),
        ("language.longest", number(copied["tokens"]), number(usual["tokens"])),
        ("language.looped", percentage(shown["looped"]), "–"),
        ("language.distinct", percentage(shown["distinct"]), percentage(shown["distinct_usual"])),
    ]
    head = (tag("th", words(w), scope="col") for w in ("generated.measure", "generated.made", "language.usual"))
    lines = (tag("tr", tag("th", words(name, span=shown["span"]), scope="row"), cell(ours), cell(theirs))
             for name, ours, theirs in rows)  # fmt: skip
    told = words("language.contamination", share=percentage(shown["contamination"]), span=shown["span"])
    longest = note(words("language.copied"), " ", tag("q", copied["text"])) if copied["text"] else None
    return tag("div", tag("h3", words("language.made")), table(head, lines, "list"), longest, note(told))
