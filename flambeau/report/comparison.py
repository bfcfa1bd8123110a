"""The page of a comparison: who is better, what differs, curves overlaid, and the samples that part the models.

It is made from the plain JSON of a comparison alone, see `flambeau.studies.comparison.Comparison`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flambeau.core.printable import duration
from flambeau.objectives.names import is_share
from flambeau.report.markup import Markup, fragment, tag
from flambeau.report.page import document, under_contents
from flambeau.report.parts import cell, figure, figure_of, grid, note, number, section, table
from flambeau.report.scale import short
from flambeau.report.svg import Series, line_chart, percent
from flambeau.report.words import Words

SURE = 0.05  # p, under which a difference is said to be more than chance
COLOURS = 8
MOST_NAMED = 3  # entries in a title
MOST_SETTINGS = 40

Facts = Mapping[str, Any]


def page(facts: Facts, language: str = "en") -> str:
    """The page as HTML text.

    Raises:
        UsageError: it does not speak the language.
    """
    words = Words(language)
    names = [entry["name"] for entry in facts["entries"]]
    named = words("listed").join(names[:MOST_NAMED]) + (" …" if len(names) > MOST_NAMED else "")
    sentences = [tag("p", sentence(facts, one, words), class_="lead") for one in beside_reference(facts)]
    head = tag(
        "header",
        tag("p", tag("span", "Flambeau", class_="brand"), " ", words(facts["kind"]), class_="kicker"),
        tag("h1", named),
        sentences if len(sentences) < MOST_NAMED else None,
        note(_measured(facts, words)),
        [note(one) for one in facts["notes"]],
    )
    sections = {
        "compare.result": _result(facts, words),
        "compare.settings": _settings(facts, words),
        "compare.curves": _curves(facts, words),
        "compare.apart": _apart(facts, words),
    }
    return document(words(f"{facts['kind']}.title", names=named), words, head, *under_contents(sections, words))


def beside_reference(facts: Facts) -> list[Mapping[str, Any]]:
    """The differences that the one has which all are put beside."""
    return [one for one in facts["differences"] if facts["reference"] in (one["first"], one["second"])]


def sentence(facts: Facts, one: Mapping[str, Any], words: Words) -> str:
    """A difference in words: "b is better than a by 0.4 ± 0.3 points of accuracy (p = 0.01, McNemar)"."""
    name, value = facts["metric"], one["value"]
    ahead = value >= 0
    first, second = (one["first"], one["second"]) if ahead else (one["second"], one["first"])
    tested = one["p"] is not None
    sure = tested and one["p_adjusted"] < SURE
    said = "same" if value == 0 else "better" if sure else "unsure"
    line = words(f"compare.{said}", first=first, second=second)
    if value:
        half = "" if one["low"] is None else f" ± {_size(name, (one['high'] - one['low']) / 2)}"
        unit = words("compare.points" if is_share(name) else "compare.of")
        line += words("compare.size", value=_size(name, abs(value)), half=half, unit=unit, metric=words.metric(name))
    if tested:
        test = one["test"] + (", Holm" if one["p_adjusted"] != one["p"] else "")
        line += words("compare.p_of", p=_probability(one["p_adjusted"]), test=test)
    else:
        line += words("compare.untested", why=one["test"])
    if "only_first" in one:
        counts = (one["only_first"], one["only_second"]) if ahead else (one["only_second"], one["only_first"])
        line += words("compare.alone", first=counts[0], second=second, count=counts[1])
    return line


def _size(name: str, value: float) -> str:
    """A difference as it is read: of shares in points of percent."""
    return number(float(f"{100 * value:.2g}")) if is_share(name) else number(float(f"{value:.3g}"))


def _probability(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def _measured(facts: Facts, words: Words) -> str:
    told = words("compare.measured", samples=facts["samples"], split=words.name("split", facts["split"]))
    told += " " + words("compare.seeds", seeds=facts["seeds"]) if facts["seeds"] > 1 else ""
    return told + (" " + words("ablate.note") if facts["kind"] == "ablate" else "")


def _result(facts: Facts, words: Words) -> Markup:
    """Each entry with its metrics, and what it has more than the reference; of an ablation what is lost without."""
    main, ablates, reference = facts["metric"], facts["kind"] == "ablate", facts["reference"]
    names = [main, *(n for n in facts["entries"][0]["metrics"] if n != main and n != "loss")]
    names = [n for n in names if all(n in entry["metrics"] for entry in facts["entries"])]
    of = {one["second"] if one["first"] == reference else one["first"]: one for one in beside_reference(facts)}
    whole = next(entry for entry in facts["entries"] if entry["name"] == reference)
    titles = [words("ablate.name" if ablates else "compare.name"), words.metric(main),
              words("compare.brings") if ablates else words("compare.difference", name=reference), words("compare.p"),
              *(words.metric(n) for n in names[1:]), words("tile.time"), words("compare.ratio")]  # fmt: skip
    head = (tag("th", title, scope="col", class_="n" if i else None) for i, title in enumerate(titles))
    rows = []
    for entry in facts["entries"]:
        one = of.get(entry["name"])
        ratio = (whole["seconds"], entry["seconds"]) if ablates else (entry["seconds"], whole["seconds"])
        rows.append(tag(
            "tr", tag("th", entry["name"], scope="row"), cell(_figure(entry, main)),
            cell("–" if one is None else _change(main, one, entry["name"], ablates)),
            cell("–" if one is None or one["p"] is None else _probability(one["p_adjusted"]).removeprefix("p = ")),
            (cell(figure_of(n, entry["metrics"][n])) for n in names[1:]), cell(duration(entry["seconds"])),
            cell(f"×{ratio[0] / ratio[1]:.2f}" if one is not None and ratio[1] else "–"),
            class_="this" if one is None else None,
        ))  # fmt: skip
    return section(words, "compare.result", table(head, rows, "list"))


def _figure(entry: Mapping[str, Any], name: str) -> str:
    low, high = entry["intervals"].get(name, (None, None))
    chance = "" if low is None or high is None else f" ({figure_of(name, low)} – {figure_of(name, high)})"
    return figure_of(name, entry["metrics"][name]) + chance


def _change(name: str, one: Mapping[str, Any], entry: str, brings: bool) -> str:
    """What an entry has more of what is better than the reference, or what the reference has more of it."""
    sign = 1 if (one["first"] == entry) != brings else -1
    value = f"{'+' if sign * one['value'] >= 0 else '−'}{_size(name, abs(one['value']))}"
    return value if one["low"] is None else f"{value} ± {_size(name, (one['high'] - one['low']) / 2)}"


def _settings(facts: Facts, words: Words) -> Markup:
    if not facts["recipes"]:
        return section(words, "compare.settings", note(words("compare.no_settings")))
    names = [entry["name"] for entry in facts["entries"]]
    head = (tag("th", title, scope="col") for title in (words("compare.setting"), *names))
    rows = (tag("tr", tag("th", key, scope="row"), (tag("td", "–" if v is None else str(v)) for v in values))
            for key, values in list(facts["recipes"].items())[:MOST_SETTINGS])  # fmt: skip
    return section(words, "compare.settings", table(head, rows, "list"))


def _curves(facts: Facts, words: Words) -> Markup | None:
    """The measure and the loss on validation rows by epoch, all runs in one chart, those of one variant in one
    colour."""
    charts = []
    for name in dict.fromkeys((facts["metric"], "loss")):
        series = [
            Series(entry, curve[name], 1 + i % COLOURS, "dots" if j == 0 else "faint")
            for i, (entry, curves) in enumerate(facts["curves"].items())
            for j, curve in enumerate(curves) if len(curve.get(name, ())) > 1
        ]  # fmt: skip
        if not series:
            continue
        share = is_share(name)
        title = words("compare.valid", name=words.metric(name))
        chart = line_chart(series, label=title, x_label=words("epoch"), y_label="", whole_x=True,
                           y_format=percent if share else short, ceiling=1.0 if share else None)  # fmt: skip
        charts.append(figure(title, chart, series=[s for s in series if s.style == "dots"]))
    return section(words, "compare.curves", grid(*charts)) if charts else None


def _apart(facts: Facts, words: Words) -> Markup | None:
    """The samples that only one has right, one gallery for each."""
    shown = facts["samples_apart"]
    if not shown:
        return None
    galleries = []
    for name in dict.fromkeys(one["only"] for one in shown):
        cards = (_card(one, words) for one in shown if one["only"] == name)
        galleries += [tag("h3", words("compare.only", name=name)), tag("div", cards, class_="gallery")]
    remark = note(words("compare.apart_note")) if facts["numbers"] else None
    return section(words, "compare.apart", remark, galleries)


def _card(one: Mapping[str, Any], words: Words) -> Markup:
    kinds = {name: "row hit" if name == one["only"] else "row" for name in one["answers"]}
    answers = (
        tag("div", tag("span", f"{name}: {answer}", class_="answer"), class_=kinds[name])
        for name, answer in one["answers"].items()
    )
    place = words.say(one["place"])
    return tag("article", tag("div", fragment(one["html"]), class_="thumb"), tag("p", words("was", name=one["true"])),
               answers, tag("p", place, class_="place", title=place), class_="card mistake")  # fmt: skip
