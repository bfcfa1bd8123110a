"""How the training went: loss, validation metrics, learning rate, speed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from flambeau.core.registry import name_and_options
from flambeau.objectives.names import is_share
from flambeau.report import rates
from flambeau.report.facts import Facts
from flambeau.report.markup import Markup, tag
from flambeau.report.parts import figure, figure_of, grid, note, number, percentage, section
from flambeau.report.scale import short
from flambeau.report.sections.data import card
from flambeau.report.svg import Point, Series, bar_chart, line_chart, percent
from flambeau.report.words import Words

# metrics of one unit share a chart
TOGETHER = (("accuracy", "balanced_accuracy", "f1", "micro_f1", "exact_match"), ("roc_auc", "average_precision"),
            ("mae", "rmse"), ("r2",))  # fmt: skip
LOG_FROM = 50  # largest loss over the smallest, from which a straight axis would show a corner only


def curves(facts: Facts, words: Words) -> Markup:
    """Training loss by step, validation loss and metrics by epoch, the learning rate."""
    if not facts.steps and not facts.epochs:
        return section(words, "curves", note(words("curves.none")))
    found = (card(finding, [], words) for finding in facts.monitor_findings)
    return section(words, "curves", _only_epoch(facts, words),
                   tag("div", found, class_="stack") if facts.monitor_findings else None,
                   grid(_loss(facts, words), _phases(facts, words), _metrics(facts, words),
                        _learning_rate(facts, words), _search(facts, words), _monitored(facts, words)))  # fmt: skip


def charts(facts: Facts, words: Words, most: int = 3) -> list[Markup]:
    """The loss and the first metrics alone, as far as there are curves of them."""
    if not facts.steps and not facts.epochs:
        return []
    found = [_loss(facts, words), *_metrics(facts, words)]
    return [chart for chart in found if chart is not None][:most]


def _only_epoch(facts: Facts, words: Words) -> Markup | None:
    """Of one epoch there is no curve: its figures in words."""
    if len(facts.epochs) != 1:
        return None
    epoch = facts.epochs[0]
    figures = [f"{words('train_loss')}: {words('loss')} {number(epoch['train_loss'])}"]
    measured = (f"{words.name('metric', n)} {figure_of(n, v)}" for n, v in epoch.get("valid", {}).items())
    valid = words("listed").join(measured)
    figures += [f"{words('valid_loss')}: {valid}"] if valid else []
    return note(words("curves.only_epoch", told=words("and").join(figures)))


def smoothed(points: Sequence[Point], share: float = 0.05) -> list[Point]:
    """Each point's mean with its neighbours, over a window of a share of the curve; the ends use what there is.

    >>> smoothed([(0, 0.0), (1, 3.0), (2, 0.0)], share=0.5)
    [(0, 1.5), (1, 1.0), (2, 1.5)]
    """
    half = max(1, round(len(points) * share / 2))
    total = [0.0]
    for _, y in points:
        total.append(total[-1] + y)
    result = []
    for i, (x, _) in enumerate(points):
        low, high = max(0, i - half), min(len(points), i + half + 1)
        result.append((x, (total[high] - total[low]) / (high - low)))
    return result


def _axis(facts: Facts, words: Words) -> tuple[float, str]:
    """(steps in a unit of the x axis, its name): epochs as soon as their length is known."""
    per_epoch = facts.steps_per_epoch
    return (per_epoch, words("epoch")) if per_epoch else (1.0, words("step"))


def _loss(facts: Facts, words: Words) -> Markup | None:
    unit, x_label = _axis(facts, words)
    raw = [(s["step"] / unit, s["loss"]) for s in facts.steps if math.isfinite(s["loss"])]
    series = []
    if len(raw) >= 3 * max(len(facts.epochs), 3):
        series += [Series(words("train_loss.raw"), raw, 1, "faint"), Series(words("train_loss"), smoothed(raw), 1)]
    elif facts.epochs:
        # too few logged steps for a curve; the mean over an epoch belongs to its middle
        means = [(e["epoch"] - 0.5, e["train_loss"]) for e in facts.epochs]
        series.append(Series(words("train_loss"), means, 1, "dots"))
    else:
        series.append(Series(words("train_loss"), raw, 1, "dots"))
    valid = facts.valid("loss") if len(facts.epochs) > 1 else []
    if max(len(s.points) for s in series) < 2:
        return None
    if valid:
        series.append(Series(words("valid_loss"), valid, 2, "dots"))
    values = [y for s in series if s.style != "faint" for _, y in s.points if math.isfinite(y)]
    log = bool(values) and min(values) > 0 and max(values) > LOG_FROM * min(values)
    chart = line_chart(series, label=words("loss.title"), x_label=x_label, y_label=words("loss.log" if log else "loss"),
                       log=log, mark=_best(facts, words), whole_x=len(facts.epochs) > 2)  # fmt: skip
    return figure(words("loss.title"), chart, series=series, remark=words("curves.note") if valid else None)


def _phases(facts: Facts, words: Words) -> Markup | None:
    """The mean loss of each of several phases, such as a discriminator's and a generator's."""
    names = dict.fromkeys(name for epoch in facts.epochs for name in epoch.get("phases", {}))
    series = []
    for colour, name in enumerate(names, 1):
        points = [(e["epoch"], e["phases"][name]) for e in facts.epochs if name in e.get("phases", {})]
        series.append(Series(words.name("phase", name), points, colour, "dots"))
    if len(facts.epochs) < 2 or not series:
        return None
    chart = line_chart(series, label=words("phases.title"), x_label=words("epoch"), y_label=words("loss"), whole_x=True)
    return figure(words("phases.title"), chart, series=series, remark=words("phases.note"))


def _metrics(facts: Facts, words: Words) -> list[Markup]:
    names = [n for n in facts.valid_names if n != "loss"] if len(facts.epochs) > 1 else []
    groups = [[n for n in group if n in names] for group in TOGETHER]
    groups += [[n] for n in names if not any(n in group for group in TOGETHER)]
    figures = []
    for group in filter(None, groups):
        series = [Series(words.name("metric", n), facts.valid(n), i, "dots") for i, n in enumerate(group, 2)]
        share = is_share(group[0])
        title = words("metric.title", names=words("listed").join(s.name for s in series))
        name = series[0].name if len(series) == 1 else ""  # several have a legend
        chart = line_chart(
            series, label=title, x_label=words("epoch"), y_label=name, y_format=percent if share else short,
            ceiling=1.0 if share else None, mark=_best(facts, words), whole_x=True,
        )  # fmt: skip
        figures.append(figure(title, chart, series=series))
    return figures


def _best(facts: Facts, words: Words) -> tuple[float, str] | None:
    best = facts.best_epoch
    return None if best is None or len(facts.epochs) < 2 else (best, words("best", epoch=best))


def _learning_rate(facts: Facts, words: Words) -> Markup | None:
    """The rate at each logged step."""
    unit, x_label = _axis(facts, words)
    points = [(s["step"] / unit, s["learning_rate"]) for s in facts.steps if "learning_rate" in s]
    if len(points) < 2:
        return None
    series = Series(words("rate"), points, 4, "dots" if len(points) < 20 else "line")
    chart = line_chart([series], label=words("learning_rate"), x_label=x_label, y_label=words("rate"), floor=0.0)
    settings = facts.recipe.training
    title = words("learning_rate.title", schedule=name_and_options(settings.schedule)[0], optimizer=settings.optimizer)
    return figure(title, chart, id="learning_rate")


def _monitored(facts: Facts, words: Words) -> list[Markup]:
    """What the monitors measured: the gradient, and how much of the weights a step changes."""
    unit, x_label = _axis(facts, words)
    figures = []
    for colour, name in enumerate(("gradient_norm", "update_ratio"), 1):
        points = [(m["step"] / unit, m[name]) for m in facts.monitored if m.get(name) and math.isfinite(m[name])]
        values = [y for _, y in points]
        if len(points) < 3 or min(values) <= 0:
            continue
        log, title = max(values) > LOG_FROM * min(values), words(f"monitors.{name}")
        chart = line_chart([Series(title, points, colour)], label=title, x_label=x_label, y_label=title, log=log)
        figures.append(figure(title, chart))
    return figures


def _search(facts: Facts, words: Words) -> Markup | None:
    """How the learning rate was found, where it was looked for."""
    if facts.search is None:
        return None
    drawn, series = rates.chart(facts.search, words)
    return figure(words("find_lr.title"), drawn, series=series, id="find_lr", remark=words("find_lr.note"))


def speed(facts: Facts, words: Words) -> Markup:
    """Samples a second by epoch, and where the time of a step goes."""
    rates = [(e["epoch"], e["speed"]["samples_per_second"]) for e in facts.epochs
             if "samples_per_second" in e.get("speed", {})]  # fmt: skip
    if not rates:
        return section(words, "speed", note(words("speed.none")))
    if len(rates) == 1:
        return section(words, "speed", note(words("speed.only", rate=rates[0][1])), grid(_shares(facts, words)))
    bars = [(epoch - 0.4, epoch + 0.4, rate) for epoch, rate in rates]
    chart = bar_chart(
        bars, label=words("speed.title"), x_label=words("epoch"), y_label=words("tile.speed"), colour=3, whole_x=True
    )
    return section(words, "speed", grid(figure(words("speed.title"), chart), _shares(facts, words)))


def _shares(facts: Facts, words: Words) -> Markup | None:
    shares = facts.shares
    if not sum(shares.values()):
        return None
    parts = [(words.name("part", part), share, i) for i, (part, share) in enumerate(shares.items(), 1)]
    bar = tag("div", (tag("span", style=f"width:{s * 100:.2f}%", class_=f"c{i}", title=f"{n} {percentage(s)}")
                      for n, s, i in parts), class_="stacked")  # fmt: skip
    rows = (tag("li", tag("span", n, class_=f"key line c{i}"), tag("b", percentage(s))) for n, s, i in parts)
    return figure(words("speed.share"), bar, tag("ul", rows, class_="shares"))
