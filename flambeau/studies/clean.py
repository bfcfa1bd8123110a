"""Suspected labels of a cross-validation, as a table of corrections that a person edits and gives back."""

from __future__ import annotations

import copy
import csv
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flambeau.core.errors import DataError, RunError
from flambeau.core.files import read_json, to_json
from flambeau.core.printable import cell
from flambeau.core.reporter import QUIET, Reporter
from flambeau.data.corrections import COLUMNS
from flambeau.data.dataset import Dataset
from flambeau.data.split import TEST, TRAIN
from flambeau.evaluation import render, trained_on
from flambeau.fields.category import natural
from flambeau.objectives.tasks import task_of
from flambeau.report.markup import fragment, tag
from flambeau.report.page import document
from flambeau.report.parts import grid
from flambeau.report.words import Words
from flambeau.run import Run
from flambeau.studies.base import Study
from flambeau.studies.folds import OUT_OF_FOLD
from flambeau.studies.rows import answers


class Suspect(NamedTuple):
    """A label that is probably wrong: the row, where it came from, what is given, what is proposed and how sure that
    is, 0…1."""

    row: int
    place: str
    given: Any
    suggested: Any
    confidence: float


def fold_of(path: str | Path) -> Run:
    """The first run of a finished cross-validation.

    Raises:
        RunError: there is none in the folder.
    """
    path = Path(path)
    file = path / Study.FILE
    if not path.exists():
        raise RunError("there is no such folder", where=path, fix="make one with flambeau cv", code="not-found")
    if not file.exists() or read_json(file).get("kind") != "folds":
        raise RunError("this is no cross-validation", where=path, fix="make one with flambeau cv")
    if not (path / OUT_OF_FOLD).exists():
        raise RunError("the cross-validation is not done", where=path, fix="ask flambeau cv for the same again")
    return Run(path / "fold-1-1")


def judged(path: str | Path) -> bool:
    """Whether labels of the kind that a cross-validation learned can be doubted. Raises RunError as `suspects`."""
    fields, _, target = fold_of(path).fields()
    return target is not None and task_of(fields[target]).doubts_labels


def suspects(path: str | Path) -> list[Suspect]:
    """Suspected labels of a cross-validation, the surest first. Of several repeats the mean of the answers counts.

    Raises:
        RunError: there is none in the folder, or it is not done.
    """
    import polars as pl

    first = fold_of(path)
    fields, _, target = first.fields()
    if target is None:
        return []
    field = fields[target]
    runs = [Run(part.parent) for part in Path(path).glob("fold-*/fields.json")]
    every = {name for run in runs for name in run.fields()[0][target].classes}
    if every:
        field.classes = sorted(every, key=natural)
    rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    answers = pl.read_parquet(Path(path) / OUT_OF_FOLD).filter(pl.col("true").is_not_null())
    for answer in answers.iter_rows(named=True):
        rows[answer["row"]].append(answer)
    ones = [same[0] for same in rows.values()]
    outputs = [np.mean([np.asarray(one["output"]) for one in same], 0) for same in rows.values()]
    numbers = any(isinstance(one["predicted"], float) for one in ones)
    predicted = [np.mean([one["predicted"] for one in same]) if numbers else same[0]["predicted"]
                 for same in rows.values()]  # fmt: skip
    found = task_of(field).doubts([one["true"] for one in ones], predicted, outputs)
    return [Suspect(ones[d.at]["row"], ones[d.at]["place"], ones[d.at]["true"], d.suggested, d.confidence)
            for d in found]  # fmt: skip


