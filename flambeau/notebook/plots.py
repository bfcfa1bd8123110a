"""The figures: each from what a run or a Dataset says, with the same numbers as a frame."""

from __future__ import annotations

import base64
import html
import io
import math
import re
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from flambeau.core.errors import UsageError, require
from flambeau.data.dataset import Dataset
from flambeau.evaluation import render
from flambeau.notebook.figures import Drawn
from flambeau.report.facts import Facts
from flambeau.report.sections.training import smoothed
from flambeau.run import Run

COLUMNS = 4
LINE = 34  # characters of a text's line in a small picture
MOST_NAMED = 60  # classes whose names are written beside the matrix
MOST_COUNTED = 20  # classes up to which counts are written into it
PICTURE = re.compile(r'<img src="data:image/\w+;base64,([^"]+)"')


def facts_of(thing: Any) -> Facts:
    """What the run of a thing says.

    Raises:
        UsageError: it has left none.
    """
    run = thing if isinstance(thing, Run) else thing.run
    if run is None:
        why = "leaves no run" if thing.asked_run is False else "has not been trained"
        raise UsageError(f"the learner {why}, and figures are of a run", fix="give it run=, a folder, and call fit()")
    return Facts(run)


def losses(thing: Any) -> Drawn:
    """See `Pictured.plot_losses`."""
    facts = facts_of(thing)
    steps = [(line["step"], line["loss"]) for line in facts.steps if math.isfinite(line["loss"])]
    epochs = [(e["step"], e["train_loss"]) for e in facts.epochs]
    valid = [(e["step"], e["valid"]["loss"]) for e in facts.epochs if "loss" in e.get("valid", {})]
    if not steps and not epochs:
        raise UsageError("no step was written down yet", where=facts.path, fix="train it further")
    rows = [("train step", *p) for p in steps] + [("train", *p) for p in epochs] + [("valid", *p) for p in valid]
    figure = Drawn(pl.DataFrame(rows, ["split", "step", "loss"], orient="row"), figsize=(6.4, 3.8))
    axes = figure.add_subplot()
    if len(steps) > 2:
        axes.plot(*zip(*steps, strict=True), color="C0", alpha=0.3)
        axes.plot(*zip(*smoothed(steps), strict=True), color="C0", label="train")
    elif epochs:
        axes.plot(*zip(*epochs, strict=True), "o-", color="C0", label="train")
    if valid:
        axes.plot(*zip(*valid, strict=True), "o-", color="C1", label="valid")
    axes.set(xlabel="step", ylabel="loss", title=_plain(facts.name))
    axes.legend()
    return figure


def rates(thing: Any) -> Drawn:
    """See `Pictured.plot_lr`."""
    facts = facts_of(thing)
    points = [(s["step"], s["learning_rate"]) for s in facts.steps if "learning_rate" in s]
    if not points:
        fix = "train further, or with a smaller log_every"
        raise UsageError("no learning rate was written down yet", where=facts.path, fix=fix)
    search = facts.search
    figure = Drawn(pl.DataFrame(points, ["step", "learning_rate"], orient="row"),
                   figsize=(6.4 if search is None else 10, 3.4))  # fmt: skip
    axes = figure.add_subplot(1, 1 if search is None else 2, 1)
    axes.plot(*zip(*points, strict=True))
    axes.set(xlabel="step", ylabel="learning rate", title="as it went", ylim=(0, None))
    if search is not None:
        beside = figure.add_subplot(1, 2, 2)
        beside.plot(search.rates, search.losses, alpha=0.4)
        beside.axvline(search.suggestion, linestyle="--", color="C1", label=f"{search.suggestion:.2g}")
        beside.set(xscale="log", xlabel="learning rate", ylabel="loss", title="the search for it")
        beside.legend()
    return figure


def confusion(thing: Any) -> Drawn:
    """See `Pictured.plot_confusion`."""
    facts = facts_of(thing)
    matrix, classes = facts.detail.get("confusion"), facts.detail.get("classes") or []
    if not matrix:
        raise _unmeasured(facts, "how classes are confused", "a classifier of few enough classes")
    counts = np.asarray(matrix)
    rows = [(classes[i], classes[j], int(n)) for (i, j), n in np.ndenumerate(counts)]
    side = min(4.0 + 0.28 * len(classes), 14)
    figure = Drawn(pl.DataFrame(rows, ["true", "predicted", "count"], orient="row"), figsize=(side + 1, side))
    axes = figure.add_subplot()
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure.colorbar(axes.imshow(shares, cmap="Blues", vmin=0, vmax=1), ax=axes, label="share of the true class")
    axes.set(xlabel="predicted", ylabel="true", title=_plain(facts.name))
    if len(classes) <= MOST_NAMED:
        ticks, names = range(len(classes)), [_plain(name) for name in classes]
        axes.set_xticks(ticks, names, rotation=90 if max(map(len, names)) > 3 else 0)
        axes.set_yticks(ticks, names)
    if len(classes) <= MOST_COUNTED:
        for (i, j), n in np.ndenumerate(counts):
            if n:
                axes.text(j, i, f"{n}", ha="center", va="center", color="white" if shares[i, j] > 0.5 else "black")
    return figure


