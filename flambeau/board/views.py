"""What the board shows of runs: curves over one another, two side by side, and mistakes one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau.core.printable import duration
from flambeau.objectives.names import is_share
from flambeau.report.facts import Facts
from flambeau.report.markup import fragment
from flambeau.report.parts import figure, figure_of
from flambeau.report.scale import short
from flambeau.report.svg import Point, Series, line_chart, percent
from flambeau.report.words import Words
from flambeau.run import Run
from flambeau.studies.comparison import differing

COLOURS = 8
STEPS = "train_loss"
"""The choice among curves that shows the loss of each step."""
MOST_RUNS = 16


def curves(runs: Sequence[Run], asked: str, words: Words) -> dict[str, Any]:
    """{choices, chosen, html}: curves of runs over their epochs, or of the loss over their steps, in one chart.

    Args:
        asked: the metric; the first run's own where it is empty or none has it.
    """
    facts = [Facts(run) for run in runs[:MOST_RUNS]]
    names = list(dict.fromkeys(name for one in facts for name in (one.main[0], *one.valid_names)))
    choices = [name for name in names if any(one.valid(name) for one in facts)]
    choices += [STEPS] if any(one.steps for one in facts) else []
    if not choices:
        return {"choices": [], "chosen": "", "html": ""}
    chosen = asked if asked in choices else choices[0]
    series = [Series(one.name, points, 1 + i % COLOURS, "dots")
              for i, one in enumerate(facts) if (points := _points(one, chosen))]  # fmt: skip
    share = is_share(chosen)
    title = words("train_loss.raw") if chosen == STEPS else words.metric(chosen)
    chart = line_chart(
        series, label=title, x_label=words("step" if chosen == STEPS else "epoch"), y_label="", whole_x=True,
        y_format=percent if share else short, ceiling=1.0 if share else None,
    )  # fmt: skip
    keys = series if len(series) > 1 else ()
    return {"choices": choices, "chosen": chosen, "html": figure(title, chart, series=keys)}


def _points(facts: Facts, name: str) -> Sequence[Point]:
    if name != STEPS:
        return facts.valid(name)
    return [(line["step"], line["loss"]) for line in facts.steps if line["loss"] == line["loss"]]


def beside(first: Run, second: Run) -> dict[str, Any]:
    """Two runs: {names, metrics: [[name, one, other]], settings: [[name, one, other]]}, as texts. The figures are what
    each was measured at, on its own rows."""
    facts = [Facts(run) for run in (first, second)]
    measured = [one.metrics or (one.epochs[-1].get("valid", {}) if one.epochs else {}) for one in facts]
    rows = [[name, *(figure_of(name, own[name]) if name in own else "–" for own in measured)]
            for name in dict.fromkeys((*measured[0], *measured[1]))]  # fmt: skip
    rows.append(["seconds", *(duration(one.seconds) for one in facts)])
    settings = differing([one.recipe for one in facts])
    return {
        "names": [one.name for one in facts],
        "metrics": rows,
        "settings": [[name, *("–" if v is None else str(v) for v in values)] for name, values in settings.items()],
        "same_rows": _rows(facts[0]) == _rows(facts[1]),
    }  # fmt: skip


def _rows(facts: Facts) -> tuple[Any, ...]:
    """What tells the rows that a run was measured on."""
    return facts.recipe.data.get("fingerprint"), facts.evaluation.get("split"), facts.samples


def mistakes(run: Run, words: Words) -> list[dict[str, Any]]:
    """The worst mistakes that the report of a run holds: {html, true, predicted, confidence, probability, place}."""
    found = run.evaluation.get("detail", {}).get("worst") or []
    return [
        {
            "html": fragment(one.get("html", "")), "true": str(one.get("true", "?")),
            "predicted": str(one.get("predicted", "?")), "confidence": one.get("confidence"),
            "probability": one.get("probability_of_true"), "place": words.say(str(one.get("place") or "")),
        } for one in found if isinstance(one, dict)
    ]  # fmt: skip
