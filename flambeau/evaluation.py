"""Evaluation: a model measured on rows of a dataset, with what the report shows of it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from flambeau import report
from flambeau.baselines import Baseline, baselines
from flambeau.core.arrays import missing
from flambeau.core.errors import DataError, UsageError
from flambeau.core.printable import quoted
from flambeau.core.reporter import QUIET, Reporter
from flambeau.data import packing
from flambeau.data.dataset import Dataset
from flambeau.data.grouping import PRESENT, regrouped
from flambeau.data.overview import overview
from flambeau.data.sources.archives import is_archive, unpack
from flambeau.data.sources.opening import from_path, from_source, source_of
from flambeau.data.store.encode import EncodeOptions, encode
from flambeau.data.store.store import Store, collate
from flambeau.fields import Ragged
from flambeau.fields.placement import following
from flambeau.objectives import OBJECTIVES, Objective
from flambeau.objectives.decisions import Wish, decide, outcome
from flambeau.objectives.tasks import task_of
from flambeau.predictor import Predictor, Reading
from flambeau.run import Run
from flambeau.training import Prepare, Source, evaluate
from flambeau.training.engine import Engine
from flambeau.understand.attribution import attribute_pair, attribute_tokens
from flambeau.understand.embeddings import embeddings
from flambeau.understand.mistakes import heat_of_mistakes
from flambeau.understand.slices import observers

LONGEST = 200  # characters of a caption
PAST = 24  # steps drawn before a forecast, at least
Weights = dict[str, list[float]]
"""By input, what each token of a text weighed."""


def measure(
    objective: Objective, engine: Engine, source: Source, prepare: Prepare, split: str, dataset: Dataset | None = None,
    samples: int | None = None, reporter: Reporter = QUIET, slices: Sequence[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """{split, samples, metric, higher_is_better, metrics, intervals, further, detail} as plain JSON; the worst mistakes
    carry their place and a thumbnail.

    Args:
        dataset: what the rows are of; the report then shows some of them, and parts of them are compared.
        slices: what they are parted by, see `flambeau.data.slicing`; all that suits if not given.
    """
    with embeddings(objective.model) as last:
        if dataset is not None:
            rows = np.arange(len(dataset)) if split == "all" else dataset.rows(split)
            objective.observers = observers(objective, dataset, rows, slices, last)
        metrics = evaluate(objective, engine, source, prepare, reporter, detail=True)
    detail, objective.observers = objective.detail(), ()
    if dataset is not None:
        mistakes = detail.get("worst", [])
        weights = _token_weights(objective, engine, dataset, mistakes)
        heats = [] if weights else heat_of_mistakes(objective, dataset, mistakes, engine.device)
        for i, mistake in enumerate(mistakes):
            mistake["place"] = dataset.place(mistake["row"])
            mistake["html"] = render(dataset, mistake["row"], mistake.get("at"), weights[i] if weights else None)
            mistake["html"] += f" {heats[i]}" if heats else ""
        for group in detail.get("groups", {}).get("worst", []):
            for sample in group["samples"]:
                sample |= {"place": dataset.place(sample["row"]), "html": render(dataset, sample["row"])}
        for shown in detail.get("forecasts", []):
            _add_past(dataset, shown)
        for shown in detail.get("pictures", []):
            if "output" in shown:
                _draw(objective, dataset, shown)
        for mistakes in detail.get("boxes", {}).get("mistakes", {}).values():
            for shown in mistakes["worst"]:
                _close_up(dataset, shown)
        if legend := dataset.fields[dataset.target].legend if dataset.target else {}:
            detail["legend"] = legend
    return {"split": split, "samples": samples, "metric": objective.monitor,
            "higher_is_better": objective.higher_is_better, "metrics": metrics, "intervals": objective.intervals(),
            "further": objective.further(), "detail": detail}  # fmt: skip


def _add_past(dataset: Dataset, shown: dict[str, Any]) -> None:
    """What was before a forecast that the report draws, and when it begins."""
    name, steps = dataset.inputs[0], len(shown["true"])
    past = dataset.columns[name][shown["row"]][: dataset.fields[name].past_steps, 0][-max(PAST, 2 * steps) :]
    shown["past"] = [None if v != v else v for v in past.tolist()]
    shown["place"] = dataset.place(shown["row"])


def _draw(objective: Objective, dataset: Dataset, shown: dict[str, Any]) -> None:
    """What a model said of a row, drawn into the row's picture."""
    name, row = dataset.inputs[0], shown["row"]
    target, field, picture = dataset.fields[dataset.target or ""], dataset.fields[name], dataset.columns[name][row]
    answer = objective.decode(np.asarray(shown.pop("output"), np.float32), 0.0, field, picture).label
    said = ": ".join(filter(None, (dataset.place(row), target.caption(answer))))
    truth = dataset.columns[dataset.target or ""][row]
    shown |= {"html": target.compared_in(answer, truth, field, picture), "caption": said[:LONGEST]}