def calibration(thing: Any) -> Drawn:
    """See `Pictured.plot_calibration`."""
    facts = facts_of(thing)
    bins = facts.detail.get("calibration")
    if not bins or not sum(bins["count"]):
        raise _unmeasured(facts, "how sure it is", "a classifier")
    frame = pl.DataFrame({name: bins[name] for name in ("confidence", "accuracy", "count")}).filter(pl.col("count") > 0)
    figure = Drawn(frame, figsize=(4.8, 4.6))
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], "--", color="grey", linewidth=1)
    axes.bar(frame["confidence"], frame["accuracy"], width=0.8 / len(bins["count"]), alpha=0.8)
    axes.set(xlabel="confidence", ylabel="share of right answers", xlim=(0, 1), ylim=(0, 1),
             title=f"{_plain(facts.name)}: calibration error {bins['error']:.1%}")  # fmt: skip
    return figure


def mistakes(thing: Any, count: int = 12) -> Drawn:
    """See `Pictured.show_mistakes`."""
    facts = facts_of(thing)
    require(count >= 1, f"count={count}", "1 or more")
    worst = facts.detail.get("worst")
    if worst is None:
        raise _unmeasured(facts, "which rows are wrong", "a classifier or a regression")
    shown = worst[:count]
    frame = pl.DataFrame({
        "row": [m.get("row") for m in shown], "place": [m.get("place") for m in shown],
        "true": [str(m.get("true")) for m in shown], "predicted": [str(m.get("predicted")) for m in shown],
        "confidence": [m.get("confidence") for m in shown],
    }, {name: {"row": pl.Int64, "confidence": pl.Float64}.get(name, pl.String)
        for name in ("row", "place", "true", "predicted", "confidence")})  # fmt: skip
    sure = [m.get("confidence") for m in shown]
    titles = [f"{m.get('true')} → {m.get('predicted')}" + (f" ({c:.0%})" if c is not None else "")
              for m, c in zip(shown, sure, strict=True)]  # fmt: skip
    return _gallery([str(m.get("html") or "") for m in shown], titles, frame, f"{facts.name}: the worst mistakes")


def samples(data: Dataset, count: int, split: str | None, seed: int) -> Drawn:
    """See `Dataset.show`."""
    require(count >= 1, f"count={count}", "1 or more")
    rows = data.rows(split) if split is not None else np.arange(len(data))
    chosen = np.sort(np.random.default_rng(seed).permutation(rows)[:count]).tolist()
    target = data.target
    labels = [data.fields[target].caption(data.columns[target][row]) if target else "" for row in chosen]
    frame = pl.DataFrame({"row": chosen, "place": [data.place(row) for row in chosen], "target": labels})
    return _gallery([render(data, row) for row in chosen], labels, frame, None)


def _gallery(pieces: Sequence[str], titles: Sequence[str], frame: pl.DataFrame, title: str | None) -> Drawn:
    """Raw values, as fields rendered them, side by side."""
    across = min(COLUMNS, max(len(pieces), 1))
    down = max(-(-len(pieces) // across), 1)
    figure = Drawn(frame, figsize=(2.5 * across, 2.6 * down + (0.4 if title else 0)))
    if title:
        figure.suptitle(_plain(title if pieces else f"{title}: none"))
    for number, (piece, name) in enumerate(zip(pieces, titles, strict=True), 1):
        axes = figure.add_subplot(down, across, number)
        axes.axis("off")
        axes.set_title(_plain(textwrap.shorten(name, 2 * LINE, placeholder=" …")), fontsize=9, wrap=True)
        if picture := PICTURE.search(piece):
            with Image.open(io.BytesIO(base64.b64decode(picture[1])), formats=["PNG", "JPEG", "WEBP"]) as opened:
                axes.imshow(np.asarray(opened.convert("RGB")), interpolation="nearest")
        else:
            text = html.unescape(re.sub(r"<[^>]*>", " ", piece))
            short = textwrap.shorten(" ".join(text.split()), 9 * LINE, placeholder=" …")
            axes.text(0, 1, _plain(textwrap.fill(short, LINE)), va="top", fontsize=8, transform=axes.transAxes)
    return figure


def _plain(text: str) -> str:
    """Text as it is: a dollar sign begins no formula."""
    return str(text).replace("$", r"\$")


def _unmeasured(facts: Facts, what: str, of: str) -> UsageError:
    if not facts.evaluation:
        return UsageError(f"{what} was not measured yet", where=facts.path, fix="finish the training")
    return UsageError(f"{what} was not measured", where=facts.path, expected=of)
