"""Things as HTML for a cell's output: small, escaped, and legible on a light and on a dark page."""

from __future__ import annotations

import functools
import re
from importlib.resources import files
from itertools import zip_longest
from typing import Any

from flambeau.core.errors import FlambeauError
from flambeau.core.findings import Findings, worst_first
from flambeau.data.dataset import Dataset
from flambeau.evaluation import look
from flambeau.fields.placement import following
from flambeau.learner.learner import Learner
from flambeau.learner.plan import Plan
from flambeau.objectives.prediction import Prediction, Question
from flambeau.report import rates
from flambeau.report.facts import Facts
from flambeau.report.markup import Child, Markup, fragment, join, tag
from flambeau.report.parts import figure, meter, note, table
from flambeau.report.sections.data import card, parts_bar, sample_cards
from flambeau.report.sections.top import figures
from flambeau.report.sections.training import charts
from flambeau.report.words import Words
from flambeau.run import Run
from flambeau.training import RateCurve

WORDS = Words()
MOST_FIELDS, MOST_FINDINGS, MOST_BARS, MOST_ROWS = 40, 20, 10, 6
# the page around decides what is light and what is dark: all is made of its own colour
COLOURS = """.flambeau {
  --ink: currentColor; --quiet: color-mix(in srgb, currentColor 65%, transparent); --card: transparent;
  --paper: transparent; --line: color-mix(in srgb, currentColor 22%, transparent);
  --soft: color-mix(in srgb, currentColor 9%, transparent);
  --c1: #3d86ba; --c2: #d97b3a; --c3: #4f9e6c; --c4: #9470bd; --hit: #3d86ba; --miss: #c8553c;
  --error: #d0483f; --warning: #b9852f; --note: #3d86ba; --flame: #d97b3a;
  max-width: 1000px; font-size: 14px; line-height: 1.5; color: inherit;
}
.flambeau .drawn { background: #fff; mix-blend-mode: normal; }
.flambeau .grid { align-items: start; } .flambeau table { margin: 0; } .flambeau .tile.main dd { font-size: 1.9rem; }
"""


def of(thing: Any) -> str:
    """A thing as HTML, with as much style as it needs."""
    return framed(drawn(thing))


def framed(*content: Child) -> Markup:
    """Content with those rules of the report's style that it needs, which hold for it alone."""
    body = join(*content)
    return tag("div", tag("style", Markup(COLOURS + needed_style(body))), body, class_="flambeau")


@functools.cache
def _rules() -> list[tuple[str, str]]:
    style = (files("flambeau.report") / "style.css").read_text(encoding="utf-8")
    style = re.sub(r"@media[^{]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}", "", style)  # the page's light or dark is not ours
    return [(m[1].strip(), m[2].strip()) for m in re.finditer(r"([^{}]+)\{([^{}]*)\}", style)]


def needed_style(body: str) -> str:
    """The rules of the report's style whose classes and elements are in a piece of it."""
    classes = {name for found in re.findall(r'class="([^"]*)"', body) for name in found.split()}
    elements = {*re.findall(r"<(\w+)", body)}
    kept = []
    for selectors, rule in _rules():
        wanted = []
        for selector in selectors.split(","):
            plain = re.sub(r":[\w-]+(\([^)]*\))?|::\w+", "", selector)
            named = {*re.findall(r"\.([\w-]+)", plain)}
            tags = {*re.findall(r"(?<![\w.-])([a-z]\w*)", plain)}
            if named <= classes and tags <= elements and (named or tags):
                wanted.append(f".flambeau {selector.strip()}")
        if wanted:
            kept.append(f"{','.join(wanted)}{{{' '.join(rule.split())}}}")
    return "\n".join(kept)


@functools.singledispatch
def drawn(thing: Any) -> Markup:
    """The content for a thing."""
    raise TypeError(f"nothing draws a {type(thing).__name__}")


@drawn.register
def _dataset(data: Dataset) -> Markup:
    seen = look(data)
    rows = [(name, data.fields[name]) for name in [*data.inputs, *([data.target] if data.target else [])]]
    head = (tag("th", word, scope="col") for word in ("column", "kind", "what it is", "why"))
    lines = (
        tag("tr", tag("th", name, " ", tag("span", "target", class_="chip chip-note") if name == data.target else None),
            tag("td", field.kind), tag("td", field.summary), tag("td", _why(data, name), class_="quiet"))
        for name, field in rows[:MOST_FIELDS]
    )  # fmt: skip
    more = len(rows) - MOST_FIELDS
    samples = {**seen, "samples": seen["samples"][:MOST_ROWS]}
    return join(
        tag("p", tag("b", f"{len(data):,} rows"), f": {data.describe_split()}", class_="lead"),
        parts_bar(seen.get("rows", {}), WORDS),
        table(head, lines, "list"),
        note(f"and {more} more columns") if more > 0 else None,
        sample_cards(samples, WORDS),
        drawn(Findings(data.findings)) if data.findings else None,
    )