def _close_up(dataset: Dataset, shown: dict[str, Any]) -> None:
    """A mistake about a box with its place, and a close look at it where it is among the first of its kind."""
    name, row = dataset.inputs[0], shown["row"]
    target, field = dataset.fields[dataset.target or ""], dataset.fields[name]
    shown["place"] = dataset.place(row)
    if shown.pop("drawn", False):
        shown["html"] = target.close_up(shown["box"], shown["label"], field, dataset.columns[name][row])


def look(dataset: Dataset) -> dict[str, Any]:
    """A picture of the data, which the report shows though the data may be gone: `overview`, with its samples as
    {html, label, place}."""
    seen = overview(dataset)
    for i, row in enumerate(seen["samples"]):
        target = dataset.target
        label = dataset.fields[target].caption(dataset.columns[target][row]) if target else ""
        seen["samples"][i] = {"html": render(dataset, row), "label": label[:LONGEST], "place": dataset.place(row)}
    return seen


def render(dataset: Dataset, row: int, at: int | None = None, weights: Weights | None = None) -> str:
    """The inputs of a row as HTML, with its target drawn in where that has a place in a picture.

    Args:
        at: the token that stands out in a sentence that is tagged.
        weights: what each token of each text weighed.
    """
    leader, followers = following(dataset.fields, dataset.inputs, dataset.target)
    if leader is not None and dataset.target in followers:
        truth = dataset.columns[dataset.target][row]
        return dataset.fields[dataset.target].render_in(truth, dataset.fields[leader], dataset.columns[leader][row])
    fields = [(c, dataset.fields[c]) for c in dataset.inputs if c != PRESENT]
    return " ".join(field.marked(dataset.columns[c][row], at, weights[c] if weights else None) for c, field in fields)


def _token_weights(
    objective: Objective, engine: Engine, dataset: Dataset, mistakes: list[dict[str, Any]]
) -> list[Weights] | None:
    """How much each token of the worst texts spoke for what was predicted; None where nobody can say."""
    fields = {name: dataset.fields[name] for name in dataset.inputs if name != PRESENT}
    task = task_of(dataset.fields.get(dataset.target or ""))
    asked = [task.output_of(mistake["predicted"]) for mistake in mistakes]
    if not asked or None in asked or len(fields) > 2:
        return None
    outputs = torch.tensor(asked, device=engine.device)
    texts: dict[str, Ragged] = {}
    for name, field in fields.items():
        if field.token_key is None:
            return None
        values = [dataset.columns[name][mistake["row"]] for mistake in mistakes]
        blank = np.zeros(0, field.encoding.dtype)  # one of two texts may be missing
        encoded = [blank if missing(value) and len(fields) > 1 else field.encode(value) for value in values]
        gathered = collate(encoded, field.encoding)
        assert isinstance(gathered, Ragged)
        texts[name] = field.prepare(gathered).to(engine.device)
    if len(texts) == 2:
        found: tuple[torch.Tensor, ...] | None = attribute_pair(objective.model, texts, outputs)
    else:
        alone = attribute_tokens(objective.model, next(iter(texts.values())), outputs)
        found = None if alone is None else (alone,)
    if found is None:
        return None
    lengths = [text.lengths.tolist() for text in texts.values()]
    parts = [
        [row[:length] for row, length in zip(shares.tolist(), of_text, strict=True)]
        for shares, of_text in zip(found, lengths, strict=True)
    ]
    return [dict(zip(texts, row, strict=True)) for row in zip(*parts, strict=True)]


