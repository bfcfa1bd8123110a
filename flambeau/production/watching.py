"""A model in use, watched: how right it has been, and whether what it is asked is still what it was trained on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import scipy

from flambeau.core.errors import DataError, UsageError
from flambeau.core.reporter import QUIET, Reporter
from flambeau.data.grouping import PRESENT
from flambeau.objectives.names import higher_is_better
from flambeau.predictor import Predictor
from flambeau.production.drift import FEWEST, drifts
from flambeau.production.statistics import ANSWER, BATCH, CONFIDENCE, Chunk, Statistics, reference, statistics_of
from flambeau.production.tables import Logged, LogTables
from flambeau.run import Run

SEEN = 1000
"""Of the newest inputs, those that drift is looked for in."""


def watch(
    run: Run, tables: LogTables, *, model: str | None = None, since: float = 0.0, device: str = "auto",
    reporter: Reporter = QUIET,
) -> dict[str, Any]:  # fmt: skip
    """What a log says of a run, as plain JSON: {run, model, version, predictions, latency, feedback, drift, alerts,
    notes}; `alerts` is empty where all is as it was.

    Args:
        model: what the server calls it; the run's folder if not given.
        since: seconds since 1970; earlier predictions are left out.

    Raises:
        DataError: the log has nothing of this run.
    """
    name, version = named(run, tables, model)
    rows = [*tables.read(name, version, since)]
    if not rows:
        raise DataError(
            "the log has no predictions since then", where=str(tables), fix="look further back: --since 30d"
        )
    predictor = Predictor.load(run, device=device, reporter=reporter)
    notes: list[str] = []
    seconds = np.quantile([row.latency for row in rows], (0.5, 0.99)).tolist()
    result: dict[str, Any] = {
        "run": str(run.path), "model": name, "version": version, "predictions": len(rows),
        "from": rows[-1].time, "to": rows[0].time, "latency": {"p50": seconds[0], "p99": seconds[1]},
        "feedback": _right(run, predictor, rows, notes),
    }  # fmt: skip
    found = _drift(run, predictor, tables, name, version, since, rows, notes, reporter)
    result["drift"] = [{**vars(drift), "said": str(drift)} for drift in found]
    result["alerts"] = [drift["said"] for drift in result["drift"] if drift["alert"]]
    right = result["feedback"]
    if right.get("alert"):
        result["alerts"].insert(0, f"{right['name']} is {right['value']:.4g} ({right['low']:.4g} to {right['high']:.4g}"
                                f") on {right['rows']:,} right answers; it was {right['before']:.4g}")  # fmt: skip
    return {**result, "notes": notes}


def named(run: Run, tables: LogTables, model: str | None = None) -> tuple[str, str]:
    """What a log calls a run, and the version of its weights.

    Raises:
        DataError: the log has nothing of it; what it has is told.
    """
    tables.check()
    name, version, there = model or run.path.resolve().name, run.version, tables.models()
    if (name, version) in there:
        return name, version
    ours = [one for one, other in there if other == version]
    if ours and model is None:
        return ours[0], version
    known = ", ".join(f"{one} (version {other}, {count:,})" for (one, other), count in list(there.items())[:5])
    raise DataError(f"the log has no predictions of {name}, version {version or 'none'}", where=str(tables),
                    expected=f"one of: {known}" if known else "some predictions",
                    fix="name the run that was served, or --model")  # fmt: skip


def _right(run: Run, predictor: Predictor, rows: Sequence[Logged], notes: list[str]) -> dict[str, Any]:
    """How right the answers were that somebody said the right one of."""
    target = predictor.fields.get(predictor.target or "")
    answered = [row for row in rows if row.answered]
    told: dict[str, Any] = {"rows": len(answered)}
    if not answered:
        notes.append("nobody has given right answers: POST /v1/feedback/{id} takes them")
        return told
    if target is None or not target.scored_by:
        notes.append("right answers to this kind of target are kept, and not scored here")
        return told
    scores, name = [], target.scored_by
    for row in answered:
        try:
            scores.append(target.score(row.output["label"], row.target))
        except (DataError, ValueError, TypeError, KeyError):
            continue
    if not scores:
        return told
    value, count = float(np.mean(scores)), len(scores)
    if {*scores} <= {0.0, 1.0}:
        interval = scipy.stats.binomtest(int(sum(scores)), count).proportion_ci(method="wilson")
        low, high = float(interval.low), float(interval.high)
    else:
        wide = 1.96 * float(np.std(scores)) / count**0.5
        low, high = value - wide, value + wide
    told |= {"name": name, "value": value, "low": low, "high": high}
    before = run.evaluation.get("metrics", {}).get(name)
    if before is not None:
        least, most = run.evaluation.get("intervals", {}).get(name) or (before, before)
        worse = high < least if higher_is_better(name) else low > most
        told |= {"before": before, "alert": bool(count >= FEWEST and worse)}
    return told


def _drift(
    run: Run, predictor: Predictor, tables: LogTables, name: str, version: str, since: float, rows: Sequence[Logged],
    notes: list[str], reporter: Reporter,
) -> list[Any]:  # fmt: skip
    before = reference(run, predictor, reporter)
    if before is None:
        notes.append("drift is not measured: the run has no statistics of its data, and the data is gone")
        return []
    with_inputs = islice(tables.read(name, version, since, SEEN, inputs=True), SEEN)
    now = statistics_of(predictor, chunks_of(predictor, with_inputs))
    if not now.rows:
        notes.append("drift of inputs is not measured, for the log has none: flambeau serve RUN --log … --log-inputs")
    elif now.rows < FEWEST:
        notes.append(f"drift of inputs is not measured in {now.rows} rows; at least {FEWEST} are needed")
    # answers are in the log in any case, and more of them
    target = predictor.fields.get(predictor.target or "")
    answers: list[dict[str, Any]] = []
    for row in rows:
        signals = dict(target.signals(ANSWER, row.output.get("label"), None)) if target is not None else {}
        answers.append(signals if row.confidence is None else {**signals, CONFIDENCE: float(row.confidence)})
    now.numbers.pop(CONFIDENCE, None)
    now.names.pop(ANSWER, None)
    now.add([row for row in answers if row])
    if 0 < len(rows) < FEWEST:
        notes.append(f"{len(rows)} predictions are too few to be compared; at least {FEWEST} are needed")
    return drifts(before, now)


def raw_of(predictor: Predictor, logged: Any) -> dict[str, Any]:
    """A logged input as raw values by input: of files their bytes.

    Raises:
        DataError: the model cannot read it.
    """
    values = dict(predictor.by_input(logged))
    for name in predictor.inputs:
        if name != PRESENT and predictor.fields[name].reads_files and name in values:
            values[name] = predictor.fields[name].from_portable(values[name])
    return values


def chunks_of(predictor: Predictor, rows: Iterator[Logged]) -> Iterator[Chunk]:
    """Logged inputs as `statistics_of` takes them; those that cannot be read are left out."""
    while chosen := [*islice(rows, BATCH)]:
        values, encoded = [], []
        for row in chosen:
            try:
                value = raw_of(predictor, row.input)
                encoded.append(predictor.encode(value))
                values.append(value)
            except (DataError, UsageError):
                continue
        if values:
            yield values, encoded, lambda rows=encoded: predictor.outputs(rows)  # type: ignore[misc]


def lines(result: dict[str, Any]) -> Iterator[str]:
    """A result as a person reads it."""
    days = [time.strftime("%Y-%m-%d %H:%M", time.gmtime(result[end])) for end in ("from", "to")]
    latency = {name: f"{1000 * value:.3g} ms" for name, value in result["latency"].items()}
    yield (f"{result['model']}, version {result['version']}: {result['predictions']:,} predictions from {days[0]} to "
           f"{days[1]} UTC; latency {latency['p50']}, 99th percentile {latency['p99']}")  # fmt: skip
    right = result["feedback"]
    if "value" in right:
        before = f"; {right['before']:.4g} in the evaluation" if "before" in right else ""
        yield (f"{right['name']} {right['value']:.4g} (95 % interval {right['low']:.4g} to {right['high']:.4g}) on "
               f"{right['rows']:,} right answers{before}")  # fmt: skip
    if result["drift"] and not any(drift["alert"] for drift in result["drift"]):
        yield f"no drift in {len(result['drift'])} signals"
    for note in result["notes"]:
        yield f"note: {note}"
    for alert in result["alerts"]:
        yield f"alert: {alert}"


def gauges(result: dict[str, Any]) -> str:
    """The same as a text file for Prometheus (node_exporter's textfile collector reads it)."""
    of = f'model="{_label(result["model"])}",version="{result["version"]}"'
    right = result["feedback"]
    values: dict[str, list[tuple[str, float]]] = {
        "predictions": [("", result["predictions"])], "feedback": [("", right["rows"])],
        "alerts": [("", len(result["alerts"]))],
        "score": [(f',metric="{right["name"]}",bound="{b}"', right[b]) for b in ("value", "low", "high") if b in right],
        "drift": [(f',signal="{_label(d["name"])}",test="{d["test"]}"', d["size"]) for d in result["drift"]],
        "drift_alert": [(f',signal="{_label(d["name"])}"', float(d["alert"])) for d in result["drift"]],
    }  # fmt: skip
    return "".join(
        f"# TYPE flambeau_watch_{name} gauge\n"
        + "".join(f"flambeau_watch_{name}{{{of}{more}}} {value:g}\n" for more, value in each)
        for name, each in values.items()
        if each
    )


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


__all__ = ["Statistics", "gauges", "lines", "named", "raw_of", "watch"]