def _why(data: Dataset, name: str) -> str:
    return data.reasons.get(name, "").partition(": ")[2] or "as it was given"


@drawn.register
def _findings(found: Findings) -> Markup:
    ordered = worst_first(found)
    if not ordered:
        return tag("p", "nothing was found", class_="quiet")
    cards = (card(finding, [], WORDS) for finding in ordered[:MOST_FINDINGS])
    more = len(ordered) - MOST_FINDINGS
    return tag("div", cards, note(f"and {more} more") if more > 0 else None, class_="stack")


@drawn.register
def _learner(learner: Learner) -> Markup:
    try:
        plan = learner.plan()
    except FlambeauError as error:
        return tag("p", tag("span", type(error).__name__, class_="chip chip-error"), " ", str(error))
    data = learner.data.describe() if learner.data is not None else None
    opened = learner.run is None or not learner.run.finished
    return join(
        tag("p", tag("b", learner.recipe.trains), f" on {data}" if data else "", class_="lead"),
        tag("details", tag("summary", "what was decided, and why"), _plan(plan), open=opened),
        drawn(learner.run) if learner.run is not None and learner.run.path.exists() else None,
    )


def _plan(plan: Plan) -> Markup:
    rows = [(name, str(value), "as asked") for name, value in plan.given.items()]
    rows += [(d.name, "" if d.later else str(d.value), d.why) for d in plan.decisions]
    head = (tag("th", word, scope="col") for word in ("setting", "value", "why"))
    lines = (tag("tr", tag("th", n, scope="row"), tag("td", v[:200]), tag("td", w, class_="quiet")) for n, v, w in rows)
    return table(head, lines, "list")


@drawn.register
def _run(run: Run) -> Markup:
    if not (run.path / "recipe.yaml").exists():
        return tag("p", tag("b", run.path.name), ": nothing is in it yet", class_="quiet")
    facts = Facts(run)
    shown = charts(facts, WORDS)
    return join(
        tag("p", tag("b", facts.name), f": {facts.recipe.trains}, {run.status}", class_="lead"),
        figures(facts, WORDS),
        tag("div", shown, class_="grid") if shown else None,
        tag("p", f"the whole report: {run.path / 'report.html'}", class_="quiet") if run.reported else None,
    )


@drawn.register
def _prediction(prediction: Prediction) -> Markup:
    bars = (
        tag("tr", tag("th", name, scope="row"), tag("td", meter(share)))
        for name, share in prediction.top(MOST_BARS).items()
    )
    label = prediction.label
    plain = isinstance(label, (str, int, float)) or (isinstance(label, list) and len(str(label)) < 500)
    sure = "" if prediction.confidence is None else f" ({prediction.confidence:.1%})"
    picture = fragment(given(prediction.asked, label)) if prediction.asked else None
    return join(
        tag("div", tag("div", picture, class_="thumb"), class_="sample", style="max-width:320px") if picture else None,
        tag("p", tag("b", f"{label:.6g}" if isinstance(label, float) else str(label)) if plain else None, sure,
            class_="lead"),
        tag("div", table([], bars, "list"), style="max-width:420px") if prediction.probabilities else None,
        _tags(prediction), _forecast(prediction),
    )  # fmt: skip


def _tags(prediction: Prediction) -> Markup | None:
    if prediction.tokens is None or not isinstance(prediction.label, list):
        return None
    cells = [(tag("td", tag("b", token)), tag("td", str(name), class_="quiet"))
             for token, name in zip_longest(prediction.tokens, prediction.label, fillvalue="")]  # fmt: skip
    return table([], (tag("tr", [cell[row] for cell in cells]) for row in (0, 1)), "list")


def _forecast(prediction: Prediction) -> Markup | None:
    if prediction.times is None:
        return None
    head = [tag("th", "time"), tag("th", "forecast"), *(tag("th", name) for name in prediction.quantiles or {})]
    rows = zip(prediction.times, prediction.label, *(prediction.quantiles or {}).values(), strict=True)
    return table(head, (tag("tr", tag("th", when), [tag("td", f"{v:.6g}", class_="n") for v in values])
                        for when, *values in list(rows)[:MOST_FIELDS]), "list")  # fmt: skip


def given(asked: Question, answer: Any) -> str:
    """What was predicted from, as HTML, with the answer drawn in where that has a place in a picture."""
    value, fields, inputs, target = asked.value, asked.fields, asked.inputs, asked.target
    try:
        leader, followers = following(fields, inputs, target)
        if leader is not None and target in followers:
            return fields[target].render_in(answer, fields[leader], value[leader])
        return " ".join(fields[name].render(value[name]) for name in inputs if name in fields and name in value)
    except (FlambeauError, OSError, ValueError, TypeError, KeyError):  # what it was read from may be gone since
        return ""


@drawn.register
def _rates(curve: RateCurve) -> Markup:
    chart, series = rates.chart(curve, WORDS)
    return figure(WORDS("find_lr.title"), chart, series=series, remark=f"suggested: {curve.suggestion:g}")