def evaluate_run(
    run: str | Path | Run, data: str | Path | Dataset | None = None, *, options: EncodeOptions | None = None,
    device: str = "auto", metric: str | None = None, baseline: bool = True, tta: Any = None, slices: Sequence[str] = (),
    wish: Wish | None = None, positive: str | None = None, apply: bool = False, stride: int | None = None,
    reporter: Reporter = QUIET, **source_options: Any,
) -> dict[str, Any]:  # fmt: skip
    """Measures a run on its own held-out rows, or on other data (a folder, a table, a Dataset): all rows of it.

    Args:
        metric: the measure of the model; the training's if not given.
        baseline: put the simple rivals beside it; on other data they are fitted anew on the training rows, as long as
            these are there and unchanged.
        slices: what the rows are parted by, to see where it fails: columns, `length`, `size`, `folder` or `series`; all
            that suits if not given.
        wish: chooses thresholds on the run's validation rows, and measures what they give on these: `decision` of the
            result. Without one those that the run keeps are measured.
        positive: of two classes the one that a threshold is for; the rarer one if not given.
        apply: keep the decision in the run, so that its predictions go by it.
        stride: of a language model, tokens that each window of a text foretells, behind those that it only looks back
            at: fewer than a window has let each be foretold from more, at so many times the cost. The rivals stay.
        tta: also measures with test-time augmentation, see `Predictor.with_tta`; the result has it as `tta`.

    Raises:
        RunError: there is no such run. DataError: the data has none of the run's classes, or cannot be read.
        UsageError: there is no such metric.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    predictor = Predictor.load(run, device=device, reporter=reporter)
    if predictor.target is None and "target" in OBJECTIVES[run.recipe.objective.name].takes:
        raise UsageError("this run has no target to measure against", where=run.path)
    if metric is not None:
        predictor.objective.measure_by(metric)
    viewing = None if tta is None else predictor.with_tta(tta)
    reading, rows, split = held_out(run, predictor, data, options, reporter, **source_options)
    dataset, store = reading.dataset, reading.store
    trained = run.recipe.training
    tokens = None if trained.max_tokens is None else 2 * trained.max_tokens

    def batches(of: Store, chosen: np.ndarray) -> Source:
        return packing.batches(
            of, torch.from_numpy(chosen), 2 * (trained.batch_size or 32), tokens=tokens, stride=stride
        )

    objective, decision = predictor.objective, run.decision
    if wish is not None:
        held = reading if data is None else predictor.read(trained_on(run), options, reporter)
        valid = np.intersect1d(held.dataset.rows("valid"), held.good, assume_unique=True)
        if not len(valid):
            raise DataError("there are no validation rows to choose on", where=run.path, fix="train with some")
        evaluate(objective, predictor.engine, batches(held.store, valid), held.prepare, reporter, detail=True)
        curves = objective.task.decided_by(objective.curves(), positive)
        decision = {**decide(wish, curves, objective.confidence()), "rows": len(valid)}
        before = outcome(decision, curves, objective.confidence())
    source = batches(store, rows)
    result = measure(
        predictor.objective, predictor.engine, source, reading.prepare, split, dataset, len(rows), reporter, slices
    )
    if decision:
        positive = next(iter(decision["thresholds"]), None) if len(decision["thresholds"]) == 1 else None
        curves = objective.task.decided_by(objective.curves(), positive)
        result["decision"] = {**decision, **outcome(decision, curves, objective.confidence())}
        if wish is not None:
            result["decision"] |= {"validation": before, "applied": apply}
    if apply and wish is not None:
        run.save_decision(decision)
        report.write(run)
    if viewing is not None:
        result["tta"] = with_tta(viewing, source, viewing.read(dataset, options, reporter), reporter)
    other = data is not None
    place = str(Path(data).resolve()) if isinstance(data, (str, Path)) else None
    if other and (store.fingerprint == run.recipe.data.get("fingerprint") or place == run.recipe.data.get("path")):
        reporter.say(f"this is the data of the training: rows that it trained on are among these, so the figures are "
                     f"too good, and no baseline is put beside them; flambeau evaluate {quoted(run.path)} measures the "
                     "others",
                     style="yellow")  # fmt: skip
        baseline = False
    kept = run.evaluation.get("baselines") if other or run.evaluation.get("split") == split else None
    if kept and baseline:
        if not other:  # on the same rows, and the model perhaps in the precision of its training
            kept = [_moved(rival, result["metrics"], run.evaluation["metrics"]) for rival in kept]
        else:
            without = predictor.objective.without_groups()
            rivals = _fitted_anew(run, predictor, dataset, store, rows, options, reporter)
            kept = [rival.beside(result["metrics"], without) for rival in rivals]
        result["baselines"] = kept
    if predictor.note:
        result["note"] = predictor.note
    return {**result, "left_out": [f.to_dict() for f in reading.findings]}


def _moved(rival: dict[str, Any], now: dict[str, float], before: dict[str, float]) -> dict[str, Any]:
    """A rival whose differences to a model follow where the model is measured anew."""
    told = dict(rival.get("differences", {}))
    for name in [name for name in told if None not in (now.get(name), before.get(name))]:
        told[name] = [end + (now[name] - before[name]) for end in told[name]]
    return {**rival, "differences": told} if told else rival


def held_out(
    run: Run, predictor: Predictor, data: str | Path | Dataset | None, options: EncodeOptions | None = None,
    reporter: Reporter = QUIET, **source_options: Any,
) -> tuple[Reading, np.ndarray, str]:  # fmt: skip
    """What a run is measured on, read: its own held-out rows, or all of other data; the rows, int64; and their split.

    Raises:
        DataError: the data is not there, cannot be read, or no row of it is left.
    """
    if data is None and run.recipe.data.get("kind") == "memory":
        raise DataError("this run was trained on data in memory", fix="give the data to measure on")
    if data is None:
        dataset = trained_on(run)
        split = dataset.evaluation_split
    else:
        dataset = opened(data, run, predictor, source_options)
        split = "all"
    if split == "all":
        dataset = copy.copy(dataset)
        dataset.split = np.zeros(len(dataset), np.int8)
    try:
        reading = predictor.read(dataset, options, reporter)
    except DataError as error:
        raise DataError(error.found, where=error.where or data, expected=error.expected, fix=error.fix) from None
    for finding in (*(reading.dataset.findings if data is not None else ()), *reading.findings):
        reporter.say(str(finding), style="yellow")
    good = reading.good
    rows = good if split == "all" else np.intersect1d(reading.dataset.rows(split), good, assume_unique=True)
    if not len(rows):
        raise DataError("no row is left to measure on", where=data, fix="look at what was left out, above")
    return reading, rows, split


def with_tta(viewing: Predictor, source: Source, reading: Reading, reporter: Reporter = QUIET) -> dict[str, Any]:
    """{views, name, augment, seed, metrics, intervals} of a predictor that looks at several views, on the batches that
    the plain one was measured on."""
    metrics = evaluate(viewing.objective, viewing.engine, source, reading.prepare, reporter)
    return {**viewing.views, "metrics": metrics, "intervals": viewing.objective.intervals()}


def trained_on(run: Run) -> Dataset:
    """The data of a training.

    Raises:
        DataError: it is not there.
    """
    return from_source({k: v for k, v in run.recipe.data.items() if k != "fingerprint"})


def _fitted_anew(
    run: Run, predictor: Predictor, dataset: Dataset, store: Store, rows: np.ndarray, options: EncodeOptions | None,
    reporter: Reporter,
) -> list[Baseline]:  # fmt: skip
    """The run's rivals, fitted on its training rows and measured on other data. They are not kept with a run: trees and
    vocabularies would be larger than most models. None where the training's data is gone or changed, which is said."""
    why = "the run was trained on data in memory"
    if run.recipe.data.get("kind") != "memory":
        try:
            training = regrouped(trained_on(run), predictor.fields, predictor.inputs, predictor.target)
            kept = encode(training, options, reporter)
            if kept.fingerprint == run.recipe.data.get("fingerprint"):
                train = np.intersect1d(training.rows("train"), kept.good.numpy(), assume_unique=True)
                return baselines(
                    training,
                    kept,
                    train,
                    rows,
                    reporter,
                    metric=predictor.objective.monitor,
                    other=(dataset, store),
                    task=predictor.objective.task,
                )
            why = "the data of the training has changed"
        except DataError as error:
            why = f"the data of the training cannot be read ({error})"
    reporter.say(f"no baseline is beside it, for {why}", style="yellow")
    return []