def held_out(
    run: Run, unsure: int = 0, *, device: str = "auto", reporter: Reporter = QUIET
) -> tuple[Dataset, list[Suspect], list[Suspect]]:
    """Of the rows that a run did not train on, validation rows too: the data, suspected labels, and of the others those
    that it is least sure of, `suggested` being its answer and `confidence` that answer's.

    Args:
        unsure: of how many rows at most.

    Raises:
        RunError: it has no weights. UsageError: its answers are not looked at row by row. DataError: it holds no rows
        out, or its data is gone.
    """
    data = copy.copy(trained_on(run))
    data.split = np.where(data.split == TRAIN, TRAIN, TEST).astype(np.int8)
    if (data.split == TRAIN).all():
        raise DataError("the run held no rows out, and labels that it learned it does not doubt", where=run.path,
                        fix="make a cross-validation: flambeau cv")  # fmt: skip
    ((found,), *_) = answers([run], data, device=device, reporter=reporter)
    rows, target = found.rows.tolist(), data.target or ""
    told = [found.predictor.decode(output.numpy()) for output in found.output]
    given = [data.columns[target][row] for row in rows]
    doubts = found.task.doubts(given, [one.label for one in told], [output.numpy() for output in found.output])
    suspected = [Suspect(rows[d.at], data.place(rows[d.at]), given[d.at], d.suggested, d.confidence) for d in doubts]
    known = {one.row for one in suspected}
    sure = [(one.confidence, at) for at, one in enumerate(told) if one.confidence is not None and rows[at] not in known]
    least = [Suspect(rows[at], data.place(rows[at]), given[at], told[at].label, confidence)
             for confidence, at in sorted(sure)[:unsure]]  # fmt: skip
    return found.dataset, suspected, least


def samples(data: Dataset, suspected: Sequence[Suspect], unsure: Sequence[Suspect]) -> dict[str, Any]:
    """What a person looks through, as plain JSON: {classes, samples: [{row, place, given, suggested, confidence, why,
    html}]}, where `why` is `suspected` or `unsure`."""
    field = data.fields[data.target or ""]
    classes: list[str] = [*field.classes]
    if field.has_classes and not classes:
        classes = sorted(
            {name for value in data.columns[data.target or ""] for name in field.names(value)}, key=natural
        )
    listed = [(one, why) for found, why in ((suspected, "suspected"), (unsure, "unsure")) for one in found]
    return {
        "classes": classes,
        "samples": [{"row": one.row, "place": one.place, "given": as_text(one.given),
                     "suggested": as_text(one.suggested), "confidence": one.confidence, "why": why,
                     "html": render(data, one.row)} for one, why in listed],
    }  # fmt: skip


def check_same(data: Dataset, found: Iterable[Suspect]) -> None:
    """Raises DataError where suspected labels are not of the rows of this data."""
    for one in found:
        if one.row >= len(data) or data.place(one.row) != one.place:
            raise DataError(f"{one.place} is not where it was", fix="give the data of the cross-validation")


def write(found: Iterable[Suspect], path: str | Path) -> None:
    """Writes the table of corrections, as `--corrections` reads it: with anything in `keep` a label stays as it is, and
    `suggested` may be changed."""
    with Path(path).open("w", newline="", encoding="utf-8", errors="surrogateescape") as handle:
        writer = csv.writer(handle)
        writer.writerow(COLUMNS)
        for one in found:
            values = (one.place, as_text(one.given), as_text(one.suggested), f"{one.confidence:.4f}", "")
            writer.writerow([cell(value) for value in values])


def as_text(value: Any) -> str:
    """A label as a cell: a list as JSON."""
    return to_json(value, indent=None) if isinstance(value, list) else str(value)


def page(data: Dataset, found: Iterable[Suspect]) -> str:
    """A page of HTML that shows suspected labels with what they are of."""
    words = Words("en")
    cards = []
    for one in found:
        said = f"{as_text(one.given)} → {as_text(one.suggested)} ({one.confidence:.2f})"
        cards.append(tag("figure", fragment(render(data, one.row)), tag("figcaption", one.place, tag("br"), said)))
    return document("Suspected labels", words, tag("h1", "Suspected labels"), grid(*cards))