def opened(data: str | Path | Dataset, run: Run, predictor: Predictor, options: dict[str, Any]) -> Dataset:
    """Other data than a run's own, read as that was; its target is called as the run's."""
    dataset = data if isinstance(data, Dataset) else _read(data, run, predictor, options)
    if dataset.target not in (None, predictor.target) and predictor.target not in dataset.columns:
        dataset.rename(dataset.target, predictor.target or "")
    return dataset


def _read(path: str | Path, run: Run, predictor: Predictor, options: dict[str, Any]) -> Dataset:
    path = unpack(path) if is_archive(Path(path)) else path
    used = [predictor.fields[name] for name in (predictor.inputs[0], predictor.target) if name]
    suggested = {name: value for field in used for name, value in field.source_options.items()}
    source, given = source_of(path, {**suggested, **options}), options
    options = {**{name: value for name, value in suggested.items() if name in source.options()}, **given}
    if predictor.target is None and given.get("target") is not None:
        raise UsageError("this run was trained without a target, so there is nothing to measure by one",
                         fix="leave --target out; flambeau predict RUN DATA names the oddest rows")  # fmt: skip
    if source.columns:
        # a table without names of columns is read as the training's was
        known = [name for name in ("header", "columns") if name in source.options()]
        kept: dict[str, Any] = {name: value for name in known if (value := run.recipe.data.get(name)) is not None}
        fields = predictor.column_fields
        if given.get("target", predictor.target) != predictor.target:
            fields[given["target"]] = fields.pop(predictor.target or "")
        beside = {"target": predictor.target, "inputs": predictor.columns, **kept, "fields": fields}
        options = {**options, **beside, **given}
    elif run.recipe.data.get("kind") == "tagged":
        tokens, tags = (run.recipe.data.get(name) for name in ("token_column", "tag_column"))
        options = {"inputs": tokens if tokens is None else [tokens], "target": tags, **options}
    unlabelled = {} if predictor.target else {"labels": False}
    return from_path(path, split="none", **unlabelled, **options)
